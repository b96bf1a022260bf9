"""Pictures of 16 bits per channel as PNG and TIFF files, which Pillow cannot write.

Equal pixels give equal bytes: no file says when, or by what program, it was made.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import tifffile

Deep = npt.NDArray[np.uint16]
"""(H, W, 3) RGB or (H, W, 4) RGB with straight alpha, 0 to 65535."""

EFFORT = 1
"""Of deflate, 0 to 9. A painting's low bytes are next to noise: 6 takes twice as long for 1 % less."""

BAND_BYTES = 1 << 22
"""Rows are compressed so many bytes at a time, so that a large picture is not in memory twice; and no
chunk of a PNG comes near 2 GiB, the most that one may hold."""


def png(pixels_HWC: Deep, icc_profile: bytes) -> bytes:
    """The file of these pixels as a PNG (ISO/IEC 15948), with a colour profile (ICC)."""
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
        # What compresses very well stays in the compressor for some bands.
        if data := deflate.compress(_filtered(pixels_HWC[top : top + rows])):
            _write_chunk(file, b"IDAT", data)
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")
    return file.getvalue()


def tiff(pixels_HWC: Deep, icc_profile: bytes) -> bytes:
    """The file of these pixels as a TIFF, deflated as the 8-bit ones are, with a colour profile (ICC)."""
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
        # Pictures are encoded while the next is painted, which needs the other cores more.
        maxworkers=1,
    )
    return file.getvalue()


def _write_chunk(file: io.BytesIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _filtered(band_HWC: Deep) -> bytes:
    """Rows as PNG compresses them: big-endian, each byte less that of the pixel to the left (Sub)."""
    height, _, channels = band_HWC.shape
    plain = np.ascontiguousarray(band_HWC, ">u2").view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + plain.shape[1]), np.uint8)
    rows[:, 0] = 1  # the filter's number
    rows[:, 1:] = plain
    rows[:, 1 + 2 * channels :] -= plain[:, : -2 * channels]
    return rows.tobytes()
