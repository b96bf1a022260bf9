"""``FilmWriter``: frames into a film file, timed to the tick, in the colours that its tags say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from stylize.errors import FilmError
from stylize.video.codecs import (
    CodecName,
    Coding,
    ContainerName,
    bits_for,
    coding_of,
    container_for,
)
from stylize.video.files.whole import name_of
from stylize.video.film import Film
from stylize.video.library import load_av
from stylize.video.pixels.convert import from_rgb, to_floats
from stylize.video.pixels.levels import Floats, Values
from stylize.video.pixels.planes import frame_of
from stylize.video.pixels.tags import BT709, LINEAR, RGB, SRGB_CURVE, UNSPECIFIED, ColourTags
from stylize.video.sound import Sound, SoundCopy
from stylize.video.timecode import WRITTEN, Timecode
from stylize.video.timing import Timing

FINEST_TICK = Fraction(1, 1_000_000)
"""In seconds, of MP4 and MOV. They count in 32 bits for how long a frame is shown, and FFmpeg in 31: of
nanoseconds, which some WebM have, that is two seconds."""

MOST_TICKS = 10_000_000
"""Of a second, for the sake of timecode; see ``FINEST_TICK``."""

MATROSKA_TICK = Fraction(1, 1000)
"""In seconds, as FFmpeg writes Matroska and WebM."""

EDIT_TICKS = 48_000
"""How many ticks of a second MP4 and MOV have at least for when a stream begins: FFmpeg's thousand would move
pictures by half a thousandth, these no sound by more than half a sample."""

KEY_SECONDS = 2
"""How far apart key frames are at most: soon reached when somebody looks for a frame."""


class FilmWriter:
    """A film that is being written. Used in a ``with``: left in an error, the file is worth nothing.

    Whether the file appears at once or grows is the caller's matter: it is written where it is told to.

    Args:
        target: A path, or a file that is open for writing and can be sought in.
        size: Width and height of the frames, in pixels.
        timing: When each frame is shown. As many frames have to be written.
        codec: ``h264``, ``h265``, ``av1``, ``prores``, or ``ffv1``, which is lossless.
        container: ``mp4``, ``mov``, ``mkv`` or ``webm``; None: by the path's ending, else the codec's usual.
        bits: Of a value: 8 or 10; None: the fewest that the codec has.
        tags: What the film says of its colours. HDR becomes BT.709.
        quality: 1 to 100; None: 75; ``ffv1`` takes none.
        alpha: Whether the frames have alpha: ``ffv1``, and ``prores`` from 90 on.
        sound: What is heard; None: nothing.
        timecode: Of the first frame. It is left out where FFmpeg has none: in WebM, and at unusual rates.

    Raises:
        FilmError: The codec does not take the container, the bits, the quality, the size, or alpha; the
            message says what it takes.
        OSError: The file cannot be written.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        size: tuple[int, int],
        timing: Timing,
        *,
        codec: CodecName = "h264",
        container: ContainerName | None = None,
        bits: int | None = None,
        tags: ColourTags | None = None,
        quality: int | None = None,
        alpha: bool = False,
        sound: Sound | None = None,
        timecode: Timecode | None = None,
    ) -> None:
        av = load_av()
        self.name = name_of(target)
        self.size = size
        self.container = container_for(codec, container, target)
        self.timing = _timing_in(self.container, timing)
        """As it is written."""
        self.coding = coding_of(
            codec, self.container, bits_for(codec, bits, 8), quality, len(timing), size, alpha
        )
        self.has_alpha = alpha
        self.stored_size = _stored_size(size, self.coding)
        """Width and height in the file: where chroma is shared, an odd size is one more."""
        self.tags = written_tags(tags or ColourTags(), self.coding, self.stored_size)
        self.written = 0
        """How many frames were."""
        self._lengths: dict[int, int] = {}
        self._first_decoded: int | None = None
        """When, in ticks of the encoder."""
        self._is_open = True
        if self.coding.encoder == "libsvtav1":
            # It writes to the standard error by itself, unless the environment tells it not to. What it calls
            # an error is raised, too, but for the end of a video that is given up.
            os.environ.setdefault("SVT_LOG", "0")
        ticks = self.timing.time_base.denominator
        self.timecode = _written_timecode(timecode, self.container)
        """Of the first frame, as it is written."""
        if self.timecode is not None:
            # FFmpeg has the length of a frame of timecode in these, and rounds it up.
            finer = lcm(ticks, timing.rate.limit_denominator(1_000_000).numerator)
            ticks = finer if finer <= MOST_TICKS else ticks
        options = _muxer_options(self.container, ticks, target)
        file = f"file:{target}" if isinstance(target, str | Path) else target
        with self._in_words():
            self._output = av.open(file, "w", format=self.coding.muxer, container_options=options)
            self._stream = self._add_stream()
            self._sound = SoundCopy(sound, self._output, self.container) if sound else None
            self._output.start_encoding()

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(Exception):
            self._end()

    @property
    def has_sound(self) -> bool:
        """Whether anything is heard."""
        return self._sound is not None and self._sound.is_heard

    def write(self, values: Values) -> None:
        """Write the next frame.

        Args:
            values: (H, W, 3) R'G'B' like sRGB's, uint8 or uint16; of a film with alpha (H, W, 4), opacity
                behind colours that are not multiplied by it.

        Raises:
            FilmError: It has another size or type, or there are more frames than times.
            OSError: The file cannot be written.
        """
        index = self.written
        width, height = self.size
        if index >= len(self.timing):
            raise FilmError(f"{self.name} is to have {len(self.timing)} frames; there is one more")
        shape = (height, width, 4 if self.has_alpha else 3)
        if values.shape != shape or values.dtype not in (np.uint8, np.uint16):
            raise FilmError(
                f"frame {index} for {self.name} is {values.dtype} of shape {values.shape}; "
                f"it has to be uint8 or uint16 of shape {shape}"
            )
        pts, length = int(self.timing.pts[index]), int(self.timing.durations[index])
        planes = from_rgb(
            _padded(to_floats(values), self.stored_size),
            self.tags,
            self.coding.bits,
            self.coding.steps,
        )
        frame = frame_of(planes, self.coding.pixels)
        frame.pts, frame.time_base, frame.duration = pts, self.timing.time_base, length
        _tag(frame, self.tags)
        self._lengths[pts // self.timing.step] = length // self.timing.step
        with self._in_words():
            self._mux(self._stream.encode(frame))
            if self._sound:
                self._sound.write_until((pts + length) * self.timing.time_base)
        self.written += 1

    def close(self) -> None:
        """Write what is left, and end the file.

        Raises:
            FilmError: Fewer frames were written than there are times.
            OSError: The file cannot be written.
        """
        if not self._is_open:
            return
        if self.written < len(self.timing):
            with suppress(Exception):
                self._end()
            raise FilmError(
                f"{self.name} was given {self.written} of its {len(self.timing)} frames"
            )
        with self._in_words():
            self._mux(self._ended(self._stream.encode(None)))
            if self._sound:
                self._sound.write_until(None)
            self._end()

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            if self._sound:
                self._sound.close()
            self._output.close()

    def _add_stream(self) -> Any:
        coding, timing = self.coding, self.timing
        rate = timing.rate.limit_denominator(1_000_000)
        stream: Any = self._output.add_stream(
            coding.encoder, rate=rate, options=dict(coding.options)
        )
        context = stream.codec_context
        if coding.fastest is not None:
            context.framerate = min(rate, Fraction(coding.fastest))
        context.width, context.height = self.stored_size
        context.pix_fmt = coding.pixels
        context.sample_aspect_ratio = 1
        # An encoder that is told of finer ticks than frames need writes a rate of as many frames.
        context.time_base = timing.time_base * timing.step
        stream.time_base = timing.time_base
        if self.timecode is not None:
            # From the one FFmpeg makes a track of timecode, the other is read from Matroska.
            notes = stream if self.container in ("mp4", "mov") else self._output
            notes.metadata["timecode"] = self.timecode
        if coding.tag:
            context.codec_tag = coding.tag
        if coding.steps == (2, 2):
            context.gop_size = max(1, min(600, round(rate * KEY_SECONDS)))
        _tag(context, self.tags)
        return stream

    def _ended(self, packets: list[Any]) -> list[Any]:
        """Return the last packets, with the end of the film in MP4 and MOV.

        There a film lasts from when the first packet is decoded until the last one's frame is over, and
        with B-frames that is not the frame that is shown last.
        """
        timing, step = self.timing, self.timing.step
        if not packets or self.container not in ("mp4", "mov"):
            return packets
        first, last = self._first_decoded, packets[-1]
        if last.pts < int(timing.pts[-1]) // step:
            length = int(timing.pts[-1] + timing.durations[-1] - timing.pts[0]) // step
            missing = length - (last.dts - (packets[0].dts if first is None else first))
            self._lengths[last.pts] = max(missing, self._lengths.get(last.pts, 0))
        return packets

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._first_decoded is None:
                self._first_decoded = packet.dts
            # Encoders do not all pass on how long the last frame is shown.
            packet.duration = self._lengths.pop(packet.pts, packet.duration)
            self._output.mux(packet)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        av = load_av()
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, self.name) from None
            width, height = self.stored_size
            raise FilmError(
                f"{self.name} cannot be written with {self.coding.encoder}, {width} x {height} px: "
                f"{error.strerror}"
            ) from None


