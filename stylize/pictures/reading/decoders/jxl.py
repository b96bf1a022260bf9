"""JPEG XL (ISO/IEC 18181), upright, in full depth, with the extra ``stylefarm[jxl]``.

imagecodecs (libjxl) has the values in full depth but not their colours, and pillow-jxl-plugin, which has the
profile of the same values, has 8 bits. Its licence is the GPL, so it is an extra.
"""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np

from stylize.errors import PictureError
from stylize.pictures.reading.raster import Model, Raster, Values, unit

_CODESTREAM = b"\xff\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def read_jxl(data: bytes, limit: int) -> Raster:
    """Return the raster of the first frame of a JPEG XL file, upright.

    Orientation in EXIF has no meaning in this format; the decoder applies its own.

    Args:
        data: The file.
        limit: The most pixels.

    Raises:
        PictureError: It needs the extra, has too many pixels, or channels that are no colours. Its text has
            no name yet.
        Exception: The file is damaged; decoders raise several types.
    """
    import imagecodecs

    try:
        from pillow_jxl.JpegXLImagePlugin import JXLImageFile
    except ImportError:
        raise PictureError(
            "is a JPEG XL picture, which needs: pip install 'stylefarm[jxl]'"
        ) from None
    width, height = size_of(data)
    if width * height > limit:
        raise PictureError(
            f"has {width} x {height} px; the limit is {limit // 1_000_000} million pixels"
        )
    values = np.asarray(imagecodecs.jpegxl_decode(data, index=0, numthreads=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own 8 bits
        with JXLImageFile(io.BytesIO(data)) as image:
            profile = image.info.get("icc_profile")
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or not 1 <= values.shape[2] <= 4:
        raise PictureError("has other channels than grey, red, green, blue and opacity")
    return _raster(values, profile)


def size_of(data: bytes) -> tuple[int, int]:
    """Return the width and height of a JPEG XL file, in pixels, without decoding it.

    Source: ISO/IEC 18181-1, SizeHeader.

    Raises:
        ValueError: It is cut short.
    """
    return _size(_Bits(_codestream(data)[2:]))


def is_animated(data: bytes) -> bool:
    """Return whether a JPEG XL file is an animation.

    Source: ISO/IEC 18181-1, ImageMetadata.

    Raises:
        ValueError: It is cut short.
    """
    bits = _Bits(_codestream(data)[2:])
    _size(bits)
    if bits.take(1) or not bits.take(1):  # all default; no extra fields
        return False
    bits.take(3)  # orientation
    if bits.take(1):  # another size to be shown at
        _size(bits)
    has_preview = bits.take(1)
    return not has_preview and bool(bits.take(1))


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        if small:
            return 8 * (1 + bits.take(5))
        return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    numerator, denominator = _RATIOS[ratio - 1]
    return height * numerator // denominator, height


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may be in a box of a container (ISO/IEC 18181-2)."""
    at = 0
    while not data.startswith(_CODESTREAM, at):
        if len(data) < at + 16:
            raise ValueError("it has no codestream")
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        if kind in (b"jxlc", b"jxlp"):
            at += header + 4 * (kind == b"jxlp")
            return data[at : at + 32]
        if size < header:
            raise ValueError("it has no codestream")
        at += size
    return data[at : at + 32]


def _raster(values: Values, profile: bytes | None) -> Raster:
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    white = {"uint8": 255.0, "uint16": 65535.0}.get(values.dtype.name, 1.0)
    colours = values.shape[2] - (values.shape[2] in (2, 4))
    opacity = None
    if colours < values.shape[2]:
        opacity = unit(values[..., colours], white).clip(0, 1)
    model: Model = "grey" if colours == 1 else "rgb"
    return Raster(values[..., :colours], model, white, opacity, profile=profile or None)


class _Bits:
    """Numbers in a string of bits, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("it is cut short")
        number = self._rest & ((1 << count) - 1)
        self._rest >>= count
        self._left -= count
        return number
