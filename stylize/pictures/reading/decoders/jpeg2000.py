"""JPEG 2000 (ISO/IEC 15444-1) of more than 8 bits, by imagecodecs (OpenJPEG).

Pillow (13.0) makes 8 bits of its colours and of its alpha, by a rounding that overflows: white becomes black.
"""

from __future__ import annotations

import struct

import numpy as np

from stylize.errors import PictureError
from stylize.pictures.reading.raster import Model, Raster, unit


def bits_of(data: bytes) -> int:
    """Return the bits per channel of a JPEG 2000 file, the most of any; 8 if unknown.

    Source: ISO/IEC 15444-1, A.5.1, the marker SIZ.
    """
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 42:
        return 8
    (channels,) = struct.unpack_from(">H", data, at + 40)
    depths = data[at + 42 : at + 42 + 3 * channels : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=8)


def read_deep_jpeg2000(data: bytes, bits: int, profile: bytes | None) -> Raster:
    """Return the raster of a JPEG 2000 file of more than 8 bits.

    Args:
        data: The file.
        bits: Its bits per channel.
        profile: Its ICC profile; None: it has none.

    Raises:
        PictureError: Its channels are no colours. The text has no name yet.
        Exception: The file is damaged.
    """
    import imagecodecs

    pixels = np.asarray(imagecodecs.jpeg2k_decode(data))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise PictureError("has other channels than grey, red, green, blue and opacity")
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise PictureError("has values with a sign, which are no picture's")
    white = float(2**bits - 1)
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    opacity = unit(pixels[..., colours], white).clip(0, 1) if colours < pixels.shape[2] else None
    model: Model = "grey" if colours == 1 else "rgb"
    return Raster(unit(pixels[..., :colours], white), model, 1.0, opacity, profile=profile)
