"""JPEG XL of 8 bits, by libjxl."""

from __future__ import annotations

import struct

from stylize.pictures.writing.base import Labels, Pixels


def write_jxl(pixels_HWC: Pixels, labels: Labels, quality: int) -> bytes:
    """Return a JPEG XL file, which says itself that it is sRGB.

    Not of 16 bits: imagecodecs (2026.3.6) marks those as linear light.

    Args:
        pixels_HWC: The pixels, uint8, in sRGB.
        labels: The XMP to embed; the profile must be that of sRGB.
        quality: 1 to 100, which is without loss.
    """
    import imagecodecs

    # As libjxl's own tool maps qualities to distances (JxlEncoderDistanceFromQuality).
    distance = 0.1 + (100 - quality) * 0.09
    if quality < 30:
        distance = 53 / 3000 * quality**2 - 23 / 20 * quality + 25
    lossless = quality == 100
    stream = bytes(
        imagecodecs.jpegxl_encode(
            pixels_HWC, lossless=lossless, distance=None if lossless else distance, numthreads=1
        )
    )
    if labels.xmp is None:
        return stream
    # The container of ISO/IEC 18181-2, with the stream in one box.
    boxes = _box(b"JXL ", b"\r\n\x87\n") + _box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return boxes + _box(b"xml ", labels.xmp) + _box(b"jxlc", stream)


def _box(kind: bytes, data: bytes) -> bytes:
    if len(data) + 8 >= 1 << 32:
        return struct.pack(">I4sQ", 1, kind, len(data) + 16) + data
    return struct.pack(">I4s", len(data) + 8, kind) + data
