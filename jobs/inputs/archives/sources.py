"""Where the bytes of an archive are: in a file, or in an object on S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jobs.errors import StorageError
from jobs.inputs.archives.source import Source, Stored
from jobs.storage.base import ObjectStat
from jobs.storage.s3 import S3Storage


class FileSource(Source):
    """A file on this disk.

    Args:
        path: The file.
        stored: What its status says.
    """

    def __init__(self, path: Path, stored: Stored) -> None:
        self.stored = stored
        self._path = path

    def read(self, start: int, size: int) -> bytes:
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(start)
                data = bytearray()
                while len(data) < size and (more := file.read(size - len(data))):
                    data += more
                return bytes(data)
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error


class ObjectSource(Source):
    """An object on S3. Reads fail once it was replaced.

    Args:
        bucket: Its bucket.
        stat: What the server says about it.
        on_read: Called after each read.
    """

    is_remote = True

    def __init__(
        self, bucket: S3Storage, stat: ObjectStat, on_read: Callable[[], None] | None = None
    ) -> None:
        self.stored = Stored(stat.size, stat.etag or None, stat.modified)
        self._bucket = bucket
        self._stat = stat
        self._on_read = on_read

    def read(self, start: int, size: int) -> bytes:
        data = self._bucket.read_range(self._stat, start, size)
        if self._on_read is not None:
            self._on_read()
        return data
