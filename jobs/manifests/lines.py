"""Lines of a text file in any Unicode encoding, with the line ends of any system.

A spreadsheet's "Unicode text" is UTF-16, and old programs for the Mac end lines with a carriage return.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LINE_LIMIT = 1024 * 1024
"""Characters. A file with a longer line is of another kind, and the line would fill the memory."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class LineError(Exception):
    """A line that is longer than any row."""


class TextLines:
    """The lines of a text file, with their ends.

    A part that is not text in the file's encoding becomes lone surrogates; see ``is_broken``.

    Args:
        stream: The file. Its encoding is that of its byte order mark, or the one that its first characters,
            which are ASCII in every manifest, show; else UTF-8.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        codec = _codec(stream.peek(4)[:4])
        self.encoding = codec.upper().removesuffix("-SIG").removesuffix("-LE").removesuffix("-BE")
        """``UTF-8``, ``UTF-16`` or ``UTF-32``."""
        errors = "surrogateescape" if self.encoding == "UTF-8" else "surrogatepass"
        self._text = io.TextIOWrapper(stream, codec, errors, newline="")

    def __iter__(self) -> Iterator[str]:
        """Yield every line. Raises LineError for a line that is longer than ``LINE_LIMIT``."""
        number = 0
        while line := self._text.readline(LINE_LIMIT):
            number += 1
            if len(line) >= LINE_LIMIT and line[-1] not in "\r\n":
                raise LineError(f"line {number} is longer than {LINE_LIMIT:,} characters")
            yield line


@contextmanager
def text_lines(path: Path, *, packed: bool) -> Iterator[TextLines]:
    """Open a text file, and close it again.

    Args:
        path: The file.
        packed: Whether it is gzipped.

    Raises:
        OSError, EOFError, zlib.error: Also from the lines; the file is damaged, or not gzipped.
    """
    if packed:
        with gzip.open(path, "rb") as unpacked:
            yield TextLines(io.BufferedReader(unpacked, LINE_LIMIT))
    else:
        with path.open("rb") as file:
            yield TextLines(file)


def is_broken(text: str) -> bool:
    """Return whether text has parts that could not be decoded."""
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def _codec(start: bytes) -> str:
    for mark, codec in _MARKS:
        if start.startswith(mark):
            return codec
    match [byte != 0 for byte in start]:
        case [True, False, False, False]:
            return "utf-32-le"
        case [False, False, False, True]:
            return "utf-32-be"
        case [True, False, *_]:
            return "utf-16-le"
        case [False, True, *_]:
            return "utf-16-be"
    return "utf-8"
