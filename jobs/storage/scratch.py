"""Temporary files on this machine's own disk, and the sentence for a disk that has no room for them."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator

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
