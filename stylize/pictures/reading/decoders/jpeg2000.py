"""JPEG 2000 (ISO/IEC 15444-1): its profile; and its pixels of more than 8 bits or CMYK, by imagecodecs.

Pillow (13.0) makes 8 bits of its colours and of its alpha, by a rounding that overflows: white becomes black.
It leaves the profile out, and takes CMYK with one for RGB with alpha.
"""

from __future__ import annotations

import struct

import numpy as np

from stylize.errors import PictureError
from stylize.pictures.reading.raster import Model, Raster, unit

_SIZE = b"\xff\x4f\xff\x51"
"""The beginning of a codestream, of which the marker SIZ is a part."""


def bits_of(data: bytes) -> int:
    """Return the bits per channel of a JPEG 2000 file, the most of any; 8 if unknown.

    Source: ISO/IEC 15444-1, A.5.1, the marker SIZ.
    """
    at = data.find(_SIZE)
    if at < 0 or len(data) < at + 42:
        return 8
    (channels,) = struct.unpack_from(">H", data, at + 40)
    depths = data[at + 42 : at + 42 + 3 * channels : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=8)


def profile_of(data: bytes) -> bytes | None:
    """Return the ICC profile of a JPEG 2000 file; None: it has none.

    Source: ISO/IEC 15444-1, I.5.3.3, the box ``colr``, of which the first counts.
    """
    found = _colour_box(data)
    if found is None or data[found[0]] not in (2, 3):
        return None
    at, end = found
    return data[at + 3 : end] or None


def has_inks(data: bytes) -> bool:
    """Return whether the colours of a JPEG 2000 file are cyan, magenta, yellow and black.

    Source: ISO/IEC 15444-2, M.11.7.3.1, the code 12.
    """
    at, end = _colour_box(data) or (0, 0)
    if data[at:end][:1] == b"\1":
        return data[at + 3 : end][:4] == bytes([0, 0, 0, 12])
    return (profile_of(data) or b"")[16:20] == b"CMYK"


def read_deep_jpeg2000(data: bytes, bits: int) -> Raster:
    """Return the raster of a JPEG 2000 file of more than 8 bits, or of CMYK.

    Args:
        data: The file.
        bits: Its bits per channel.

    Raises:
        PictureError: Its channels are no colours. The text has no name yet.
        Exception: The file is damaged.
    """
    import imagecodecs

    pixels = np.asarray(imagecodecs.jpeg2k_decode(_without_profile(data)))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise PictureError("has other channels than grey, red, green, blue and opacity")
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise PictureError("has values with a sign, which are no picture's")
    white = float(2**bits - 1)
    profile = profile_of(data)
    if pixels.shape[2] == 4 and has_inks(data):
        return Raster(unit(pixels, white), "cmyk", 1.0, profile=profile)
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    opacity = unit(pixels[..., colours], white).clip(0, 1) if colours < pixels.shape[2] else None
    model: Model = "grey" if colours == 1 else "rgb"
    return Raster(unit(pixels[..., :colours], white), model, 1.0, opacity, profile=profile)


def _without_profile(data: bytes) -> bytes:
    """Return the file with its profile exchanged for the code of sRGB or of grey.

    imagecodecs (2026.3.6) would apply the profile itself, as if all values had 16 bits, and wrongly to grey.
    """
    if profile_of(data) is None:
        return data
    at, end = _colour_box(data) or (0, 0)
    (channels,) = struct.unpack_from(">H", data, data.find(_SIZE) + 40)
    code = struct.pack(">BBBI", 1, 0, 0, 17 if channels < 3 else 16)
    return data[:at] + code[: end - at].ljust(end - at, b"\0") + data[end:]


def _colour_box(data: bytes) -> tuple[int, int] | None:
    """Return where the contents of the first box ``colr`` are; None: there is none."""
    at, end = 0, len(data)
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"colr" and at + 11 < at + size <= end:
            return at + 8, at + size
        if kind == b"jp2h":  # a box of boxes
            at, end = at + 8, min(end, at + size)
        elif size < 8 or kind == b"jp2c":
            return None
        else:
            at += size
    return None
