"""``unpack``: members of a zip that LZMA or bzip2 packed, to no more bytes than they are said to have.

The standard library's reader unpacks all that it is given at once: a hundred bytes may become a hundred
megabytes.
"""

from __future__ import annotations

import bz2
import lzma
import zipfile
import zlib

METHODS = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""What this module unpacks."""

LEAST_DICTIONARY = 4096
"""The smallest dictionary of LZMA, in bytes."""


def unpack(info: zipfile.ZipInfo, local: bytes) -> bytes:
    """Return a member's bytes.

    Args:
        info: The member, of one of ``METHODS``.
        local: Its local header, and what follows.

    Raises:
        zipfile.BadZipFile: It is not what its header says.
        lzma.LZMAError, EOFError, OSError, ValueError, LookupError: It is damaged.
    """
    start = 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    packed = local[start : start + info.compress_size]
    if len(packed) < info.compress_size:
        raise EOFError("it ends too early")
    if info.compress_type == zipfile.ZIP_BZIP2:
        data = bz2.BZ2Decompressor().decompress(packed, info.file_size)
    else:
        data = _lzma(packed, info.file_size).decompress(
            packed[4 + int.from_bytes(packed[2:4], "little") :], info.file_size
        )
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile("a member is not what its header says")
    return data


def _lzma(packed: bytes, size: int) -> lzma.LZMADecompressor:
    """Return a decompressor with the properties that precede the bytes of a member."""
    properties = packed[4]
    given = {
        "id": lzma.FILTER_LZMA1,
        "lc": properties % 9,
        "lp": properties // 9 % 5,
        "pb": properties // 45,
        # A dictionary beyond the member is never used, and takes memory.
        "dict_size": max(LEAST_DICTIONARY, min(int.from_bytes(packed[5:9], "little"), size)),
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[given])
