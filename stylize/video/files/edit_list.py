"""``edit_list``: what of a track of an MP4 or MOV is shown when, by the file itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from stylize.video.files.views import SharedFile


@dataclass(frozen=True, slots=True)
class EditList:
    """What of a track is shown when, in ticks of the track."""

    gaps: tuple[tuple[int, int], ...]
    """From when until when nothing is shown, but for the beginning."""
    end: int
    """When the last edit is over."""
    rounding: int
    """By how much times may be other, because the list has them in coarser ticks."""


def edit_list(file: SharedFile, track: int, tick: Fraction) -> EditList | None:
    """Return the edit list of a track; None: it has none.

    FFmpeg 8.1 takes an edit without pictures for what it is if it is the first. In the place of others it
    shows frames from the track's beginning. Source: ISO/IEC 14496-12, 8.6.6.

    Args:
        file: An MP4 or MOV that is whole.
        track: The track's number.
        tick: Seconds of a tick.
    """
    movie = _movie(file)
    scale = next((_field(head) for head in _parts(movie, b"mvhd")), 0)
    for box in _parts(movie, b"trak"):
        if scale and any(_field(head) == track for head in _parts(box, b"tkhd")):
            lists = [edits for outer in _parts(box, b"edts") for edits in _parts(outer, b"elst")]
            return _edits(lists[0], scale, tick) if lists else None
    return None


def _edits(edits: bytes, scale: int, tick: Fraction) -> EditList:
    entry = struct.Struct(">QqI" if edits[:1] == b"\x01" else ">IiI")
    at, gaps = 0, []
    whole = len(edits[8:]) // entry.size * entry.size
    for place, (length, begin, _) in enumerate(entry.iter_unpack(edits[8 : 8 + whole])):
        # Each is rounded, as FFmpeg does it, so that the sum is what it shows.
        over = at + int(Fraction(length, scale) / tick + Fraction(1, 2))
        if begin == -1 and place > 0:
            gaps.append((at, over))
        at = over
    return EditList(tuple(gaps), at, ceil(1 / (scale * tick)))


def _movie(file: SharedFile) -> bytes:
    """Return what is in the part of a file that says what is where."""
    place = 0
    while place < file.size:
        head = file.read_at(place, 16)
        length, start = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), 16
        if head[4:8] == b"moov":
            return file.read_at(place + start, (length or file.size - place) - start)
        if length < 8:
            break
        place += length
    return b""


def _parts(data: bytes, name: bytes) -> Iterator[bytes]:
    """Yield what is in the parts of a name."""
    place = 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length < 8:
            return
        if data[place + 4 : place + 8] == name:
            yield data[place + 8 : place + length]
        place += length


def _field(head: bytes) -> int:
    """Return what stands after the two dates of a header: ticks of a second, or a track's number."""
    place = 20 if head[:1] == b"\x01" else 12
    return int.from_bytes(head[place : place + 4], "big")