def film_like(
    film: Film,
    target: str | Path | BinaryIO,
    *,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    size: tuple[int, int] | None = None,
    codec: CodecName = "h264",
    container: ContainerName | None = None,
    bits: int | None = None,
    quality: int | None = None,
    alpha: bool = False,
    sound: bool = True,
) -> FilmWriter:
    """Return a writer of frames made from those of a film: timed, called, tagged and heard as that is.

    Args:
        film: The film. It stays open while frames are written.
        target: A path, or a file that is open for writing and can be sought in.
        start: The first of its frames, from 0. With others than all, the new film begins at 0.
        stop: The frame before which to end; None: after the last.
        step: Of so many frames one is taken, and shown for as long as all of them; what is heard stays.
        size: Width and height of the frames; None: the film's.
        codec: As of ``FilmWriter``.
        container: The same.
        bits: The same; None: the film's, or the next that the codec has.
        quality: The same.
        alpha: The same.
        sound: Whether it has the film's sound, if that has any.

    Raises:
        FilmError: There are no such frames, or as of ``FilmWriter``.
        OSError: The file cannot be written.
    """
    stop = len(film) if stop is None else stop
    try:
        part = film.timing.part(start, stop, step)
    except FilmError as error:
        raise FilmError(f"{film.name} {error}") from None
    is_whole = (start, stop, step) == (0, len(film), 1)
    heard = None
    if sound and film.facts.has_sound:
        begin = film.timing.seconds(start)
        end = begin + int(part.pts[-1] + part.durations[-1]) * part.time_base
        heard = Sound(film.file, film.format, *((None, None) if is_whole else (begin, end)))
    return FilmWriter(
        target,
        size or (film.facts.width, film.facts.height),
        film.timing if is_whole else part,
        codec=codec,
        container=container,
        bits=bits_for(codec, bits, film.facts.bits),
        tags=film.facts.tags,
        quality=quality,
        alpha=alpha,
        sound=heard,
        timecode=film.timecode(start, step),
    )


