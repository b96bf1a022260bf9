"""Names that are near a misspelt one: "is wave.jpg meant?"."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from jobs.inputs.archives.archive import is_table
from jobs.inputs.formats import is_picture
from jobs.inputs.local import broken_link
from jobs.inputs.reader import Inputs
from jobs.inputs.similar import nearest

MOST_NAMES = 2000
"""Names of a folder that are compared: more would take too long."""


def near_picture(inputs: Inputs, uri: str, beside: Iterable[str]) -> str | None:
    """Return the picture, or folder, that a missing picture's address probably means; None: none is near.

    Args:
        inputs: Finds the job's pictures.
        uri: A path, ``file://`` or ``s3://`` address.
        beside: What is in the picture's folder, as ``Inputs.beside`` returns it.

    Raises:
        InputError: The address is malformed.
    """
    names = {PurePath(other).name: other for other in beside}
    wanted = PurePath(uri).name
    if wanted in names:  # a link to nothing
        return None
    name = nearest(wanted, filter(is_picture, names))
    if name is not None:
        return names[name]
    if uri.startswith("s3://"):
        return None
    folder, rest = _near_folder(inputs.base, inputs.spelling(uri))
    if folder is None:
        return None
    picture = folder.joinpath(*rest)
    is_there = os.path.isfile(inputs.base / picture)  # noqa: PTH113 - False also where none may look
    return picture.as_posix() if is_there else f"{folder.as_posix()}/"


def _near_folder(base: Path, path: str) -> tuple[PurePath | None, Sequence[str]]:
    """Return the folder that the first missing folder of a path probably is, and what follows it in the path;
    None for the folder: none is missing, or none is near."""
    found, parts = PurePath(), PurePath(path).parts
    for k, part in enumerate(parts[:-1]):
        if glob.has_magic(part):
            break
        if not os.path.exists(base / found / part):  # noqa: PTH110
            with contextlib.suppress(OSError), os.scandir(base / found) as scan:
                some = itertools.islice(scan, MOST_NAMES)
                near = nearest(part, [entry.name for entry in some if entry.is_dir()])
                if near is not None:
                    return found / near, parts[k + 1 :]
            break
        found /= part
    return None, ()


def why_no_match(base: Path, pattern: str) -> str | None:
    """Return why a glob or folder on this disk matches nothing, as far as its folders show it.

    Args:
        base: The folder that relative paths start at.
        pattern: A path, or a glob.
    """
    parts = PurePath(pattern).parts
    wild = next((k for k, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    folder = base / PurePath(*parts[:wild])
    try:
        broken = broken_link(folder)
        if broken is not None:
            return f"{broken} is a link to {broken.readlink()}, which is not there"
        if folder.exists():
            return _in_it(pattern, folder) if wild == len(parts) else None
        near, rest = _near_folder(base, f"{PurePath(*parts[:wild]).as_posix()}/*")
    except OSError:
        return None
    meant = "" if near is None else f"; is {near.joinpath(*rest[:-1]).as_posix()}/ meant?"
    return f"there is no folder {folder}{meant}"


def _in_it(pattern: str, folder: Path) -> str | None:
    """Return how the pictures of a folder that has none itself are meant; None: it shows none."""
    name = pattern.rstrip("/")
    with os.scandir(folder) as scan:
        entries = list(itertools.islice(scan, MOST_NAMES))
    if any(is_table(entry.name) for entry in entries):
        return f"{name}/*.parquet means the pictures in its tables"
    if any(entry.is_dir() and not entry.name.startswith(".") for entry in entries):
        return f"{name}/** means the pictures in its folders, too"
    return None
