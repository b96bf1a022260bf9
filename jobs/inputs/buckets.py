"""``Buckets``: pictures and lists on S3."""

from __future__ import annotations

import glob
import itertools
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import AddressError, InputError, InputNotFoundError, ObjectNotFoundError
from jobs.inputs.data import InputData, InputStat, check_size, input_data, is_shown, no_object
from jobs.inputs.globs import first_wildcard, matches_glob
from jobs.storage.addresses import split_url
from jobs.storage.base import ObjectStat, StorageOptions
from jobs.storage.scratch import scratch_errors

if TYPE_CHECKING:
    from jobs.storage.s3 import S3Storage


class Buckets:
    """Objects in any bucket. Safe to share between threads, and to pickle.

    Args:
        options: How to reach S3.
        max_bytes: Limit of every picture.
    """

    def __init__(self, options: StorageOptions, max_bytes: int) -> None:
        self._options = options
        self._max_bytes = max_bytes
        self._known: dict[str, S3Storage] = {}
        self._lock = threading.Lock()

    def bucket(self, name: str) -> S3Storage:
        """Return a bucket by its name."""
        from jobs.storage.s3 import S3Storage  # here, because botocore is slow to import

        with self._lock:
            if name not in self._known:
                self._known[name] = S3Storage(f"s3://{name}", self._options)
            return self._known[name]

    def read(self, uri: str) -> InputData:
        """Return a picture. Raises as ``Inputs.read``."""
        bucket, key = named(uri)
        try:
            info, data = self.bucket(bucket).fetch(key, at_most=self._max_bytes)
        except ObjectNotFoundError:
            raise no_object(uri) from None
        check_size(uri, info.size, self._max_bytes)
        assert data is not None  # left out only above the size just checked
        return input_data(uri, data, info.etag or None, info.modified)

    def find(self, uri: str) -> ObjectStat | None:
        """Return what the server says about an object; None if there is none."""
        bucket, key = split(uri)
        return self.bucket(bucket).stat(key)

    def stat(self, uri: str) -> InputStat | None:
        """Return a picture's size, ETag and time; None if there is none. Raises as ``Inputs.stat``."""
        there = self.find(uri)
        return None if there is None else InputStat(there.size, there.etag or None, there.modified)

    def check(self, uri: str) -> None:
        """Raise as ``read`` would, as far as that shows without reading."""
        named(uri)
        there = self.stat(uri)
        if there is None:
            raise no_object(uri)
        check_size(uri, there.size, self._max_bytes)

    def beside(self, uri: str, most: int) -> list[str]:
        """Return what is in the folder that a picture is in, or would be in; at most so many names."""
        bucket, key = split(uri)
        listing = self.bucket(bucket).list(key[: key.rfind("/") + 1], deep=False)
        return [f"s3://{bucket}/{entry.key}" for entry in itertools.islice(listing, most)]

    def folders_in(self, prefix: str) -> list[str]:
        """Return the names of the folders in a prefix that ends in ``/``, sorted. Raises StorageError."""
        bucket, key = split(prefix)
        return sorted(self.bucket(bucket).folders(key))

    def copy(self, uri: str, path: Path) -> None:
        """Copy an object of any size to a file. Raises InputError, StorageError."""
        bucket, key = split(uri)
        try:
            with scratch_errors(f"a copy of {uri}"), path.open("wb") as file:
                self.bucket(bucket).download(key, file)
        except ObjectNotFoundError:
            raise InputNotFoundError(f"There is no object {uri}.") from None

    def expand(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        """Expand an object's address, a prefix or a glob, sorted. Raises InputError, StorageError.

        Args:
            pattern: The pattern.
            wanted: Returns whether a name is among those looked for.
        """
        name, key = split(pattern)
        if glob.has_magic(key):
            keys = _glob(self.bucket(name), key, wanted)
        elif key and not key.endswith("/"):
            return [pattern]
        else:
            keys = _keys_in(self.bucket(name), key, wanted)
        return sorted(f"s3://{name}/{key}" for key in keys)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_known": {}, "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key, the key unchanged. Raises InputError."""
    try:
        bucket, _ = split_url(uri)
    except AddressError as error:
        raise InputError(str(error)) from None
    return bucket, uri.removeprefix(f"s3://{bucket}").removeprefix("/")


def named(uri: str) -> tuple[str, str]:
    """Return bucket and key of a picture or an archive. Raises InputError for a folder."""
    bucket, key = split(uri)
    if not key or key.endswith("/"):
        raise InputError(f"{uri} is a folder; name a picture in it.")
    return bucket, key


def _keys_in(bucket: S3Storage, prefix: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the keys below a prefix that ends in ``/``, or is empty, without those of folders in it."""
    listing = bucket.list(prefix, deep=False)
    names = ((entry.key, entry.key[entry.key.rfind("/") + 1 :]) for entry in listing)
    return [key for key, name in names if wanted(name) and is_shown(name)]


def _glob(bucket: S3Storage, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the keys that a pattern with wildcards matches."""
    parts = pattern.split("/")
    wild = first_wildcard(parts, lambda folders: bucket.has("/".join(folders) + "/"))
    if not parts[-1]:
        if wild == len(parts) - 1:  # all of it exists as it is written
            return _keys_in(bucket, pattern, wanted)
        parts[-1] = "*"
    above = "".join(f"{part}/" for part in parts[:wild])
    start = re.split(r"[*?\[]", "/".join(parts[wild:]), maxsplit=1)[0]
    matches = []
    for entry in bucket.list(above + start):
        if entry.key == pattern:
            return [pattern]
        if entry.key.startswith(f"{pattern}/"):
            return _keys_in(bucket, f"{pattern}/", wanted)
        if wanted(entry.key) and matches_glob(entry.key.split("/")[wild:], parts[wild:]):
            matches.append(entry.key)
    return matches
