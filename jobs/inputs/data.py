"""What a picture's place gives: ``InputData`` and ``InputStat``, and the limits that hold everywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from jobs.errors import InputError, InputNotFoundError
from jobs.inputs.addresses import display
from jobs.inputs.web import too_large

MAX_BYTES = 256 * 1024 * 1024
"""Default limit of one picture, in bytes as it is stored."""


@dataclass(frozen=True, slots=True)
class InputData:
    """A picture's bytes, and the values by which a later change shows."""

    uri: str = field(repr=False)  # may hold a signature, see display()
    """The address that was read."""
    data: bytes = field(repr=False)
    """The file, not decoded; not empty."""
    sha256: str
    """Hex digest of ``data``."""
    size: int
    """Bytes."""
    etag: str | None
    """The server's ETag; None for files, and where the server gives none."""
    modified: float | None
    """Seconds since the epoch; None where the server does not say."""


@dataclass(frozen=True, slots=True)
class InputStat:
    """The values by which a change of a picture shows, without its bytes."""

    size: int | None
    """Bytes; None: that shows only when it is read."""
    etag: str | None
    """The server's ETag; None for files, and where the server gives none."""
    modified: float | None
    """Seconds since the epoch."""


def input_data(uri: str, data: bytes, etag: str | None, modified: float | None) -> InputData:
    """Return a picture's data with its digest.

    Args:
        uri: The address that was read.
        data: The file.
        etag: The server's ETag.
        modified: Seconds since the epoch.

    Raises:
        InputError: The file is empty.
    """
    check_not_empty(uri, len(data))
    return InputData(uri, data, hashlib.sha256(data).hexdigest(), len(data), etag, modified)


def check_size(uri: str, size: int | None, most: int) -> None:
    """Raise InputError for a picture that is empty or too large.

    Args:
        uri: Its address.
        size: Its bytes; None, where that does not show yet, raises nothing.
        most: The largest number of bytes.
    """
    if size is None:
        return
    check_not_empty(uri, size)
    if size > most:
        raise InputError(too_large(uri, most, size))


def check_not_empty(uri: str, size: int) -> None:
    """Raise InputError for a picture of no bytes."""
    if not size:
        raise InputError(f"{display(uri)} is empty (0 bytes).")


def no_object(uri: str) -> InputNotFoundError:
    """Return the error for an ``s3://`` address without an object."""
    return InputNotFoundError(f"There is no object {uri}; if a folder is meant, end it with '/'.")


def is_shown(name: str) -> bool:
    """Return whether the last part of a name does not begin with a dot, as hidden files do."""
    return not name[name.rfind("/") + 1 :].startswith(".")
