"""``open_film``: the frames of a film file, as a player shows them, in their order or any one of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stylize.errors import FilmError
from stylize.video.files.checksums import Checksums
from stylize.video.files.edit_list import edit_list
from stylize.video.files.views import SharedFile
from stylize.video.files.whole import container_of, encrypted, name_of
from stylize.video.index import as_edited, packets_of, read_index, without_first
from stylize.video.library import (
    alpha_decoder,
    chroma_place,
    display_matrix,
    is_default,
    load_av,
    open_input,
)
from stylize.video.pixels.convert import opacity, quantised, to_rgb
from stylize.video.pixels.levels import Values
from stylize.video.pixels.planes import planes_of
from stylize.video.pixels.shape import Turn, resized, square_size, turn_of
from stylize.video.pixels.tags import (
    RGB,
    SITING_BY_PLACE,
    UNSPECIFIED,
    ColourTags,
    Range,
    check_known,
)
from stylize.video.timecode import Timecode, read_timecode
from stylize.video.timing import Timing, spread

if TYPE_CHECKING:
    from stylize.video.library import (
        InputContainer,
        Packet,
        VideoCodecContext,
        VideoFrame,
        VideoStream,
    )

DECODER_THREADS = 4
"""More hold more frames in memory, and painting takes far longer than decoding."""

PIXEL_LIMIT = 150_000_000
"""The most pixels of a frame, as of a picture."""

_RANGES: dict[int, Range | None] = {1: "limited", 2: "full"}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame as it is shown."""

    index: int
    """Among the frames that are shown, from 0."""
    pts: int
    """The tick at which it appears."""
    duration: int
    """For how many ticks it is shown."""
    values: Values
    """(H, W, 3) R'G'B' like sRGB's: uint8, or uint16 for more than 8 bits; white is 255, or 65535. Of a film
    with alpha, (H, W, 4): opacity is behind them, and they are not multiplied by it."""

    @property
    def rgb(self) -> Values:
        """(H, W, 3), without opacity."""
        return self.values[..., :3]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a film is."""

    width: int
    """As it is shown: upright, with square pixels."""
    height: int
    """The same."""
    bits: int
    """Of a value, as stored."""
    codec: str
    """FFmpeg's name: ``h264``, ``prores`` and so on."""
    tags: ColourTags
    """What its colours mean: as it says, else as players assume."""
    aspect: Fraction
    """Width of a pixel by its height, as stored."""
    turn: Turn
    """How stored frames are turned."""
    has_alpha: bool
    """Whether a pixel may be transparent."""
    has_sound: bool
    timecode: str | None
    """What the first frame is called, as the file says it: ``01:00:59;28``; None: it says none."""


