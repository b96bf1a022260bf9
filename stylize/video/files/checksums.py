"""``Checksums``: whether the frames of FFV1 are what was written."""

from __future__ import annotations

import zlib


class Checksums:
    """Those of the frames of FFV1, which FFmpeg (8.1) shows as well as it can where they do not fit.

    Each slice of a frame ends with its length, a byte, and four by which its CRC becomes 0 (RFC 9043, 4.8).

    Args:
        first: The first frame: if it has none that fit, no frame has any.
    """

    def __init__(self, first: bytes) -> None:
        self._are_there = _fit(first)

    def fit(self, frame: bytes) -> bool:
        """Return whether a frame is what its checksums say, as far as there are any."""
        return not self._are_there or _fit(frame)


_FOOTER = 8
_BACKWARDS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _fit(frame: bytes) -> bool:
    end = len(frame)
    while end > 0:
        begin = end - _FOOTER - int.from_bytes(frame[max(0, end - _FOOTER) : end - 5], "big")
        # FFV1 takes bits from the highest on, zlib from the lowest; it begins with ones, and FFV1 with zeros.
        if (
            begin < 0
            or zlib.crc32(frame[begin:end].translate(_BACKWARDS), 0xFFFFFFFF) != 0xFFFFFFFF
        ):
            return False
        end = begin
    return True
