"""Where pictures come from: paths, globs and folders, ``s3://`` and ``https://``.

Whose fault an error is decides what becomes of the task. A picture that is missing, too large or
forbidden is the user's: InputError, never retried. A store or server that does not answer is the
machine's: StorageError, retried.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NoReturn

from jobs.errors import (
    InputError,
    InputNotFoundError,
    ObjectNotFoundError,
    StorageError,
)
from jobs.inputs.addresses import display, is_web
from jobs.inputs.globs import escape_existing, matches_glob
from jobs.inputs.web import download, too_large
from jobs.storage.base import StorageOptions, local_path, resolve_options

if TYPE_CHECKING:
    from jobs.storage.s3 import S3Storage

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"})
MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class InputData:
    """A picture's bytes and what tells whether it has changed. ``modified``: epoch seconds."""

    uri: str = field(repr=False)  # may hold a signature, see display()
    data: bytes = field(repr=False)
    sha256: str
    size: int
    etag: str | None
    modified: float | None


@dataclass(frozen=True, slots=True)
class InputStat:
    """What tells whether a picture has changed, without its bytes."""

    size: int
    etag: str | None
    modified: float | None
    """Epoch seconds."""


class Inputs:
    """Reads the pictures of one job. Relative paths start at ``base``, the job file's folder.

    Safe to share between threads. ``allow_private`` lets ``http(s)://`` reach private addresses,
    where by default a job file could make a farm fetch what only the farm can see. ``max_bytes``
    limits every picture.
    """

    def __init__(
        self,
        base: Path,
        options: StorageOptions | None = None,
        *,
        allow_private: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.base = base.absolute()
        self.options = resolve_options(options, self.base)
        self.allow_private = allow_private
        self.max_bytes = max_bytes
        self._buckets: dict[str, S3Storage] = {}
        self._lock = threading.Lock()

    def read(self, uri: str) -> InputData:
        """The picture's bytes. Raises InputError, or StorageError where trying again may help."""
        if uri.startswith("s3://"):
            return self._read_s3(uri)
        if is_web(uri):
            return _input_data(uri, *download(uri, self.max_bytes, self.allow_private))
        return self._read_file(uri)

    def look(self, uri: str) -> InputStat | None:
        """What is known of a picture on a disk or on S3 without reading it; None when it is not there.

        Raises InputError for what cannot be looked at (the web is not asked), or StorageError where trying
        again may help.
        """
        if is_web(uri):
            raise InputError(f"{display(uri)} is not looked at: the web says nothing sure of it.")
        if uri.startswith("s3://"):
            bucket, key = _split_s3(uri)
            there = self._bucket(bucket).stat(key)
            if there is None:
                return None
            return InputStat(there.size, there.etag or None, there.modified)
        path = self._path(uri)
        try:
            found = path.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            _fail_local(error, uri, path)
        except ValueError:  # a NUL in the name
            return None
        return InputStat(found.st_size, None, found.st_mtime)

    def local_copy(self, uri: str, folder: Path) -> Path:
        """A file of any size on this disk: itself, or a copy in ``folder`` of an ``s3://`` object.

        Raises InputError, or StorageError where trying again may help.
        """
        if is_web(uri):
            raise InputError(
                f"{display(uri)} cannot be read from the web; copy it to a folder or to s3://."
            )
        if not uri.startswith("s3://"):
            path = self._path(uri)
            try:
                path.open("rb").close()
            except OSError as error:
                _fail_local(error, uri, path)
            except ValueError:
                raise InputError(f"{uri!r} cannot be the name of a file.") from None
            return path
        bucket, key = _split_s3(uri)
        copy = folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{PurePath(key).name}"
        try:
            with copy.open("wb") as file:
                self._bucket(bucket).download(key, file)
        except ObjectNotFoundError:
            raise InputNotFoundError(f"There is no object {uri}.") from None
        return copy

    def expand(self, pattern: str, wanted: Callable[[str], bool] | None = None) -> list[str]:
        """What ``read`` should be called with: one file, a folder's pictures or a glob's matches.

        ``wanted`` says of a name whether it is one of those looked for; default: ``is_picture``.

        Sorted; empty when nothing matched. Paths below ``base`` come back relative to it, with
        ``/``, since they are hashed into task ids. A name with such an extension and without
        ``* ? [`` is taken at its word, so that a long list costs no look at the disk.
        """
        wanted = wanted or is_picture
        if pattern.startswith("s3://"):
            return self._expand_s3(pattern, wanted)
        if is_web(pattern):
            return [pattern]
        return self._expand_local(pattern, wanted)

    def spelling(self, uri: str) -> str:
        """One picture's address, or a pattern for some, as ``expand`` would spell it: no look at the disk.

        Raises InputError for what cannot be read from.
        """
        return uri if uri.startswith("s3://") or is_web(uri) else self._relative(uri)

    # Files

    def _read_file(self, uri: str) -> InputData:
        path = self._path(uri)
        try:
            found = path.stat()
            if stat.S_ISDIR(found.st_mode):
                raise InputError(f"{uri} is a folder; name a picture in it.")
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{uri} is no regular file.")
            self._check_size(uri, found.st_size)
            return _input_data(uri, path.read_bytes(), None, found.st_mtime)
        except OSError as error:
            _fail_local(error, uri, path)
        except ValueError:  # a NUL in the name
            raise InputError(f"{uri!r} cannot be the name of a file.") from None

    def _expand_local(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        name = self._relative(pattern)
        is_glob = glob.has_magic(name)
        if not is_glob and wanted(name) and not pattern.endswith("/"):
            return [name]
        try:
            if (self.base / name).is_dir():
                return self._files_in(name, wanted)
            if pattern.endswith("/") and not is_glob:
                return []  # it says that it is a folder, and there is none
            if not is_glob or (self.base / name).exists():
                return [name]
            return self._glob(name, wanted)
        except PermissionError:
            raise InputError(f"Permission denied: cannot look into {pattern}.") from None
        except (OSError, ValueError):  # too long a name, or a NUL in it: nothing can match
            return []

    def _files_in(self, folder: str, wanted: Callable[[str], bool]) -> list[str]:
        with os.scandir(self.base / folder) as scan:
            names = [e.name for e in scan if _is_shown(e.name, wanted) and not _is_folder(e)]
        return sorted((PurePath(folder) / name).as_posix() for name in names)

    def _glob(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        # Path.glob would match hidden files
        escaped = escape_existing(self.base, pattern)
        found = glob.glob(escaped, root_dir=self.base, recursive=True)  # noqa: PTH207
        files = {path for path in found if wanted(path) and not (self.base / path).is_dir()}
        return sorted(PurePath(path).as_posix() for path in files)

    def _path(self, uri: str) -> Path:
        scheme, mark, _ = uri.partition("://")
        if mark and scheme != "file" and scheme.isalnum():
            raise InputError(
                f"Pictures cannot be read from {scheme}://; use a path, s3://bucket/key or https://."
            )
        try:
            return local_path(uri, self.base)
        except StorageError as error:
            raise InputError(str(error)) from None

    def _relative(self, pattern: str) -> str:
        """One spelling per file: ``./a.jpg``, ``file:///base/a.jpg`` and ``a.jpg`` are the same.

        Lexical only: ``..`` stays, for behind a symbolic link it means something else.
        """
        path = self._path(pattern)
        written = PurePath(pattern)
        if not (pattern.startswith("file://") or written.is_absolute() or "~" in written.parts[:1]):
            return written.as_posix()
        return (path.relative_to(self.base) if path.is_relative_to(self.base) else path).as_posix()

    # S3

    def _read_s3(self, uri: str) -> InputData:
        bucket, key = _split_s3(uri)
        if not key or key.endswith("/"):
            raise InputError(f"{uri} is a folder; name a picture in it.")
        try:
            found, data = self._bucket(bucket).fetch(key, at_most=self.max_bytes)
        except ObjectNotFoundError:
            raise InputNotFoundError(
                f"There is no object {uri}; if a folder is meant, end it with '/'."
            ) from None
        self._check_size(uri, found.size)
        assert data is not None  # left out only above the size just checked
        return _input_data(uri, data, found.etag or None, found.modified)

    def _expand_s3(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        bucket, key = _split_s3(pattern)
        head = f"s3://{bucket}/"
        if not key or key.endswith("/"):
            # a "/" is the whole pattern's end, so no name in here can be a glob
            found = self._bucket(bucket).list(key, deep=False)
            return [head + entry.key for entry in found if _is_shown(entry.key, wanted)]
        if not glob.has_magic(key):
            return [pattern]
        start = re.split(r"[*?\[]", key, maxsplit=1)[0]
        parts = key.split("/")
        matches = []
        for entry in self._bucket(bucket).list(start):
            if entry.key == key:
                return [pattern]
            if wanted(entry.key) and matches_glob(entry.key.split("/"), parts):
                matches.append(head + entry.key)
        return matches

    def _bucket(self, name: str) -> S3Storage:
        from jobs.storage.s3 import S3Storage  # here, because botocore is slow to import

        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = S3Storage(f"s3://{name}", self.options)
            return self._buckets[name]

    def _check_size(self, uri: str, size: int) -> None:
        if size > self.max_bytes:
            raise InputError(too_large(uri, self.max_bytes, size))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_buckets": {}, "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def is_picture(name: str) -> bool:
    """By the extension alone; whether it is one shows when it is decoded."""
    return PurePath(name).suffix.lower() in PICTURES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: no folder, and as a picture it fails by its own name
        return False


def _is_shown(key: str, wanted: Callable[[str], bool]) -> bool:
    name = PurePath(key).name
    return wanted(name) and not name.startswith(".")


def _input_data(uri: str, data: bytes, etag: str | None, modified: float | None) -> InputData:
    if not data:
        raise InputError(f"{display(uri)} is empty (0 bytes).")
    return InputData(uri, data, hashlib.sha256(data).hexdigest(), len(data), etag, modified)


def _fail_local(error: OSError, uri: str, path: Path) -> NoReturn:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        where = "" if str(path) == uri else f" (looked for {path})"
        raise InputNotFoundError(f"There is no file {uri}{where}.") from None
    if error.errno in (errno.EACCES, errno.EPERM):
        raise InputError(f"Permission denied: {uri} cannot be read by this user.") from None
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
        raise InputError(f"{uri} cannot be opened: {os.strerror(error.errno)}.") from None
    raise StorageError(f"Cannot read {uri}: {error.strerror or error}.") from error


def _split_s3(uri: str) -> tuple[str, str]:
    """Bucket and key, the key as it stands. Raises InputError."""
    from jobs.storage.s3 import split_url

    try:
        bucket, _ = split_url(uri)
    except StorageError as error:
        raise InputError(str(error)) from None
    return bucket, uri.removeprefix(f"s3://{bucket}").removeprefix("/")
