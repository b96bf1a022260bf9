"""The protocol of a storage, which ``jobs.storage.folder`` and ``jobs.storage.s3`` implement.

A reader of either never sees a part of an object. Keys use ``/`` on every system, and are made in
``jobs.storage.keys`` only.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import AddressError, NoHomeError, ObjectNotFoundError, StorageError
from jobs.home import expand_home
from jobs.storage import keys

try:
    USER_AGENT = f"stylefarm/{version('stylefarm')}"
except PackageNotFoundError:  # run from a checkout that was never installed
    USER_AGENT = "stylefarm"

PART_PREFIX = ".part-"
"""Prefix of the names of unfinished files. No key may have it, and no listing shows it."""


class StorageOptions(BaseModel):
    """How to reach S3. Credentials are never part of it: they come from the standard AWS chain."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    endpoint_url: str | None = Field(
        None,
        description="S3 endpoint of a store that is not AWS, e.g. http://minio:9000.",
        pattern=r"^https?://",
    )
    region: str | None = Field(None, description="Region; default: what the AWS chain says.")
    profile: str | None = Field(None, description="A profile of ~/.aws/config.")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description="How the bucket is named in requests; auto means path for custom endpoints.",
    )
    ca_bundle: str | None = Field(
        None, description="A file of certificate authorities to trust for an https endpoint."
    )


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """One object, as a listing shows it."""

    key: str
    """Relative to the storage's own URL, with ``/``."""
    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch, by the storage's clock; whole seconds on S3."""
    etag: str
    """Changes with the content; empty where the server keeps none."""


