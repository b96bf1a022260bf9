"""The colour spaces that pictures are painted and written in, and the arithmetic of primaries."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import ImageCms

Gamut = Literal["srgb", "display-p3"]
"""Both have the curve and the white of sRGB; ``display-p3`` has more saturated primaries."""

Chromaticities = tuple[tuple[float, float], ...]
"""(x, y) of red, green, blue and white."""

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]

D65 = (0.3127, 0.3290)
D50 = (0.345703, 0.358539)
"""The white of Lab in files: that of ICC profiles, 0.9642, 1 and 0.8249 in XYZ."""
D50_OF_ICC = (0.9642, 1.0, 0.8249)
"""The same as XYZ, as every profile has it (ICC.1:2022, 7.2.16)."""

PRIMARIES: dict[Gamut, Chromaticities] = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "display-p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""The Bradford matrix, from XYZ to the responses of cones (ICC.1:2022, annex E)."""


def xyz(x: float, y: float) -> list[float]:
    """Return XYZ of a chromaticity, with Y = 1."""
    return [x / y, 1.0, (1 - x - y) / y]


def to_xyz(primaries: Chromaticities) -> Matrix:
    """Return the matrix from light in these primaries to XYZ."""
    *colours, white = primaries
    columns = np.array([xyz(x, y) for x, y in colours]).T
    matrix: Matrix = columns * np.linalg.solve(columns, xyz(*white))
    return matrix


def adapted(white: tuple[float, float], target: tuple[float, float] = D65) -> Matrix:
    """Return the matrix that adapts XYZ from one white to another."""
    return _between(xyz(*white), xyz(*target))


@lru_cache(maxsize=4)
def profile_of(gamut: Gamut) -> bytes:
    """Return the ICC profile of a gamut, always the same bytes."""
    return _srgb_profile() if gamut == "srgb" else _display_p3_profile()


def _between(white: list[float], target: list[float]) -> Matrix:
    ratio = (_BRADFORD @ target) / (_BRADFORD @ white)
    matrix: Matrix = np.linalg.solve(_BRADFORD, np.diag(ratio) @ _BRADFORD)
    return matrix


def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 of the header are the creation time and 84 to 99 a digest that includes it.
    # Without them the same picture has the same bytes every time.
    profile[24:36] = bytes(12)
    profile[84:100] = bytes(16)
    return bytes(profile)


def _display_p3_profile() -> bytes:
    """Return a profile of three primaries and the curve of sRGB (ICC.1:2022), which LittleCMS cannot make."""
    primaries = PRIMARIES["display-p3"]
    adaptation = _between(xyz(*D65), list(D50_OF_ICC))
    curve = b"para" + struct.pack(">I2H", 0, 3, 0)
    curve += b"".join(map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    tags = {
        b"desc": _text("Display P3"),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _point(D50_OF_ICC),
        b"chad": b"sf32" + bytes(4) + b"".join(map(_fixed, adaptation.flat)),
    }
    for name, column in zip(
        (b"rXYZ", b"gXYZ", b"bXYZ"), (adaptation @ to_xyz(primaries)).T, strict=True
    ):
        tags[name] = _point(column)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)

    table, bodies, places = b"", b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        if body not in places:  # the three curves are one
            places[body] = start + len(bodies)
            bodies += body + bytes(-len(body) % 4)
        table += name + struct.pack(">2I", places[body], len(body))
    header = struct.pack(
        ">I4sI4s4s4s", start + len(bodies), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28)
    header += b"".join(map(_fixed, D50_OF_ICC))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + bodies


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _point(values: object) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(v)) for v in np.asarray(values).flat)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    # One record of 12 bytes, whose text begins behind it.
    record = struct.pack(">3I2s2s2I", 0, 1, 12, b"en", b"US", len(encoded), 28)
    return b"mluc" + record + encoded
