"""PNG of 8 and 16 bits (ISO/IEC 15948), by libpng."""

from __future__ import annotations

import struct
import zlib

from stylize.pictures.writing.base import Labels, Pixels, is_deep

EFFORT = {False: 3, True: 1}
"""The level of deflate, 0 to 9, for 8 and for 16 bits. Painted texture hardly compresses better at level 6,
which takes more than twice as long; the low bytes of 16 bits are almost noise."""

HEADER_END = 33
"""Where the second chunk begins: behind the signature and IHDR."""


def write_png(pixels_HWC: Pixels, labels: Labels) -> bytes:
    """Return a PNG file.

    Args:
        pixels_HWC: The pixels.
        labels: The profile and the XMP to embed.
    """
    import imagecodecs

    deep = is_deep(pixels_HWC)
    # Rows are filtered by none, left or above, which suits paintings as well as all five filters do.
    file = imagecodecs.png_encode(
        pixels_HWC, level=EFFORT[deep], filter=imagecodecs.PNG.FILTER.FAST
    )
    chunks = _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(labels.profile))
    if labels.xmp is not None:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + labels.xmp)
    return b"".join((file[:HEADER_END], chunks, memoryview(file)[HEADER_END:]))


def write_plain_png(pixels_HWC: Pixels) -> bytes:
    """Return a PNG file of sRGB, written fast, for pictures that are read again at once.

    Args:
        pixels_HWC: The pixels.
    """
    import imagecodecs

    png = imagecodecs.PNG
    how = {"strategy": png.STRATEGY.RLE, "filter": png.FILTER.SUB}
    return bytes(imagecodecs.png_encode(pixels_HWC, level=1, **how))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
    return struct.pack(">I", len(data)) + kind + data + checksum
