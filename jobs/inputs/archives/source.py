"""``Source``: the bytes of an archive, wherever they are; and ``RangeFile``, by which libraries read them."""

from __future__ import annotations

import io
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an archive besides its members."""

    size: int
    """Bytes."""
    etag: str | None
    """The server's ETag; None for files."""
    modified: float | None
    """Seconds since the epoch."""


class Source(ABC):
    """An archive's bytes, wherever they are."""

    stored: Stored
    is_remote: bool = False
    """Whether each read is a request to a server."""

    @abstractmethod
    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``; fewer at the end.

        Raises:
            StorageError: They cannot be read, or the archive was replaced.
        """


MOST_THROUGH = 8192
"""Bytes between two reads that are read with them: fewer requests are worth more than so few bytes."""

MOST_AHEAD = 1 << 17
"""Bytes of a piece of reads that lie so near each other."""


class RangeFile(io.RawIOBase):
    """A source as a file that is read in pieces, of which the last one is kept.

    Args:
        source: The bytes.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.least = 2048
        """Bytes of the smallest piece: a header with the attributes that may stand before it."""
        self.most = sys.maxsize
        """Bytes that may be read at once: what a damaged archive says of its parts may be anything."""
        self._source = source
        self._size = source.stored.size
        self._at = 0
        self._ahead = 0
        """Bytes of the next piece, if it lies near the last one."""
        self._start = 0
        self.piece = b""
        """The piece that is kept."""

    def load(self, start: int, size: int) -> None:
        """Read a piece, so that reads in it need no others. Raises StorageError."""
        self._start = max(0, min(start, self._size))
        self.piece = self._source.read(self._start, min(size, self._size - self._start))

    def read(self, size: int = -1, /) -> bytes:
        size = max(0, self._size - self._at) if size < 0 else size
        if size > self.most:
            raise ValueError(f"a list of members or a header would have {size:,} bytes")
        return super().read(size) or b""

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        want = min(len(view), self._size - self._at)
        if want <= 0:
            return 0
        if not self._start <= self._at <= self._at + want <= self._start + len(self.piece):
            end = self._start + len(self.piece)
            near = bool(self.piece) and self._start <= self._at <= end + MOST_THROUGH
            self._ahead = min(2 * self._ahead, MOST_AHEAD) if near else self.least
            size = max(want, self.least, self._ahead)
            # What is looked for at the end lies before it.
            at_end = not near and self._at + size > self._size
            start = max(0, self._size - size) if at_end else self._at
            self.load(min(start, self._at), max(size, self._at + want - start))
        offset = self._at - self._start
        data = self.piece[offset : offset + want]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("it ends too early")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
