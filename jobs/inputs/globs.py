"""Patterns of pictures, by the shell's rules: the same on a disk and on S3."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath


def first_wildcard(parts: Sequence[str], is_folder: Callable[[Sequence[str]], bool]) -> int:
    """Return the index of a pattern's first part that is no folder's name as it is written.

    ``Trip [2024]/*.jpg`` means that folder where there is one, and only else a wildcard. The pattern's last
    part is not asked about: it names files.

    Args:
        parts: The pattern, split at ``/``.
        is_folder: Returns whether the first parts, as written, are a folder. It is called once for each
            folder with a wildcard in its name, from left to right, until it returns False.
    """
    for k, part in enumerate(parts[:-1]):
        if glob.has_magic(part) and not is_folder(parts[: k + 1]):
            return k
    return len(parts) - 1


def escape_folders(base: Path, pattern: str) -> str:
    """Escape the folders of a pattern that exist as they are written.

    Args:
        base: The folder that relative patterns start at.
        pattern: A path with wildcards.

    Returns:
        A pattern for ``glob``.
    """
    parts = PurePath(pattern).parts
    wild = first_wildcard(parts, lambda folders: base.joinpath(*folders).is_dir())
    return str(PurePath(*map(glob.escape, parts[:wild]), *parts[wild:]))


def matches_glob(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether an S3 key matches a glob by the shell's rules: ``*`` stops at ``/``, ``**`` does not.

    As with files, wildcards do not match names that begin with a dot.

    Args:
        names: The key, split at ``/``.
        parts: The glob, split at ``/``.
    """
    if not parts or not names:
        return not names and not parts
    name, part = names[0], parts[0]
    is_shown = name[:1] != "." or part[:1] == "."
    if part == "**":
        if len(parts) == 1:
            return all(below[:1] != "." for below in names)
        return matches_glob(names, parts[1:]) or (is_shown and matches_glob(names[1:], parts))
    return is_shown and fnmatch.fnmatchcase(name, part) and matches_glob(names[1:], parts[1:])


def walk(base: Path, folder: PurePath, parts: Sequence[str]) -> Iterator[str]:
    """Yield the files below a folder that a glob with ``**`` matches, in no order.

    Links to folders are followed, but for those that lead to where the way has been, or above it.

    Args:
        base: The folder that relative paths start at.
        folder: The folder, relative to it or absolute.
        parts: The glob, relative to the folder, split at ``/``.
    """
    shows_hidden = any(part.startswith(".") for part in parts)
    # The real paths of the folders on the way to each that is still to be looked at.
    ways = {str(base / folder): frozenset({os.path.realpath(base / folder)})}
    for path, folders, files in os.walk(base / folder, followlinks=True):
        way, here = ways.pop(path), PurePath(path).relative_to(base / folder)
        kept = []
        for name in folders:
            if name.startswith(".") and not shows_hidden:
                continue
            below = os.path.join(path, name)  # noqa: PTH118
            real = os.path.realpath(below)
            if any(seen == real or seen.startswith(real.rstrip("/") + "/") for seen in way):
                continue
            ways[below] = way | {real}
            kept.append(name)
        folders[:] = kept
        for name in files:
            if matches_glob([*here.parts, name], parts):
                yield str(folder / here / name)
