"""The door to PyAV (FFmpeg's libraries): imported when needed, as an extra of this project.

FFmpeg reads a Python file object of a format that is named, never a path or an address: a file that says it
is a playlist cannot have it open others.
"""

from __future__ import annotations

import io
import math
import re
import struct
from typing import TYPE_CHECKING, Any

from stylize.errors import FilmError

if TYPE_CHECKING:
    from av.container import InputContainer as InputContainer
    from av.container import OutputContainer as OutputContainer
    from av.packet import Packet as Packet
    from av.video.codeccontext import VideoCodecContext as VideoCodecContext
    from av.video.frame import VideoFrame as VideoFrame
    from av.video.stream import VideoStream as VideoStream

BUFFER_BYTES = 1 << 18
"""How much FFmpeg asks for at a time: its default of 32 KiB is many calls into Python."""


def load_av() -> Any:
    """Return the module ``av``.

    Raises:
        FilmError: It is not installed.
    """
    try:
        import av
    except ImportError:
        raise FilmError("films need PyAV: pip install 'stylefarm[film]'") from None
    return av


def open_input(file: Any, format_name: str) -> InputContainer:
    """Return a container that is read.

    Args:
        file: With ``read``, ``seek`` and ``tell``.
        format_name: FFmpeg's name of the format.

    Raises:
        av.FFmpegError: It cannot be read.
    """
    av = load_av()
    # Titles in another encoding than UTF-8 are no reason not to open a file; from 19 on PyAV knows that.
    lenient = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    container: InputContainer = av.open(
        file, "r", format=format_name, buffer_size=BUFFER_BYTES, **lenient
    )
    return container


def is_default(stream: Any) -> bool:
    """Return whether a file says of a stream that it plays unless another is chosen."""
    return bool(stream.disposition & load_av().stream.Disposition.default)


def display_matrix(frame: Any) -> list[int] | None:
    """Return the nine numbers by which a frame is turned to be shown; None: it has none.

    PyAV 18.1 gives none of the data beside a frame if it has no name for one of them: for the view of a
    stereoscopic film, and for Exif, which cameras put into Motion JPEG. Then the angle is all there is, and a
    film that is also mirrored is not.
    """
    from av.sidedata.sidedata import Type

    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:
        angle = math.radians(frame.rotation)  # counterclockwise
        cosine, sine = (round(part(angle) * 65536) for part in (math.cos, math.sin))
        return [cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30]
    return None if data is None else list(struct.unpack("=9i", bytes(data)))


def alpha_decoder(stream: Any) -> VideoCodecContext | None:
    """Return what decodes a stream with its alpha, where FFmpeg's own decoder leaves it out.

    WebM has the alpha of VP8 and VP9 as a second stream beside each packet, which only libvpx decodes.

    Returns:
        None: the stream has no alpha beside it, or libvpx is not there.
    """
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    try:
        decoder: VideoCodecContext = load_av().CodecContext.create(name, "r")
    except ValueError:
        return None
    decoder.extradata = stream.codec_context.extradata
    return decoder


def chroma_place(stream: Any) -> tuple[int, int] | None:
    """Return where chroma samples of a stream lie, across and down: 1, at the first of luma; 2, between.

    PyAV 18.1 has no attribute for it. FFmpeg writes it into the header of a Matroska file (RFC 9559,
    ChromaSitingHorz and ChromaSitingVert), so one is made of the stream's parameters. FFmpeg's description of
    a file has it, too, but only with logging on, and then a thread that decodes and one that closes a film
    can wait for each other for ever.

    Returns:
        None: the stream does not say, or Matroska does not take its codec.
    """
    av = load_av()
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="matroska") as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (ValueError, av.FFmpegError):
        return None
    # Both together: the header also has random numbers, in which one name alone may be by chance.
    found = re.search(rb"\x55\xb7\x81(.)\x55\xb8\x81(.)", file.getvalue(), re.DOTALL)
    return None if found is None else (found.group(1)[0], found.group(2)[0])
