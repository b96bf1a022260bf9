"""Where pictures, logs and records go: one protocol, behind it ``jobs.storage.folder`` and
``jobs.storage.s3``.

A reader of either never sees half an object. Keys use ``/`` on every system and come from
``jobs.storage.keys`` alone.
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

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.storage import keys

try:
    USER_AGENT = f"stylefarm/{version('stylefarm')}"
except PackageNotFoundError:  # run from a checkout that was never installed
    USER_AGENT = "stylefarm"

PART_PREFIX = ".part-"
"""How the names of half-written files begin. No key may use it, and no listing shows it."""


class StorageOptions(BaseModel):
    """How to reach S3. Credentials are never here: they come from the standard AWS chain."""

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
    """What a listing says about one object.

    ``modified`` is in seconds since the epoch; S3 knows no fractions of them. ``etag`` changes with
    the content, and is empty where the server keeps none.
    """

    key: str
    size: int
    modified: float
    etag: str


class Storage(Protocol):
    """A flat store of whole objects under ``/``-separated keys. Safe to share between threads."""

    url: str

    def check(self) -> None:
        """Prove that objects can be written, read, listed and deleted, or raise StorageError."""

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Write a whole object, replacing what was there. Durable when this returns.

        Returns its ETag, as a listing shows it; empty where the server does not say.
        """

    def put_new(self, key: str, data: bytes) -> bool:
        """Write a whole object unless there is one; whether it was written.

        Where the server cannot do this in one step, two writers at the same moment may both be told
        yes, and the later one's object stays.
        """

    def get(self, key: str) -> bytes:
        """Read a whole object. Raises ObjectNotFoundError."""

    def stat(self, key: str) -> ObjectStat | None:
        """Size, time and ETag of an object, or None when there is none."""

    def list(self, prefix: str = "") -> Iterator[ObjectStat]:
        """Every object whose key starts with ``prefix`` (a plain string prefix), in key order."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is not an error."""


def local_path(url: str, base: Path | None = None) -> Path:
    """The absolute path that a path or a ``file://`` URL means. Symbolic links are left alone."""
    if not url:
        raise StorageError("An empty path names no folder; write '.' for the job file's own.")
    if url.startswith("file://"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise StorageError(
                f"{url} names another machine; write file:///path (three slashes) for a local path."
            )
        url = url2pathname(parts.path)
    elif scheme := re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+)://", url):
        raise StorageError(
            f"{scheme[1]}:// is no storage that stylefarm knows; use a folder or s3://bucket/prefix."
        )
    path = Path(url)
    if path.parts[:1] == ("~",):  # only so: "~a.jpg" is a file like any other
        path = path.expanduser()
    return ((base or Path()) / path).absolute()


def resolve_options(options: StorageOptions | None, base: Path | None) -> StorageOptions:
    """The options with ``ca_bundle`` made absolute, since workers run in other folders."""
    options = options or StorageOptions()
    if options.ca_bundle is None:
        return options
    return options.model_copy(update={"ca_bundle": str(local_path(options.ca_bundle, base))})


def check_key(key: str) -> None:
    """Refuse keys that could leave the output or that no folder can hold. Raises StorageError.

    Names of pictures come from users' templates, so ``..`` here is somebody's typing, not a bug.
    The same rule on S3 keeps every output copyable to a disk.
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
    """Write, read, list and delete a small object; how every storage implements ``check``.

    Something that answers "yes" to everything (a web page in the place of S3, say) is found out by
    comparing what comes back.
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
            f"{storage.url} does not give back what was written to it; is this really the storage?"
        )
    if not any(found.key == key and found.size == len(data) for found in storage.list(key)):
        raise StorageError(
            f"{storage.url} does not list what was written to it; is this really the storage?"
        )
    storage.delete(key)
    if storage.stat(key) is not None:
        raise StorageError(f"{storage.url} keeps objects that were deleted; is it write-once?")
