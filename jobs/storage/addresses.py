"""What is wrong with an address that means no folder, no file and nothing on S3; buckets and their prefixes.

Nearly every text is a good name for a folder on Linux. So ``s3:/renders/o`` and ``C:/renders/o`` would be
made beside the job file, without a word, where their author would not look for them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from jobs.errors import AddressError
from jobs.storage.base import local_path

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//|/|)(?!/)(.*)", re.DOTALL)
"""A word, a colon and up to two slashes; more of them are a path's own. One letter is a drive of Windows."""

_SLASHES = {"s3": "s3://", "file": "file:///", "http": "http://", "https": "https://"}
"""How addresses of each known kind begin."""

_TYPOGRAPHIC = range(0x2018, 0x2020)
"""The code points of the quotes that word processors write."""


def fault_of(address: str) -> str | None:
    """Return what is wrong with an address, as far as the text alone shows it, and what to write instead.

    Args:
        address: A path, a pattern or a URL, as somebody wrote it.

    Returns:
        The rest of a sentence whose subject is the address; None: nothing is wrong.
    """
    if not address.strip():
        return "is empty"
    if any(c < " " or c == "\x7f" for c in address):
        return (
            "has a character that no name has: in double quotes, YAML takes a backslash for the beginning "
            "of one, so write / instead, or use single quotes"
        )
    if ord(address[0]) in _TYPOGRAPHIC:
        return "begins with a typographic quote: write straight quotes, or none"
    if os.name != "nt" and re.match(r"[A-Za-z]:[\\/]|\\\\", address):
        return "is a path of Windows: write one of this machine, such as /mnt/pictures, or s3://"
    return _fault_of_scheme(address)


def _fault_of_scheme(address: str) -> str | None:
    match = _SCHEME.match(address)
    if match is None:
        return None
    scheme, slashes, rest = match.groups()
    known = _SLASHES.get(scheme.lower())
    if known is not None and slashes != "//":
        return f"lacks //: write {known}{rest}"
    if scheme != scheme.lower() and known is not None and scheme.lower() in ("s3", "file"):
        return f"begins with {scheme}://: write it in small letters, {known}{rest}"
    if known is None and slashes == "/":
        return f"is no address of a known kind; write ./{address} for a folder of that name"
    return None


def check_address(url: str, base: Path | None = None) -> None:
    """Raise AddressError where an address means no storage. Touches neither disk nor network.

    Args:
        url: ``s3://bucket/prefix``, or a folder: a path or a ``file://`` URL.
        base: The folder that relative paths start at; None: the current folder.
    """
    if fault := fault_of(url):
        raise AddressError(
            f"{url} {fault}." if url.strip() else "An empty address names no folder."
        )
    if url.startswith("s3://"):
        split_url(url)
    else:
        local_path(url, base)


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of a URL: ``s3://bucket/a/b`` -> ``("bucket", "a/b/")``.

    ``urlsplit`` would not do, because keys may hold ``?`` and ``#``. The error does not quote a wrong bucket,
    because some users write ``s3://key:secret@bucket``.

    Raises:
        AddressError: The URL names no bucket.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}", bucket):
        raise AddressError(
            "An s3:// URL must read s3://bucket/prefix, where the bucket has at least three "
            "letters, digits, '.', '_' or '-'; credentials do not belong in it."
        )
    prefix = prefix.strip("/")
    return bucket, prefix + "/" if prefix else ""
