"""AVIF and HEIC: pictures in ISO base media files (ISO/IEC 23008-12), upright, in full depth.

Pillow reads AVIF in 8 bits; deeper ones are decoded by imagecodecs (libavif). HEIC needs ``pillow-heif``: its
wheels hold an encoder under the GPL, so it is an extra.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction

import numpy as np
from PIL import Image

from stylize.errors import PictureError
from stylize.pictures.reading.cicp import encoding_of_codes
from stylize.pictures.reading.raster import Encoding, Raster, Values, unit

SEARCHED_BYTES = 64 * 1024
"""How far into a file its description of colours and depth is looked for."""


def avif_depth(data: bytes) -> int:
    """Return the bits per channel of an AVIF file: 8, 10 or 12 (AV1 in ISO base media, 2.3.3)."""
    at = data.find(b"av1C", 0, SEARCHED_BYTES)
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def read_avif(data: bytes, raster: Raster, image: Image.Image) -> Raster:
    """Return the raster of an AVIF file of 8 bits, cropped and upright, with its colours.

    Args:
        data: The file.
        raster: Its values, as they are stored.
        image: The same file, opened by Pillow, for its profile and orientation.
    """
    turned = _cropped(raster, data).upright(image.getexif().get(274, 1))
    return with_colours(turned, data, image.info.get("icc_profile"))


def read_deep_avif(data: bytes, image: Image.Image) -> Raster:
    """Return the raster of an AVIF file of more than 8 bits, cropped and upright.

    Args:
        data: The file.
        image: The same file, opened by Pillow but not decoded, for its profile and orientation.
    """
    import imagecodecs

    bits = avif_depth(data)
    raster = _raster(np.asarray(imagecodecs.avif_decode(data)), float(2**bits - 1))
    return read_avif(data, raster, image)


def with_colours(raster: Raster, data: bytes, profile: bytes | None) -> Raster:
    """Return a raster with what its file says about colours: the profile, else the codes.

    Args:
        raster: The values.
        data: The file.
        profile: Its ICC profile; None or empty: it has none.
    """
    return replace(raster, profile=profile or None, encoding=None if profile else _nclx(data))


def read_heif(data: bytes, limit: int) -> Raster:
    """Return the raster of a HEIC file, upright.

    Args:
        data: The file.
        limit: The most pixels.

    Raises:
        PictureError: It needs the extra, or has too many pixels. The text has no name yet.
    """
    try:
        import pillow_heif
    except ImportError:
        raise PictureError(
            "is a HEIC picture, which needs: pip install 'stylefarm[heif]'"
        ) from None
    image = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    width, height = image.size
    if width * height > limit:
        raise PictureError(
            f"has {width} x {height} px; the limit is {limit // 1_000_000} million pixels"
        )
    bits = int(image.info.get("bit_depth", 8))
    # The bits are shifted up to 16: white is 65472 for 10 bits, not 65535.
    white = 255.0 if bits == 8 else float((2**bits - 1) << (16 - bits))
    raster = _raster(np.asarray(image), white)
    return with_colours(raster, data, image.info.get("icc_profile"))


def _raster(pixels: Values, white: float) -> Raster:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    opacity = unit(pixels[..., colours], white).clip(0, 1) if colours < pixels.shape[2] else None
    values = pixels[..., :colours]
    if white not in (255, 65535):
        values, white = unit(values, white), 1.0
    return Raster(values, "grey" if colours == 1 else "rgb", white, opacity)


def _cropped(raster: Raster, data: bytes) -> Raster:
    """Return the part of a picture that its box ``clap`` leaves, which libavif shows whole.

    Source: ISO/IEC 14496-12, 12.1.4. It comes before rotation and mirroring.
    """
    at = data.find(b"\0\0\0\x28clap", 0, SEARCHED_BYTES) + 8
    if at < 8 or len(data) < at + 32:
        return raster
    numbers = struct.unpack_from(">IIIIiIiI", data, at)
    if not all(numbers[1::2]):
        return raster
    width, height, right, down = map(Fraction, numbers[::2], numbers[1::2])
    rows, columns = raster.values.shape[:2]
    left, top = (columns - width) / 2 + right, (rows - height) / 2 + down
    edges = (left, top, left + width, top + height)
    if any(edge.denominator != 1 for edge in edges):
        return raster
    x0, y0, x1, y1 = map(int, edges)
    if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
        return raster
    opacity = None if raster.opacity is None else raster.opacity[y0:y1, x0:x1]
    return replace(raster, values=raster.values[y0:y1, x0:x1], opacity=opacity)


def _nclx(data: bytes) -> Encoding | None:
    """Return how values encode light by the codes of the box ``colr``; None: as in sRGB."""
    at = data.find(b"colrnclx", 0, SEARCHED_BYTES)
    if at < 0 or len(data) < at + 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    return encoding_of_codes(primaries, transfer)
