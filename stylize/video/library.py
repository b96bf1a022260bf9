"""The door to PyAV (FFmpeg's libraries): imported when needed, as an extra of this project.

FFmpeg reads a Python file object of a format that is named, never a path or an address: a file that says it
is a playlist cannot have it open others.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from stylize.errors import FilmError

if TYPE_CHECKING:
    from av.container import InputContainer as InputContainer
    from av.container import OutputContainer as OutputContainer
    from av.packet import Packet as Packet
    from av.video.frame import VideoFrame as VideoFrame
    from av.video.stream import VideoStream as VideoStream

BUFFER_BYTES = 1 << 18
"""How much FFmpeg asks for at a time: its default of 32 KiB is many calls into Python."""

_logging = Lock()
_FFMPEG_LOGS = 32
"""FFmpeg's own default, AV_LOG_INFO; PyAV has no way to ask for what is set."""


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
    container: InputContainer = load_av().open(
        file, "r", format=format_name, buffer_size=BUFFER_BYTES
    )
    return container


def describe(container: Any) -> str:
    """Return FFmpeg's description of a container, with all that it only says when asked for more.

    PyAV has no other way to the place of the chroma samples. FFmpeg's level of logging is one for the
    process; it is put back at once.
    """
    av = load_av()
    with _logging:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.VERBOSE)
        av.logging.set_libav_level(av.logging.VERBOSE)
        try:
            text: str = container.dumps_format()
        finally:
            av.logging.set_libav_level(_FFMPEG_LOGS)
            av.logging.set_level(level)
    return text