class Film:
    """A film file that is open. Made by ``open_film``; not for several threads."""

    def __init__(self, file: SharedFile, name: str) -> None:
        self.name = name
        self.file = file
        self.format = container_of(file)
        self._container, self._stream, self._decoder = self._opened()
        self._siting = SITING_BY_PLACE.get(chroma_place(self._stream) or (0, 0))
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = 0
        """The frame that the decoder gives next."""
        self._kept: VideoFrame | None = None
        """The last one that it gave."""
        self._depth = 0
        self._checksums: Checksums | None = None
        self._broken: set[int] = set()
        """When frames are shown that are other than their checksums say, or made from such."""
        self._tick = Fraction(self._stream.time_base or 0)
        self._index = read_index(self._container, self._stream)
        if self.format == "mov":
            edits = edit_list(file, self._stream.id, self._tick)
            self._index = self._index if edits is None else as_edited(self._index, edits)
        self._restart()
        first = self._decoded(0)
        self._index = without_first(self._index, first)
        self._depth = self._decoder.reorder_depth
        self.facts = self._described(first)
        said = self._stream.average_rate
        self.timing = spread(
            Timing(
                self._tick, self._index.pts, self._index.durations, Fraction(said) if said else None
            )
        )
        self._restart()

    def __len__(self) -> int:
        """How many frames are shown."""
        return len(self._index.pts)

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return self.timing.rate

    def timecode(self, index: int = 0, step: int = 1) -> Timecode | None:
        """Return the timecode of a frame, as a film has it that begins there.

        Args:
            index: From 0.
            step: Of so many frames that film has one.

        Returns:
            None: this one has none, or its rate is not constant, or that film's is no whole number of frames.
        """
        timing = self.timing
        first = read_timecode(self.facts.timecode, timing.rate) if timing.is_constant else None
        later = timing.seconds(index) - timing.seconds(0)
        return first and first.after(later, timing.rate, step)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames in the order in which they are shown; only one is in memory at a time.

        Args:
            start: The first, from 0.
            stop: The one before which to end; None: after the last.

        Raises:
            FilmError: There are no such frames, or one cannot be decoded.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise FilmError(
                f"{self.name} has {len(self)} frames; there are none from {start} to before {stop}"
            )
        return (self.frame(index) for index in range(start, stop))

    def frame(self, index: int) -> Frame:
        """Return one frame: the same, bit for bit, in whatever order frames are asked for.

        Args:
            index: From 0.

        Raises:
            FilmError: There is no such frame, or it cannot be decoded.
        """
        if not 0 <= index < len(self):
            raise FilmError(f"{self.name} has {len(self)} frames; there is no frame {index}")
        with _named(self.name):
            decoded = self._frame(index)
            if decoded.is_corrupt or decoded.pts in self._broken:
                raise FilmError(f"is damaged: {self._at(index)} cannot be decoded whole")
            values = self._shown(decoded, index)
        pts, duration = self.timing.pts[index], self.timing.durations[index]
        return Frame(index, int(pts), int(duration), values)

    def close(self) -> None:
        """Close the file, if it was opened by its path."""
        self._frames = iter(())
        self._kept = None
        self._container.close()
        self.file.close()

    # --- decoding -------------------------------------------------------------------------------

    def _opened(self) -> tuple[InputContainer, VideoStream, VideoCodecContext]:
        container = open_input(self.file.view(), self.format)
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            has_sound = bool(container.streams.audio)
            raise FilmError("has sound, but no pictures" if has_sound else "has no pictures")
        # What plays in a player: of an alternate, or a depth map of phones, the file says that it does not.
        chosen = next(filter(is_default, streams), streams[0])
        if "enc_key_id" in chosen.metadata:  # FFmpeg's name of Matroska's ContentEncKeyID
            raise encrypted()
        for stream in container.streams:
            if stream.index != chosen.index:
                stream.discard = load_av().stream.Discard.all
        if chosen.codec_context is None:
            raise FilmError("has pictures by a codec that FFmpeg does not know")
        decoder = alpha_decoder(chosen) or chosen.codec_context
        decoder.thread_type = "AUTO"
        decoder.thread_count = DECODER_THREADS
        return container, chosen, decoder

    def _restart(self) -> None:
        """Decode from the beginning, in a container of its own: what no format can get wrong."""
        self._container.close()
        self._container, self._stream, self._decoder = self._opened()
        self._frames = self._decoded_from(packets_of(self._container, self._stream))
        self._next, self._kept = 0, None

    def _decoded_from(self, packets: Iterable[Packet[Any]]) -> Iterator[VideoFrame]:
        decoder = self._decoder
        has_checksums, is_broken = decoder.name == "ffv1", False
        for packet in packets:
            if has_checksums and packet.pts is not None:
                data = bytes(packet)
                self._checksums = self._checksums or Checksums(data)
                is_broken = (is_broken and not packet.is_keyframe) or not self._checksums.fit(data)
                if is_broken:
                    self._broken.add(packet.pts)
            yield from decoder.decode(packet)
        yield from decoder.decode(None)

    def _frame(self, index: int) -> VideoFrame:
        if self._kept is not None and index == self._next - 1:
            return self._kept
        start = self._index.start_for(index)
        if index < self._next or self._is_nearer(start):
            return self._sought(index, start)
        return self._decoded(index)

    def _is_nearer(self, start: int) -> bool:
        """Whether a key frame comes after the frame that the decoder gives next."""
        if len(self._index.packets) == 0 or self._next >= len(self):
            return False
        following = self._index.place_of(int(self._index.pts[self._next]))
        return int(self._index.keys[start]) > following

    def _sought(self, index: int, start: int) -> VideoFrame:
        """Return a frame from the key frame before it; from an earlier one where a format seeks too far."""
        while start > 0:
            if self._seek(start):
                with suppress(_Missed):
                    return self._decoded(index, self._key_pts(start))
            start = start // 2 if start > 4 else start - 1
        self._restart()
        return self._decoded(index)

    def _key_pts(self, start: int) -> int:
        return int(self._index.packets[self._index.keys[start]])

    def _seek(self, start: int) -> bool:
        """Go to a key frame or before it; return whether that was so."""
        av = load_av()
        place = int(self._index.keys[start])
        try:
            self._container.seek(self._key_pts(start), stream=self._stream)
            packets = packets_of(self._container, self._stream)
            first = next(packets, None)
        except av.FFmpegError:
            return False
        if first is None or first.pts is None or self._index.place_of(first.pts) > place:
            return False
        decoder = self._decoder
        if decoder is not self._stream.codec_context:
            decoder.flush_buffers()  # seeking does it for the stream's own
        # FFmpeg forgets it with the frames it holds, and then drops frames that come late.
        decoder.reorder_depth = max(decoder.reorder_depth, self._depth)
        self._frames = self._decoded_from(itertools.chain([first], packets))
        return True

    def _decoded(self, index: int, key: int | None = None) -> VideoFrame:
        """Return a frame by decoding on.

        Args:
            index: Which.
            key: When the key frame is shown from which on is decoded. If that one is left out, the film is
                refreshed bit by bit, and what follows is not what it is when decoded from the beginning.

        Raises:
            _Missed: The decoder leaves it out.
            FilmError: It cannot be decoded.
        """
        av = load_av()
        wanted = int(self._index.pts[index])
        # Of frames that have one time, those are passed over that come before it and were not given yet.
        begin = int(np.searchsorted(self._index.pts, wanted))
        before = index - (begin if key is not None else max(begin, self._next))
        is_first = self._depth == 0 and index == 0
        # If it fails, what the decoder gives next is unknown, so that it begins anew whatever is wanted then.
        self._next, self._kept = len(self), None
        try:
            for frame in self._frames:
                if frame.pts is None:
                    continue
                if key is not None and frame.pts >= key:
                    if frame.pts > key:
                        break
                    key = None
                if frame.pts < wanted:
                    continue
                if frame.pts > wanted and not is_first:
                    break
                if before:
                    before -= 1
                    continue
                self._next, self._kept = index + 1, frame
                return frame
        except av.FFmpegError as error:
            raise FilmError(
                f"is damaged: {self._at(index)} cannot be decoded: {error.strerror}"
            ) from None
        raise _Missed(f"is damaged: {self._at(index)} cannot be decoded")

    def _at(self, index: int) -> str:
        """Return what to call a frame: by its time, because people and programs count from other numbers."""
        return f"its frame at {float(int(self._index.pts[index]) * self._tick):.3f} s"

    # --- what is shown --------------------------------------------------------------------------

    def _described(self, first: VideoFrame) -> Facts:
        stream, context = self._stream, self._stream.codec_context
        planes = planes_of(first)
        height, width = planes.shape
        tags = self._tags(first, planes.model == "rgb")
        check_known(tags)
        if _tag_of(context) in ("dvh1", "dvhe") and tags.transfer == UNSPECIFIED:
            raise FilmError(
                "is Dolby Vision without a layer that others can show; convert it to BT.709 first"
            )
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        if not Fraction(1, 16) <= aspect <= 16:
            aspect = Fraction(1)
        matrix = display_matrix(first)
        turn = turn_of(matrix) if matrix else Turn()
        size = square_size(width, height, aspect)
        if size[0] * size[1] > PIXEL_LIMIT:
            raise FilmError(
                f"has {size[0]} x {size[1]} px; the limit is {PIXEL_LIMIT // 1_000_000} million pixels"
            )
        if turn.transposed:
            size = size[::-1]
        return Facts(
            *size,
            bits=planes.bits,
            codec=context.codec.canonical_name,
            tags=tags,
            aspect=aspect,
            turn=turn,
            has_alpha=planes.alpha is not None,
            has_sound=any(s.codec_context is not None for s in self._container.streams.audio),
            timecode=_timecode_of(self._container, stream),
        )

    def _tags(self, frame: VideoFrame, is_rgb: bool) -> ColourTags:
        context = self._stream.codec_context
        tags = ColourTags(
            RGB if is_rgb else _said(frame.colorspace, context.colorspace),
            _said(frame.color_primaries, context.color_primaries),
            _said(frame.color_trc, context.color_trc),
            _RANGES.get(int(frame.color_range) or int(context.color_range))
            or ("full" if is_rgb or "yuvj" in frame.format.name else None),
            self._siting,
        )
        return tags.meant(frame.width, frame.height)

    def _shown(self, frame: VideoFrame, index: int) -> Values:
        planes = planes_of(frame)
        height, width = planes.shape
        facts = self.facts
        size = square_size(width, height, facts.aspect)
        if (size[::-1] if facts.turn.transposed else size) != (facts.width, facts.height):
            raise FilmError(
                f"changes its size: {self._at(index)} has {width} x {height} px; all must have one "
                f"size: ffmpeg -i FILM -vf scale={facts.width}:{facts.height} -c:v ffv1 FILM.mkv"
            )
        shown = to_rgb(planes, facts.tags)
        if facts.has_alpha:
            alpha = opacity(planes)
            shown = np.dstack([shown, np.ones_like(shown[..., :1]) if alpha is None else alpha])
        shown = resized(shown, size).clip(0, 1) if size != (width, height) else shown
        return np.ascontiguousarray(facts.turn.apply(quantised(shown, planes.bits)))