class Storage(Protocol):
    """A flat store of whole objects under ``/``-separated keys.

    A storage is safe to share between threads, and can be pickled to other processes. A reader sees an object
    whole or not at all, also while it is replaced. Every method raises StorageError, or one of its
    subclasses, when the storage cannot be used.
    """

    url: str
    """Its address, without credentials."""

    def check(self) -> None:
        """Write, read, list and delete a small object, to prove that the storage can be used.

        Raises:
            StorageError: One of these fails. The text says what to do.
        """

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Write a whole object, replacing any that has this key. It is durable when this returns.

        Args:
            key: From ``jobs.storage.keys``.
            data: The whole object.
            content_type: What a web server says that serves it; folders ignore it.

        Returns:
            The object's ETag, as a listing shows it; empty where the server does not say.

        Raises:
            StorageError: The key is malformed (``check_key``), or the object cannot be written.
            StorageFullError: There is no room left.
        """

    def put_file(
        self, key: str, path: Path, *, content_type: str = "application/octet-stream"
    ) -> str:
        """Write a whole object as ``put`` does, from a file of any size, of which little is in memory.

        Args:
            key: As of ``put``.
            path: A file on this machine, which stays.
            content_type: As of ``put``.

        Returns:
            As ``put``.

        Raises:
            StorageError: As ``put``; or the file cannot be read.
            StorageFullError: There is no room left.
        """

    def put_new(self, key: str, data: bytes) -> bool:
        """Write a whole object unless there is one under this key.

        Where the server cannot do this in one step, two writers at the same moment may both get True, and the
        later object stays.

        Returns:
            Whether it was written.

        Raises:
            StorageError: As ``put``.
        """

    def get(self, key: str) -> bytes:
        """Return a whole object.

        Raises:
            ObjectNotFoundError: There is no object under this key.
            StorageError: The object cannot be read.
        """

    def read_range(self, known: ObjectStat, start: int, size: int) -> bytes:
        """Return a part of an object; of one that reaches beyond the end, what there is.

        Args:
            known: The object, as it was when it was looked at.
            start: The first byte, from 0.
            size: The number of bytes.

        Raises:
            ObjectNotFoundError: There is no such object any more.
            StorageError: It cannot be read, or was replaced meanwhile.
        """

    def stat(self, key: str) -> ObjectStat | None:
        """Return size, time and ETag of an object, without reading it; None when there is none.

        Raises:
            StorageError: The storage does not say.
        """

    def list(self, prefix: str = "") -> Iterator[ObjectStat]:
        """Yield every object whose key begins with ``prefix``, in the order of the keys' bytes.

        Args:
            prefix: A plain string: ``"tasks/0"`` matches ``tasks/0a/...``. Empty: all objects.

        Raises:
            StorageError: The storage cannot be listed; it may be raised between two objects.
        """

    def delete(self, key: str) -> None:
        """Remove an object. An object that does not exist is no error.

        Raises:
            StorageError: The object cannot be removed.
        """

    def remove_empty(self, prefix: str) -> None:
        """Remove the folder of a prefix if it is empty; where keys make no folders, do nothing. Only for a
        time in which nobody writes there.

        Args:
            prefix: One part and a ``/``.

        Raises:
            StorageError: The folder cannot be removed.
        """


def local_path(url: str, base: Path | None = None, *, users: bool = True) -> Path:
    """Return the absolute path that a path or a ``file://`` URL means. Symbolic links are not resolved.

    Args:
        url: A path, in which a leading ``~`` or ``~user`` is a home folder, or a ``file://`` URL.
        base: The folder that relative paths start at; None: the current folder.
        users: Whether ``~user`` is a home folder. False for pictures, whose names may begin with ``~``.

    Raises:
        AddressError: The URL is empty, names another machine, has a query, a fragment or another scheme, or
            there is no such home folder.
    """
    if not url:
        raise AddressError("An empty path names no folder; write '.' for this one.")
    if url.startswith("file://"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise AddressError(
                f"{url} names another machine; write file:///path (three slashes) for a local path."
            )
        if parts.query or parts.fragment or url[-1] in "?#":
            mark, code = ("?", "%3F") if "?" in url.partition("#")[0] else ("#", "%23")
            raise AddressError(
                f"{url} has a {mark}, where the path of a file:// address ends; write {code}, or a path."
            )
        url = url2pathname(parts.path)
    elif scheme := re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+)://", url):
        raise AddressError(
            f"{scheme[1]}:// is not a storage that stylefarm supports; use a folder or s3://bucket/prefix."
        )
    if not users and re.match("~[^/]", url):
        url = f"./{url}"
    try:
        return ((base or Path()) / expand_home(url)).absolute()
    except NoHomeError as error:
        raise AddressError(str(error)) from None


def resolve_options(options: StorageOptions | None, base: Path | None) -> StorageOptions:
    """Return the options with ``ca_bundle`` made absolute, because workers run in other folders."""
    options = options or StorageOptions()
    if options.ca_bundle is None:
        return options
    return options.model_copy(update={"ca_bundle": str(local_path(options.ca_bundle, base))})


def check_key(key: str) -> None:
    """Raise StorageError for a key that could leave the output, or that no folder can hold.

    Names of pictures come from users' templates, so ``..`` in a key is a user's mistake, not a bug. The same
    rule on S3 keeps every output copyable to a disk.
    """
    for part in key.split("/"):
        if part in ("", ".", "..") or part.startswith(PART_PREFIX):
            raise StorageError(
                f"{key!r} cannot be the name of an output: its part {part!r} is empty, '.', '..' "
                f"or begins with {PART_PREFIX!r}."
            )
    if "\\" in key or "\0" in key:
        raise StorageError(f"{key!r} cannot be the name of an output: it has a backslash or a NUL.")


def probe(storage: Storage) -> None:
    """Write, read, list and delete a small object: how every storage implements ``check``.

    The comparison of what comes back finds servers that accept everything, such as a web page in the place
    of S3. Raises StorageError.
    """
    key = f"{keys.PROBE}{secrets.token_hex(8)}"
    data = secrets.token_bytes(64)
    storage.put(key, data)
    try:
        came_back = storage.get(key)
    except ObjectNotFoundError:
        came_back = b""
    if came_back != data:
        raise StorageError(
            f"{storage.url} does not return what was written to it; is this really the storage?"
        )
    if not any(listed.key == key and listed.size == len(data) for listed in storage.list(key)):
        raise StorageError(
            f"{storage.url} does not list what was written to it; is this really the storage?"
        )
    storage.delete(key)
    if storage.stat(key) is not None:
        raise StorageError(f"{storage.url} keeps objects that were deleted; is it write-once?")
