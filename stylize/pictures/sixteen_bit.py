"""Encode pictures with 16 bits per channel as PNG and TIFF, which Pillow cannot write.

Equal pixels give equal bytes: no file records when or by which program it was written.

Shape suffixes: H height, W width, C channels.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import tifffile

Deep = npt.NDArray[np.uint16]
"""The pixels of a picture: (H, W, 3) RGB or (H, W, 4) RGB with straight alpha, 0 to 65535."""

EFFORT = 1
"""The level of deflate, 0 to 9. The low bytes of a painting are almost noise: level 6 takes twice as long
for 1 % less."""

BAND_BYTES = 1 << 22
"""The number of bytes compressed at a time. A large picture is therefore not in memory twice, and no chunk
of a PNG comes near its limit of 2 GiB."""


def png(pixels_HWC: Deep, icc_profile: bytes) -> bytes:
    """Encode pixels as PNG (ISO/IEC 15948).

    Args:
        pixels_HWC: The pixels, (H, W, 3) or (H, W, 4), 0 to 65535.
        icc_profile: The ICC colour profile to embed.

    Returns:
        The bytes of the file.
    """
    height, width, channels = pixels_HWC.shape
    colour_type = {3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    deflate = zlib.compressobj(EFFORT)
    rows = max(1, BAND_BYTES // (width * channels * 2))

    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", header)
    _write_chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
    for top in range(0, height, rows):
        # The compressor may hold well compressed data back for several bands.
        if data := deflate.compress(_filtered(pixels_HWC[top : top + rows])):
            _write_chunk(file, b"IDAT", data)
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")
    return file.getvalue()


def tiff(pixels_HWC: Deep, icc_profile: bytes) -> bytes:
    """Encode pixels as TIFF, with deflate as for 8 bits.

    Args:
        pixels_HWC: The pixels, (H, W, 3) or (H, W, 4), 0 to 65535.
        icc_profile: The ICC colour profile to embed.

    Returns:
        The bytes of the file.
    """
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels_HWC,
        byteorder="<",
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"] * (pixels_HWC.shape[2] - 3),
        compression="adobe_deflate",
        compressionargs={"level": EFFORT},
        predictor=True,
        iccprofile=icc_profile,
        metadata=None,
        software=False,
        # Pictures are encoded while the next one renders, which needs the other cores more.
        maxworkers=1,
    )
    return file.getvalue()


def _write_chunk(file: io.BytesIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _filtered(band_HWC: Deep) -> bytes:
    """Return rows as PNG compresses them: big-endian, each byte less that of the pixel to its left (Sub)."""
    height, _, channels = band_HWC.shape
    plain = np.ascontiguousarray(band_HWC, ">u2").view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + plain.shape[1]), np.uint8)
    rows[:, 0] = 1  # the filter's number
    rows[:, 1:] = plain
    rows[:, 1 + 2 * channels :] -= plain[:, : -2 * channels]
    return rows.tobytes()