class _Missed(FilmError):  # noqa: N818 - a reason to try from elsewhere
    """A decoder left a frame out."""


class _named:  # noqa: N801 - reads as a statement
    """Put a film's name before the text of errors, and FFmpeg's into words."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, FilmError):
            raise FilmError(f"{self._name} {error}") from None
        if isinstance(error, load_av().FFmpegError):
            raise FilmError(f"{self._name} cannot be read as a film: {error.strerror}") from None


def open_film(source: str | Path | BinaryIO, name: str = "") -> Film:
    """Return a film, open for reading.

    Args:
        source: A path, or a file that is open for reading and can be sought in; MP4, MOV, MKV or WebM.
        name: The name with which an error message begins. Default: the path.

    Raises:
        FilmError: It cannot be read, is cut off, damaged or encrypted, has no pictures, or colours of an
            unknown kind; or PyAV is not installed.
    """
    load_av()
    name = name or name_of(source)
    try:
        file = SharedFile(source)
    except OSError as error:
        raise FilmError(f"{name} cannot be opened: {error.strerror}") from None
    try:
        with _named(name):
            return Film(file, name)
    except BaseException:
        file.close()
        raise


def _said(*codes: int) -> int:
    """Return the first code that says something."""
    return next((int(code) for code in codes if int(code) != UNSPECIFIED), UNSPECIFIED)


def _timecode_of(container: InputContainer, stream: VideoStream) -> str | None:
    """Return what MOV and MP4 say in a track, which FFmpeg notes beside pictures, and Matroska in a tag."""
    for notes in (stream.metadata, container.metadata):
        for key, text in notes.items():
            if key.lower() == "timecode":
                return str(text)
    return None


def _tag_of(context: Any) -> str:
    """Return the container's name of a codec, of four letters; empty: others."""
    try:
        return str(context.codec_tag)
    except UnicodeDecodeError:  # PyAV 18.1 takes every tag for ASCII
        return ""


def _is_cover(stream: VideoStream) -> bool:
    """Whether a stream is a picture beside sound."""
    return bool(stream.disposition & load_av().stream.Disposition.attached_pic)
