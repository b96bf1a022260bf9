"""``Index``: which frames a film shows, when, and from which packet on each is decoded.

It is read without decoding: one pass through the file. Only where packets do not say when they are shown is
every frame decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stylize.errors import FilmError
from stylize.video.timing import Ticks

if TYPE_CHECKING:
    from stylize.video.files.edit_list import EditList
    from stylize.video.library import InputContainer, Packet, VideoFrame, VideoStream


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The frames of a film."""

    pts: Ticks
    """(N,): when each is shown, in the order in which they are; of several, at once, as far as ticks tell."""
    durations: Ticks
    """(N,)."""
    packets: Ticks
    """(M,): when each packet's frame is shown, in the order in which they are decoded, hidden ones included;
    empty where packets do not say."""
    keys: Ticks
    """(K,): the places in ``packets`` at which decoding can begin."""

    def start_for(self, index: int) -> int:
        """Return the place in ``keys`` of the last packet from which on a frame can be decoded.

        Frames that are shown before a key frame, but come after it, may need what came before it: an open
        group of pictures. So the key frame has to be shown before the wanted one, too.
        """
        if len(self.packets) == 0:
            return 0
        wanted = int(self.pts[index])
        place = self.place_of(wanted)
        # Of several frames that have one time, a key frame need not be the first.
        first, after = (int(np.searchsorted(self.pts, wanted, side)) for side in ("left", "right"))
        latest = wanted if after - first == 1 else wanted - 1
        before = np.flatnonzero((self.keys <= place) & (self.packets[self.keys] <= latest))
        return int(before[-1]) if len(before) else 0

    def place_of(self, pts: int) -> int:
        """Return the place of the packet of a frame."""
        return int(np.flatnonzero(self.packets == pts)[0])


def read_index(container: InputContainer, stream: VideoStream) -> Index:
    """Return the index of a stream, and leave the container at its end.

    Raises:
        FilmError: There is no frame, or a packet is damaged. The text has no name yet.
    """
    pts: list[int] = []
    keys: list[int] = []
    hidden: list[bool] = []
    durations: list[int] = []
    for packet in packets_of(container, stream):
        if packet.is_corrupt:
            raise FilmError(f"is damaged or cut off: its packet {len(pts)} is not whole")
        if packet.pts is None:
            return _decoded(container, stream)
        if packet.is_keyframe:
            keys.append(len(pts))
        pts.append(packet.pts)
        hidden.append(packet.is_discard)
        durations.append(packet.duration or 0)
    order = np.array(pts, np.int64)
    shown = ~np.array(hidden, bool)
    if not shown.any():
        raise FilmError("has no frame")
    by_time = np.argsort(order[shown], kind="stable")
    times, lengths = order[shown][by_time], np.array(durations, np.int64)[shown][by_time]
    if (np.diff(times) <= 0).any() or not keys:
        # Two packets for one time: halves of a frame, or a picture that is not shown, or two frames within a
        # thousandth of a second, which Matroska has no finer.
        index = _decoded(container, stream)
        if not keys or not np.array_equal(index.pts, times):
            return index
        return Index(times, index.durations, order, np.array(keys, np.int64))
    lengths = _lengths(times, lengths)
    if int(times[-1]) != pts[-1]:
        lengths[-1] = _until_end(stream, times) or lengths[-1]
    return Index(times, lengths, order, np.array(keys, np.int64))


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
    """Yield the packets of a stream from where the container is."""
    for packet in container.demux(stream):
        if packet.size:
            yield packet


def _decoded(container: InputContainer, stream: VideoStream) -> Index:
    """Return the index of a stream whose packets do not tell, by decoding it from its beginning."""
    container.seek(-(1 << 40), backward=False, any_frame=True, stream=stream)
    times: list[int] = []
    lengths: list[int] = []
    for frame in container.decode(stream):
        if frame.pts is None:
            raise FilmError("does not say when its frames are shown")
        times.append(frame.pts)
        lengths.append(frame.duration or 0)
    pts = np.array(times, np.int64)
    if len(pts) == 0:
        raise FilmError("has no frame")
    if (np.diff(pts) < 0).any():
        at = int(np.flatnonzero(np.diff(pts) < 0)[0]) + 1
        raise FilmError(f"is damaged: its frame {at} is shown earlier than the one before")
    nothing = np.array([], np.int64)
    return Index(pts, _lengths(pts, np.array(lengths, np.int64)), nothing, nothing)


def _lengths(pts: Ticks, said: Ticks) -> Ticks:
    """Return for how long frames are shown: to the next; the last, as it says, or as the one before."""
    steps = np.diff(pts)
    last = int(said[-1]) or (int(steps[-1]) if len(steps) else 1)
    return np.append(steps, last)


def _until_end(stream: VideoStream, times: Ticks) -> int:
    """Return for how long the last frame is shown, by how long the stream is; 0: it does not say.

    MP4 has no other place for it if frames are decoded in another order: of each it has when the next one is
    decoded. A film in fragments says how long it was meant to be, or all of which it is a part.
    """
    if not stream.frames or not stream.duration or stream.start_time != times[0]:
        return 0
    return max(0, int(times[0]) + stream.duration - int(times[-1]))


def as_edited(index: Index, edits: EditList) -> Index:
    """Return an index without the frames at times at which an edit list shows nothing: what was before stays.

    Args:
        index: The frames that FFmpeg shows.
        edits: The list.

    Raises:
        FilmError: FFmpeg shows frames at wrong times. The text has no name yet.
    """
    kept = np.ones(len(index.pts), bool)
    for begin, end in edits.gaps:
        inside = (index.pts >= begin) & (index.pts < end)
        # What FFmpeg shows there begins with the track's first frame, unless B-frames have moved it.
        if inside.any() and len(index.keys) and begin not in index.packets[index.keys]:
            raise FilmError(
                "has a gap in its edit list amid B-frames, where FFmpeg shows frames at wrong times: export "
                "it without the gap"
            )
        kept &= ~inside
    kept = kept if kept.any() else ~kept
    pts, durations = index.pts[kept], index.durations[kept]
    lengths = durations if kept.all() else _lengths(pts, durations)
    # FFmpeg counts a gap at the beginning as a part of what follows.
    until_end = edits.end - int(pts[-1])
    if not kept[-1] or 0 < until_end < lengths[-1] - edits.rounding:
        lengths[-1] = until_end
    return Index(pts, lengths, index.packets, index.keys)


def without_first(index: Index, first: VideoFrame) -> Index:
    """Return an index without the frames before the first that a decoder shows.

    A film that begins with an open group of pictures has packets that need what was cut away.
    """
    if first.pts is None:
        raise FilmError("does not say when its frames are shown")
    kept = index.pts >= first.pts
    if not kept.any():
        raise FilmError("is damaged: its first frame is shown after its last")
    return Index(index.pts[kept], index.durations[kept], index.packets, index.keys)
