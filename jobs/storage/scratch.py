"""Temporary files on this machine's own disk, and the sentence for a disk that has no room for them."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jobs.errors import StorageError, StorageFullError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk, a user or a file that has no room left."""

_ADVICE = "set TMPDIR to a folder that can be written and has room"


def scratch_folder(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new temporary folder, which is removed with the object, or where a ``with`` ends.

    Args:
        purpose: What is kept in it, for the sentence: "copies of manifests".

    Raises:
        StorageError: There is no folder for temporary files.
    """
    with scratch_errors(purpose):
        return tempfile.TemporaryDirectory(prefix="stylefarm-")


@contextlib.contextmanager
def scratch_errors(purpose: str) -> Iterator[None]:
    """Turn an OSError of a temporary file into a StorageError.

    Args:
        purpose: What is kept in the file, for the sentence.

    Raises:
        StorageFullError: There is no room left for it.
        StorageError: It cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        kind = StorageFullError if error.errno in FULL else StorageError
        # tempfile names every folder that it has tried.
        reason = error.strerror or str(error)
        raise kind(f"Cannot write {purpose} to a temporary file: {reason}; {_ADVICE}.") from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a file, open for reading, and its size in bytes.

    Raises:
        StorageError: It cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(str(path), error) from error
    with file:
        yield file, os.fstat(file.fileno()).st_size


@contextlib.contextmanager
def reading(file: BinaryIO) -> Iterator[None]:
    """Turn an OSError of a file that is read into a StorageError, which is none of the storage's."""
    try:
        yield
    except OSError as error:
        raise _unreadable(str(getattr(file, "name", "what is to be stored")), error) from error


def _unreadable(name: str, error: OSError) -> StorageError:
    return StorageError(f"Cannot read {name} to store it: {error.strerror or error}.")
