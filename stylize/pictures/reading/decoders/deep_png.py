"""PNG: its chunks about colour, which Pillow leaves out in part; and its pixels where they have 16 bits.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C 2025.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np

from stylize.pictures.reading.cicp import are_known, encoding_of_codes
from stylize.pictures.reading.raster import Encoding, Raster, unit

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PROFILE_LIMIT = 8 * 2**20
"""Bytes of an ICC profile, uncompressed."""


def chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks before the pixels, the first of each kind."""
    found: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            break
        found.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def is_deep(found: Mapping[bytes, bytes]) -> bool:
    """Return whether pixels have 16 bits per channel."""
    return found.get(b"IHDR", b"")[8:9] == b"\x10"


def profile_of(found: Mapping[bytes, bytes]) -> bytes | None:
    """Return the embedded ICC profile; None where there is none, or cICP is to be obeyed instead."""
    if _cicp(found) is not None or b"iCCP" not in found:
        return None
    _, _, rest = found[b"iCCP"].partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], PROFILE_LIMIT) or None
    except zlib.error:
        return None


def encoding_of(found: Mapping[bytes, bytes]) -> Encoding | None:
    """Return how values encode light: by cICP, else sRGB, else gAMA and cHRM; None: the file does not say.

    A profile, if there is one, counts instead of all but cICP.
    """
    codes = _cicp(found)
    if codes is not None:
        return encoding_of_codes(*codes)
    if b"iCCP" in found or b"sRGB" in found:
        return None
    gama, chrm = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    gamma = struct.unpack(">I", gama)[0] / 100_000 if len(gama) == 4 else 0.0
    if not gamma:
        return None
    primaries = None
    if len(chrm) == 32:
        x = [value / 100_000 for value in struct.unpack(">8I", chrm)]
        white, *colours = list(zip(x[::2], x[1::2], strict=True))
        primaries = (*colours, white)
    # 1/2.2 is what programs write for sRGB, whose curve is not a power.
    if abs(gamma - 1 / 2.2) < 0.002:
        return Encoding("srgb", primaries=primaries)
    return Encoding("gamma", 1 / gamma, primaries)


def read_deep(data: bytes, found: Mapping[bytes, bytes]) -> Raster:
    """Return the raster of a PNG of 16 bits per channel. Raises what imagecodecs raises."""
    import imagecodecs

    pixels = np.asarray(imagecodecs.png_decode(data))
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    opacity = unit(pixels[..., colours], 65535) if colours < pixels.shape[2] else None
    return Raster(
        pixels[..., :colours],
        "grey" if colours == 1 else "rgb",
        65535,
        opacity,
        profile=profile_of(found),
        encoding=encoding_of(found),
    )


def _cicp(found: Mapping[bytes, bytes]) -> tuple[int, int] | None:
    """Return the primaries and the curve that the chunk cICP asks for; None without it, or when its codes are
    unknown."""
    said = found.get(b"cICP", b"")
    if len(said) != 4 or said[2] != 0 or not are_known(said[0], said[1]):
        return None
    return said[0], said[1]
