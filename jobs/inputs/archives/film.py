"""``FilmFrames``: the frames of a film file as pictures, ``shot.mp4::000001``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from jobs.errors import InputError, InputNotFoundError
from jobs.inputs.archives.archive import MARK, Members
from jobs.inputs.archives.source import RangeFile, Source
from stylize.errors import FilmError

if TYPE_CHECKING:
    from stylize.video.codecs import ContainerName
    from stylize.video.film import Film

DIGITS = 6
"""The fewest digits of a frame's number."""

PIECE = 1 << 18
"""Bytes that are read at a time."""

KEPT = 4
"""Frames that are kept, because several threads of a worker ask for neighbours in any order."""

AHEAD = 16
"""As many frames forward are decoded one by one, and kept, instead of being sought."""


class FilmFrames(Members):
    """A film file whose frames are pictures, numbered from 1 in the order in which they are shown.

    The file is read once when it is opened, so that frames are counted exactly. A frame is decoded with those
    since the key frame before it, or since the last one that was asked for.

    Args:
        uri: Its address, for messages.
        source: Its bytes.

    Raises:
        InputError: It is damaged, has no pictures, or is of a kind that is not read; or PyAV is missing.
        StorageError: It cannot be read.
    """

    def __init__(self, uri: str, source: Source) -> None:
        self.uri = uri
        self.source = source
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._film: Film | None = film_from(uri, source)
        self._count = len(self._film)

    def __len__(self) -> int:
        return self._count

    def names(self) -> Sequence[str]:
        return [frame_name(number) for number in range(1, self._count + 1)]

    def holds(self, name: str) -> bool:
        return 0 < _number(name) <= self._count

    def size(self, name: str) -> None:
        return None

    def read(self, name: str) -> bytes:
        """Return a frame as a PNG file, of 16 bits where the film has more than 8."""
        from stylize.pictures.writing.png import write_plain_png

        with self._lock:
            try:
                values = self._frame(_number(name) - 1)
            except FilmError as error:
                raise InputError(str(error)) from None
        return write_plain_png(values)

    def check_sound(self, container: ContainerName) -> None:
        """Raise InputError unless a video in a container can have the film's sound."""
        from stylize.video.sound import Sound, check_sound

        assert self._film is not None
        with self._lock:
            try:
                check_sound(Sound(self._film.file, self._film.format), container)
            except FilmError as error:
                raise InputError(str(error)) from None

    def rest(self) -> None:
        with self._lock:
            self._kept.clear()

    def no_member(self, name: str) -> InputError:
        return InputNotFoundError(
            f"There is no frame {name} in {self.uri}, which has {self._count:,}: the first is "
            f"{self.uri}{MARK}{frame_name(1)}"
        )

    def _frame(self, index: int) -> Any:
        """Return the values of a frame. Raises FilmError."""
        assert self._film is not None
        if index not in self._kept:
            last = next(reversed(self._kept), None)
            first = index if last is None or not last < index <= last + AHEAD else last + 1
            with suppress(FilmError):  # one that is damaged is no fault of those after it
                for at in range(first, index):
                    self._keep(at, self._film.frame(at).values)
            self._keep(index, self._film.frame(index).values)
        return self._kept[index]

    def _keep(self, index: int, values: Any) -> None:
        self._kept[index] = values
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def film_from(uri: str, source: Source) -> Film:
    """Return a film file, open for reading; what is needed of it is read in pieces.

    Args:
        uri: Its address, for messages.
        source: Its bytes.

    Raises:
        InputError: It is damaged, has no pictures, or is of a kind that is not read; or PyAV is missing.
        StorageError: It cannot be read.
    """
    from stylize.video.film import open_film

    file = RangeFile(source)
    file.least = PIECE
    try:
        return open_film(cast("BinaryIO", file), uri)
    except FilmError as error:
        raise InputError(str(error)) from None


def frame_name(number: int) -> str:
    """Return the name of a frame of a film file, from 1."""
    return f"{number:0{DIGITS}d}"


def _number(name: str) -> int:
    """Return a frame's number; 0: it is none."""
    return int(name) if name.isascii() and name.isdigit() and len(name) < 16 else 0