def written_tags(tags: ColourTags, coding: Coding, size: tuple[int, int]) -> ColourTags:
    """Return what a film says of its colours, so that it is what its values are.

    Args:
        tags: What the source means (``ColourTags.meant``).
        coding: How it is encoded.
        size: Width and height in the file.
    """
    if tags.is_hdr:
        tags = ColourTags(BT709, BT709, BT709, "limited")
    if tags.transfer == LINEAR:
        tags = replace(tags, transfer=BT709)
    if coding.steps is None:  # R'G'B' is stored as it is given, and that is sRGB
        return ColourTags(RGB, BT709, SRGB_CURVE, "full", "left")
    if tags.matrix == RGB:
        tags = replace(tags, matrix=UNSPECIFIED, range="limited")
    tags = tags.meant(*size)
    if tags.matrix == BT709 and (tags.primaries, tags.transfer) == (UNSPECIFIED, UNSPECIFIED):
        tags = replace(tags, primaries=BT709, transfer=BT709)
    if not coding.has_full_range:
        tags = replace(tags, range="limited")
    return replace(tags, siting="left")


def _timing_in(container: ContainerName, timing: Timing) -> Timing:
    """Return when frames are shown in a container: as given, unless it cannot count so finely."""
    if container in ("mp4", "mov"):
        if timing.time_base == MATROSKA_TICK:
            return timing.exact()
        return timing.in_ticks(FINEST_TICK) if timing.time_base < FINEST_TICK else timing
    rounded = timing.in_ticks(MATROSKA_TICK)
    # The muxer rounds by itself, but gives two frames within a thousandth one time, and one would be lost.
    return timing if (rounded.pts == timing.nearest(MATROSKA_TICK)).all() else rounded


def _stored_size(size: tuple[int, int], coding: Coding) -> tuple[int, int]:
    across, down = coding.steps or (1, 1)
    return -(-size[0] // across) * across, -(-size[1] // down) * down


def _padded(values: Floats, size: tuple[int, int]) -> Floats:
    """Return a frame of at least a size, its last column and row repeated."""
    more = (size[1] - values.shape[0], size[0] - values.shape[1])
    return (
        np.pad(values, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge") if any(more) else values
    )


def _tag(thing: Any, tags: ColourTags) -> None:
    """Write tags to a frame or a stream: an encoder takes them from the one or the other."""
    thing.colorspace = tags.matrix
    thing.color_primaries = tags.primaries
    thing.color_trc = tags.transfer
    thing.color_range = 2 if tags.range == "full" else 1


def _written_timecode(timecode: Timecode | None, container: ContainerName) -> str | None:
    """Return what the first frame is called in a file; None: it has no name there."""
    if timecode is None or container == "webm" or timecode.per_second not in WRITTEN:
        return None
    return str(timecode)


def _muxer_options(container: ContainerName, ticks: int, target: object) -> dict[str, str]:
    """Return what the muxer is told.

    Args:
        container: The container.
        ticks: How many of them a second has, in which MP4 and MOV count.
        target: What is written.
    """
    if container not in ("mp4", "mov"):
        return {}
    options = {
        "video_track_timescale": str(ticks),
        "movie_timescale": str(ticks * -(-EDIT_TICKS // ticks)),
    }
    if isinstance(target, str | Path):
        # What is where, first, so that a browser can begin to play. FFmpeg opens the file twice for it.
        options["movflags"] = "+faststart"
    return options
