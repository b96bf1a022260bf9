"""``container_of``: which container a file is, and whether all of it is there, for everybody to see.

FFmpeg reads a Matroska file that was cut off to where it ends, without a word, and of a cut MP4 says only
that it is invalid. Both formats say of each part how long it is, so that can be told beforehand.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from stylize.errors import FilmError
from stylize.video.files.views import SharedFile

Container = Literal["mov", "matroska"]
"""FFmpeg's names of the readers: MP4 and MOV; Matroska and WebM."""

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ENCRYPTED_ENTRY = re.compile(rb"stsd.{12}(?:encv|drmi)", re.DOTALL)
"""The first description of a track's samples, of pictures that are encrypted: ISO/IEC 14496-12, 8.12, and
Apple's."""

_OTHERS = (
    (rb"RIFF.{4}AVI ", "AVI"),
    (rb"G.{187}G|.{4}G.{191}G", "an MPEG transport stream"),
    (rb"\x00\x00\x01\xba", "an MPEG program stream"),
    (rb"\x06\x0e\x2b\x34", "MXF"),
    (rb"FLV\x01", "Flash Video"),
    (rb"OggS", "Ogg"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (rb"GIF8", "GIF"),
)
"""How files of other kinds begin, which are often named ``.mp4`` or ``.mov``."""

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp", b"uuid")


def container_of(file: SharedFile) -> Container:
    """Return the container that a file is.

    Raises:
        FilmError: It is another, its end is missing, or it is encrypted. The text has no name yet.
    """
    head = file.read_at(0, 64)
    if not head:
        raise FilmError("is empty")
    if head.startswith(_EBML):
        _check_matroska(file)
        return "matroska"
    if head[4:8] in _BOXES:
        _check_boxes(file)
        return "mov"
    head = file.read_at(0, 256)
    for begin, kind in _OTHERS:
        if re.match(begin, head, re.DOTALL):
            raise FilmError(
                f"is {kind}, whatever its name says, and stylefarm reads MP4, MOV, MKV and WebM: ffmpeg -i "
                "FILM -c:v ffv1 -c:a flac FILM.mkv makes one of it"
            )
    raise FilmError("is no film of a kind that stylefarm reads: MP4, MOV, MKV or WebM")


def _check_boxes(file: SharedFile) -> None:
    """Raise unless the boxes of an MP4 or MOV end where the file does; ISO/IEC 14496-12, 4.2."""
    place, names = 0, set()
    while place < file.size:
        head = file.read_at(place, 16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = file.size - place  # to the end of the file
        if len(head) < 8 or not name.isascii() or length < 8:
            if b"moov" in names:
                return  # what follows the film is no matter
            raise FilmError(f"is damaged: at byte {place} there is no part of an MP4 or MOV file")
        if place + length > file.size:
            raise _cut(f"its part '{name.decode()}'", place + length, file.size)
        if name == b"moov" and _ENCRYPTED_ENTRY.search(file.read_at(place, length)):
            raise encrypted()
        names.add(name)
        place += length
    if b"moov" not in names:
        raise FilmError(
            "is cut off: the part 'moov', which says what is where and usually comes last, is missing; "
            "copy or record it again"
        )


def _check_matroska(file: SharedFile) -> None:
    """Raise unless a Matroska file is as long as its segment says; RFC 8794, 4 to 6."""
    place = 0
    for wanted in (_EBML, _SEGMENT):
        head = file.read_at(place, 12)
        if not head.startswith(wanted) or len(head) < 5:
            raise FilmError(f"is damaged: at byte {place} there is no part of a Matroska file")
        width = 9 - head[4].bit_length()
        if width > 8 or len(head) < 4 + width:
            raise FilmError(f"is damaged: at byte {place} there is no part of a Matroska file")
        mask = (1 << (7 * width)) - 1
        length = int.from_bytes(head[4 : 4 + width], "big") & mask
        place += 4 + width
        if length == mask:
            return  # written as it came, of unknown length
        place += length
    if place > file.size:
        raise _cut("it", place, file.size)


def encrypted() -> FilmError:
    """Return what to raise for a film whose pictures only somebody with a key can see."""
    return FilmError("is encrypted, and stylefarm has no key for it; use a copy without DRM")


def _cut(what: str, wanted: int, there: int) -> FilmError:
    return FilmError(
        f"is cut off: {what} goes on to byte {wanted}, the file ends at {there}; copy it again"
    )


def name_of(source: object) -> str:
    """Return what to call a file in a message: its path, or what the object calls itself."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return os.fspath(name) if isinstance(name, str | os.PathLike) else "the film"
