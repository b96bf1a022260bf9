"""A folder as storage: on the disk of one machine, or on a farm's shared disk."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from jobs.errors import (
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
)
from jobs.storage.base import PART_PREFIX, ObjectStat, check_key, probe
from jobs.storage.scratch import opened, reading

PIECE = 1 << 20
"""Bytes of a file that are copied at a time."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}
_NO_LINKS_HERE = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
_NO_FSYNC_HERE = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


class FolderStorage:
    """Stores objects as files below ``root``, written aside and moved into place.

    Safe between threads, between processes and, as far as the file system's rename is atomic, between
    machines. Folders that deletions leave empty stay until ``remove_empty``, because removing them would race
    with writers.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = str(self.root)

    def __repr__(self) -> str:
        return f"FolderStorage({self.url!r})"

    def check(self) -> None:
        probe(self)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        return self._write(key, io.BytesIO(data), replace=True)

    def put_file(
        self, key: str, path: Path, *, content_type: str = "application/octet-stream"
    ) -> str:
        check_key(key)
        with opened(path) as (file, _):
            return self._write(key, file, replace=True)

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            self._write(key, io.BytesIO(data), replace=False)
        except _ExistsError:
            return False
        return True

    def get(self, key: str) -> bytes:
        path = self._path(key)
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno in _ABSENT:
                raise ObjectNotFoundError(f"There is no file {path}.") from None
            _fail(error, "read", path)

    def read_range(self, known: ObjectStat, start: int, size: int) -> bytes:
        path = self._path(known.key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if _object_stat(known.key, status).etag != known.etag:
                    raise StorageError(
                        f"Cannot read {path}: it was replaced while it was read; try again."
                    )
                file.seek(start)
                return file.read(size)
        except OSError as error:
            if error.errno in _ABSENT:
                raise ObjectNotFoundError(f"There is no file {path}.") from None
            _fail(error, "read", path)

    def stat(self, key: str) -> ObjectStat | None:
        path = self._path(key)
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            _fail(error, "read", path)
        return _object_stat(key, status) if stat.S_ISREG(status.st_mode) else None

    def list(self, prefix: str = "") -> Iterator[ObjectStat]:
        folder, slash, start = prefix.rpartition("/")
        if slash:
            check_key(folder)
        above = folder + slash
        return self._walk(self.root / folder, above, start, ())

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
            _sync_folder(path.parent)
        except OSError as error:
            if error.errno in _ABSENT:
                return
            _fail(error, "delete", path)

    def remove_empty(self, prefix: str) -> None:
        path = self._path(prefix.rstrip("/"))
        try:
            path.rmdir()
        except OSError as error:
            if error.errno not in _ABSENT | _NOT_EMPTY:
                _fail(error, "remove", path)

    def _write(self, key: str, data: BinaryIO, *, replace: bool) -> str:
        """Write aside, move into place and return the ETag. Raises _ExistsError where nothing is replaced."""
        path = self._path(key)
        part = path.with_name(PART_PREFIX + secrets.token_hex(8))
        try:
            _make_folders(path.parent)
            try:
                written = _write_through(part, data)
                if replace:
                    part.replace(path)
                else:
                    _move_new(part, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise
            _sync_folder(path.parent)
        except OSError as error:
            _fail(error, "write", path)
        return _object_stat(key, written).etag

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root / key

    def _walk(
        self, folder: Path, above: str, start: str, ancestors: tuple[tuple[int, int], ...]
    ) -> Iterator[ObjectStat]:
        """Yield the files below ``folder`` in key order, with one folder per level in memory.

        ``above`` is the folder's own key with its slash; ``start`` is the prefix of names in it. Links to
        folders are followed (a studio's ``images`` may be on another disk), unless they lead to an ancestor.
        """
        try:
            here = folder.stat()
            identity = (here.st_dev, here.st_ino)
            if identity in ancestors:
                return
            with os.scandir(folder) as scan:
                entries = [
                    (entry.name + "/" * entry.is_dir(), entry)
                    for entry in scan
                    if entry.name.startswith(start) and not entry.name.startswith(PART_PREFIX)
                ]
        except OSError as error:
            if error.errno in _ABSENT:
                return
            _fail(error, "list", folder)
        # "a-b" < "a/b" < "ab" in S3's order, so a folder sorts as its name with the slash.
        for name, entry in sorted(entries, key=lambda item: os.fsencode(item[0])):
            if name.endswith("/"):
                yield from self._walk(Path(entry.path), above + name, "", (*ancestors, identity))
            elif (status := _stat_entry(entry)) is not None:
                yield _object_stat(above + name, status)


def _stat_entry(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return None for what is no file, or was deleted since it was listed."""
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno in _ABSENT or error.errno == errno.ELOOP:
            return None
        _fail(error, "read", Path(entry.path))
    return status if stat.S_ISREG(status.st_mode) else None


def _object_stat(key: str, status: os.stat_result) -> ObjectStat:
    # A file has no ETag, but its inode changes with every put, and its time with every other edit.
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return ObjectStat(key, status.st_size, status.st_mtime, etag)


def _make_folders(folder: Path) -> None:
    """Make a folder and its parents, and sync each in its own parent, so that they survive a power cut."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        _sync_folder(folder.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _write_through(path: Path, data: BinaryIO) -> os.stat_result:
    """Create a file with the user's usual permissions, and wait until the disk has it."""
    with path.open("xb") as file:
        while True:
            with reading(data):
                piece = data.read(PIECE)
            if not piece:
                break
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno())


class _ExistsError(Exception):
    """A file exists under the name of a new one."""


def _move_new(part: Path, path: Path) -> None:
    """Move a file as ``Path.replace`` does, but never onto another. Raises _ExistsError."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise _ExistsError from None
    except OSError as error:
        if error.errno not in _NO_LINKS_HERE:
            raise
        if path.exists():  # without hard links (exFAT, some shares) it takes two steps
            raise _ExistsError from None
        part.replace(path)
        return
    part.unlink()


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can (Windows and some NFS cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC_HERE:
            raise
    finally:
        os.close(descriptor)


def _fail(error: OSError, verb: str, path: Path) -> NoReturn:
    """Raise the StorageError that says what the system refused, and what to do about it."""
    kind: Callable[[str], StorageError] = StorageError
    reason = os.strerror(error.errno) if error.errno else str(error)
    what_to_do = ""
    if error.errno in _FULL:
        kind, what_to_do = StorageFullError, " Make room there or choose another output."
    elif error.errno in _DENIED:
        kind = StorageDeniedError
        what_to_do = " Give this user access to the folder or choose another output."
    elif error.errno == errno.ENOENT and verb == "write":  # as below /proc
        what_to_do = " Its folder cannot be made there; choose another output."
    elif error.errno == errno.ENOTDIR:
        reason = f"{error.filename or path.parent} is a file, not a folder"
        what_to_do = " Move it away or choose another output."
    elif error.errno == errno.ENAMETOOLONG:
        what_to_do = " Shorten image.name in the job file."
    raise kind(f"Cannot {verb} {path}: {reason}.{what_to_do}") from error
