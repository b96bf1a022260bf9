"""``SharedFile``: one open file that several readers read, each from a place of its own.

Frames and sound of a film are read side by side; FFmpeg moves the place of a Python file object as it likes.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import BinaryIO


class SharedFile:
    """A file that can be read from several places.

    Args:
        source: A path, or a file that is open for reading and can be sought in. It is read while this is in
            use, and stays open; its place is put back by nobody.

    Raises:
        OSError: A path cannot be opened.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        self._owned = isinstance(source, str | Path)
        self._file = _opened(source)
        self._lock = Lock()
        self.size = self._file.seek(0, os.SEEK_END)
        """In bytes."""

    def view(self) -> View:
        """Return a reader of its own, at the beginning."""
        return View(self)

    def read_at(self, place: int, count: int) -> bytes:
        """Return up to so many bytes from a place."""
        with self._lock:
            self._file.seek(place)
            return self._file.read(count)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._file.close()


def _opened(source: str | Path | BinaryIO) -> BinaryIO:
    return Path(source).open("rb") if isinstance(source, str | Path) else source


class View:
    """A reader of a ``SharedFile``, as FFmpeg and Python's file objects have it."""

    def __init__(self, shared: SharedFile) -> None:
        self._shared = shared
        self._place = 0

    def read(self, count: int = -1) -> bytes:
        if count < 0:
            count = max(0, self._shared.size - self._place)
        data = self._shared.read_at(self._place, count)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._shared.size}
        self._place = max(0, start[whence] + offset)
        return self._place

    def tell(self) -> int:
        return self._place
