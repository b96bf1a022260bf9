"""``SoundCopy``: the sound of a film beside frames that were made anew: copied, or where it must be, encoded.

Packets are read as frames are written, so that neither waits in memory for the other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from stylize.errors import FilmError
from stylize.video.codecs import MUXERS, ContainerName
from stylize.video.files.views import SharedFile
from stylize.video.library import load_av, open_input

if TYPE_CHECKING:
    from stylize.video.library import OutputContainer

TAKEN: dict[ContainerName, tuple[str, ...]] = {
    "mp4": ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"),
    "mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_"),
    "webm": ("opus", "vorbis"),
}
"""What is copied: what players play from there, which is less than FFmpeg writes. Matroska takes all."""

LOSSLESS = ("pcm_", "flac", "alac", "truehd", "mlp", "wavpack", "tta", "dts")

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Which loudspeakers encoders know, by their number: Opus takes no others."""

LEAD = Fraction(1, 2)
"""How many seconds of sound are written ahead of the pictures."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Which sound a film is to get."""

    file: SharedFile
    format: str
    """FFmpeg's name of the file's format."""
    begin: Fraction | None = None
    """In seconds of the file; None: all of it, when the file has it."""
    end: Fraction | None = None
    """The same; it is later than ``begin``."""


class SoundCopy:
    """Sound on its way from one file into another.

    Args:
        sound: Which.
        output: Where it goes to; it has not begun.
        container: What that is.

    Raises:
        FilmError: It has a kind of sound that is neither taken nor can be decoded.
    """

    def __init__(self, sound: Sound, output: OutputContainer, container: ContainerName) -> None:
        self._sound = sound
        self._output = output
        # MP4 and MOV have an edit list for what lies before 0; the others would move the pictures.
        self._has_edits = container in ("mp4", "mov")
        self._input = open_input(sound.file.view(), sound.format)
        self._tracks = [
            _track(stream, output, container)
            for stream in self._input.streams.audio
            if stream.codec_context is not None
        ]
        for stream in self._input.streams:
            if stream.type != "audio":
                stream.discard = load_av().stream.Discard.all
        self._packets = self._read()
        self.is_heard = False
        """Whether some was written: a film's sound may be over before the part, or undescribed."""
        self._waiting: tuple[Fraction, Any] | None = None

    def write_until(self, seconds: Fraction | None) -> None:
        """Write what is heard before a time.

        Args:
            seconds: Of the output; None: all that is left.

        Raises:
            FilmError: The sound is damaged.
        """
        av = load_av()
        limit = None if seconds is None else seconds + LEAD + (self._sound.begin or 0)
        try:
            while self._next(limit):
                assert self._waiting is not None
                packet, self._waiting = self._waiting[1], None
                self._write(packet)
            if seconds is None:
                for track in self._tracks:
                    self._mux(track.flushed())
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise FilmError(f"the film's sound is damaged: {error.strerror}") from None

    def close(self) -> None:
        """Close the reader."""
        self._input.close()

    def _next(self, limit: Fraction | None) -> bool:
        """Read a packet; return whether it is there, and heard before the limit."""
        if self._waiting is None:
            self._waiting = next(self._packets, None)
        return self._waiting is not None and (limit is None or self._waiting[0] < limit)

    def _read(self) -> Iterator[tuple[Fraction, Any]]:
        """Yield packets and when they are heard."""
        if not self._tracks:
            return
        begin = self._sound.begin
        if begin is not None and begin > 2:
            self._input.seek(int((begin - 2) * 1_000_000))
        for packet in self._input.demux(*(track.source for track in self._tracks)):
            if packet.size and packet.pts is not None:
                yield packet.pts * Fraction(packet.time_base), packet

    def _write(self, packet: Any) -> None:
        track = next(t for t in self._tracks if t.source.index == packet.stream_index)
        begin, end = self._sound.begin, self._sound.end
        tick = Fraction(packet.time_base)
        start = packet.pts * tick
        if track.encodes:
            self._mux(track.encoded(packet, begin, end))
            return
        if end is not None and start >= end:
            return
        if not self._has_edits and start < (begin or 0) - track.delay - tick:
            return
        if begin is not None and start + (packet.duration or 0) * tick <= begin:
            # A decoder needs the packet before the first that is heard.
            track.before = packet
            return
        if track.before is not None and self._has_edits:
            self._mux([track.copied(track.before, begin)])
        track.before = None
        self._mux([track.copied(packet, begin)])

    def _mux(self, packets: Sequence[Any]) -> None:
        self.is_heard = self.is_heard or bool(packets)
        self._output.mux(packets)


