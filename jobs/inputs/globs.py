"""Patterns of pictures, by the shell's rules."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePath


def escape_existing(base: Path, pattern: str) -> str:
    """Escape the parts of a pattern that exist as written: ``Trip [2024]/*.jpg`` means that folder.

    Args:
        base: The folder that relative patterns start at.
        pattern: A path with wildcards.

    Returns:
        A pattern for ``glob``.
    """
    done = Path()
    parts = []
    for part in PurePath(pattern).parts:
        done /= part
        literal = not glob.has_magic(part) or os.path.lexists(base / done)
        parts.append(glob.escape(part) if literal else part)
    return str(PurePath(*parts))


def matches_glob(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether an S3 key matches a glob by the shell's rules: ``*`` stops at ``/``, ``**`` does not.

    As with files, wildcards do not match names that begin with a dot.

    Args:
        names: The key, split at ``/``.
        parts: The glob, split at ``/``.
    """
    if not parts or not names:
        return not names and all(part == "**" for part in parts)
    name, part = names[0], parts[0]
    if part == "**":
        return matches_glob(names, parts[1:]) or (
            name[:1] != "." and matches_glob(names[1:], parts)
        )
    is_shown = name[:1] != "." or part[:1] == "."
    return is_shown and fnmatch.fnmatchcase(name, part) and matches_glob(names[1:], parts[1:])
