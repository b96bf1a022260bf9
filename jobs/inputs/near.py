"""Names that are near a misspelt one: "is wave.jpg meant?"."""

from __future__ import annotations

import difflib
import glob
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from jobs.inputs.reader import Inputs, broken_link, is_picture

MOST_NAMES = 2000
"""Names of a folder that are compared: more would take too long."""


def near_picture(inputs: Inputs, uri: str) -> str | None:
    """Return the picture, or folder, that a missing picture's address probably means; None: none is near.

    Args:
        inputs: Lists the folder.
        uri: A path, ``file://`` or ``s3://`` address.

    Raises:
        InputError: The address is malformed.
        StorageError: The store cannot be listed.
    """
    beside = {PurePath(name).name: name for name in inputs.beside(uri, MOST_NAMES)}
    wanted = PurePath(uri).name
    if wanted in beside:  # a link to nothing
        return None
    name = nearest(wanted, filter(is_picture, beside))
    if name is not None:
        return beside[name]
    return None if uri.startswith("s3://") else near_folder(inputs.base, inputs.spelling(uri))


def near_folder(base: Path, path: str) -> str | None:
    """Return the folder that the first missing folder of a path probably is, with a ``/`` behind it.

    Args:
        base: The folder that relative paths start at.
        path: A path, or a glob.
    """
    found = PurePath()
    for part in PurePath(path).parts[:-1]:
        if glob.has_magic(part):
            return None
        if not (base / found / part).exists():
            try:
                with os.scandir(base / found) as scan:
                    some = itertools.islice(scan, MOST_NAMES)
                    folders = [entry.name for entry in some if entry.is_dir()]
            except OSError:
                return None
            near = nearest(part, folders)
            return None if near is None else f"{(found / near).as_posix()}/"
        found /= part
    return None


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
            return None
        near = near_folder(base, f"{PurePath(*parts[:wild]).as_posix()}/*")
    except OSError:
        return None
    return f"there is no folder {folder}" + ("" if near is None else f"; is {near} meant?")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name most like another, whatever the case; None: none is near.

    Names that differ in their numbers alone, such as frames, are not near: one more is missing there.
    """
    by_lower = {other.lower(): other for other in names if other != name}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    if not near or (near[0] != name.lower() and _numberless(near[0]) == _numberless(name.lower())):
        return None
    return by_lower[near[0]]


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "0", name)