def check_sound(sound: Sound, container: ContainerName) -> None:
    """Raise FilmError unless sound can be copied to a container, or encoded for it.

    Args:
        sound: Which.
        container: What it goes to.
    """
    with load_av().open(io.BytesIO(), "w", format=MUXERS[container]) as output:
        SoundCopy(sound, output, container).close()


class _Track:
    """One stream of sound."""

    def __init__(self, source: Any, target: Any, encodes: bool) -> None:
        self.source = source
        self.target = target
        self.encodes = encodes
        self.before: Any = None
        """The last packet before the first that is heard."""
        self.delay = _delay_of(source.codec_context)
        """How many seconds a decoder leaves out at the beginning, by what Matroska has of the codec."""

    def copied(self, packet: Any, begin: Fraction | None) -> Any:
        """Return a packet to write, ``begin`` seconds earlier."""
        shift = 0 if begin is None else round(begin / Fraction(packet.time_base))
        packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
        packet.stream = self.target
        return packet

    def encoded(self, packet: Any, begin: Fraction | None, end: Fraction | None) -> list[Any]:
        """Return what an encoder makes of a packet, ``begin`` seconds earlier, cut to the sample."""
        packets = []
        at = packet.pts * Fraction(packet.time_base)
        for frame in packet.decode():
            rate = frame.sample_rate
            # Of several in a packet, only the first says when it is heard.
            if frame.pts is not None:
                at = frame.pts * Fraction(frame.time_base)
            start = round((at - (begin or 0)) * rate)
            at += Fraction(frame.samples, rate)
            first = max(0, -start)
            last = frame.samples
            if begin is not None and end is not None:
                last = min(last, round((end - begin) * rate) - start)
            if first >= last:
                continue
            if (first, last) != (0, frame.samples):
                frame = _part_of(frame, first, last)
            frame.pts, frame.time_base = start + first, Fraction(1, rate)
            packets += self.target.encode(frame)
        return packets

    def flushed(self) -> list[Any]:
        """Return what an encoder still has."""
        return list(self.target.encode(None)) if self.encodes else []


def _delay_of(context: Any) -> Fraction:
    """Return what Opus leaves out at the beginning, in seconds (RFC 7845, 5.1); 0 for others."""
    head: bytes = context.extradata or b""
    if not head.startswith(b"OpusHead") or len(head) < 12:
        return Fraction(0)
    return Fraction(int.from_bytes(head[10:12], "little"), 48_000)


def _part_of(frame: Any, first: int, last: int) -> Any:
    """Return some samples of a frame."""
    values = frame.to_ndarray()
    channels = 1 if frame.format.is_planar else frame.layout.nb_channels
    part = load_av().AudioFrame.from_ndarray(
        np.ascontiguousarray(values[:, first * channels : last * channels]),
        format=frame.format.name,
        layout=frame.layout.name,
    )
    part.sample_rate = frame.sample_rate
    return part


def _track(source: Any, output: OutputContainer, container: ContainerName) -> _Track:
    av = load_av()
    context = source.codec_context
    name = context.codec.canonical_name
    taken = TAKEN.get(container)
    if taken is None or name.startswith(taken):
        try:
            target = output.add_stream_from_template(source)
            _call_alike(target, source)
            return _Track(source, target, encodes=False)
        except ValueError:
            pass  # Matroska does not take it, either
    encoder = "libopus" if container == "webm" else "aac"
    if container in ("mp4", "mkv") and name.startswith(LOSSLESS):
        encoder = "flac"
    rate = 48_000 if encoder == "libopus" else context.sample_rate
    layout = LAYOUTS.get(context.layout.nb_channels, context.layout.name)
    try:
        encoded: Any = output.add_stream(encoder, rate=rate, layout=layout)
        if encoder == "flac" and context.format is not None and context.format.bits > 16:
            encoded.codec_context.format = "s32"
        encoded.codec_context.open()
    except (ValueError, av.FFmpegError):
        others = (
            "write the film to mkv, which takes it, or" if taken is not None else "write the film"
        )
        raise FilmError(
            f"the film's sound ({name}, {context.layout.name}) can neither be copied to {container} nor "
            f"encoded for it; {others} without it"
        ) from None
    _call_alike(encoded, source)
    return _Track(source, encoded, encodes=True)


def _call_alike(target: Any, source: Any) -> None:
    """Give a track the language and title of another, and whether it plays unless another is chosen."""
    target.metadata.update(source.metadata)
    target.disposition = source.disposition
