"""Colour spaces, their ICC profiles byte by byte, and what their values are in sRGB, in double precision.

Nothing here is computed by a library of colours, so that one can be held against it.

Sources: ICC.1:2022 for profiles; IEC 61966-2-1 for sRGB; ISO 22028-2 for ROMM RGB (ProPhoto); SMPTE EG 432-1
for Display P3; Adobe RGB (1998) Color Image Encoding; CIE 15:2004 for Lab.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

D50_XYZ = np.array([0.9642, 1.0, 0.8249])
"""The white of the profile connection space."""
D65 = (0.3127, 0.3290)

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


@dataclass(frozen=True)
class Curve:
    """ICC's parametric curve of type 3: ``((a x + b) ** gamma)`` from ``d`` on, and ``c x`` below."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0

    def light(self, x: Array) -> Array:
        return np.where(x >= self.d, np.maximum(self.a * x + self.b, 0) ** self.gamma, self.c * x)

    def tag(self) -> bytes:
        numbers = (self.gamma, self.a, self.b, self.c, self.d)
        return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(fixed, numbers))


SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@dataclass(frozen=True)
class Space:
    """A space of RGB colours: red, green, blue and white as (x, y), and the curve from values to light."""

    curve: Curve
    red: tuple[float, float] = (0.64, 0.33)
    green: tuple[float, float] = (0.30, 0.60)
    blue: tuple[float, float] = (0.15, 0.06)
    white: tuple[float, float] = D65

    def to_xyz(self) -> Array:
        """The matrix from light to XYZ, its white adapted to D50 as Bradford has it."""
        columns = np.stack([xyz(*self.red), xyz(*self.green), xyz(*self.blue)], 1)
        scaled = columns * np.linalg.solve(columns, xyz(*self.white))
        cones = (BRADFORD @ D50_XYZ) / (BRADFORD @ xyz(*self.white))
        return np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ scaled

    def profile(self) -> bytes:
        curve = self.curve.tag()
        columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), self.to_xyz().T, strict=True)
        tags = {name: xyz_tag(column) for name, column in columns}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
        return icc(b"mntr", b"RGB ", b"XYZ ", tags)

    def srgb(self, values: Array, by_profile: bool = True) -> Array:
        """(..., 3) of sRGB, clipped to [0, 1]: as the profile says it, or the chromaticities alone."""
        store = rounded if by_profile else np.array
        light = self.curve.light(values) @ store(self.to_xyz()).T
        return srgb_of(light @ np.linalg.inv(store(SRGB.to_xyz())).T)


def rounded(matrix: Array) -> Array:
    """Numbers as ICC's s15Fixed16Number has them."""
    return np.rint(matrix * 65536) / 65536


def xyz(x: float, y: float) -> Array:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def srgb_of(light: Array) -> Array:
    light = light.clip(0, 1)
    bright = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, bright)


SRGB = Space(SRGB_CURVE)
SPACES = {
    "sRGB": SRGB,
    "Display P3": Space(SRGB_CURVE, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "Adobe RGB": Space(Curve(563 / 256), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "ProPhoto": Space(
        Curve(1.8, c=1 / 16, d=1 / 32),
        *((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), (0.345704, 0.358540)),
    ),
    "linear": Space(Curve(1.0)),
}
GREYS = {"grey gamma 1": Curve(1.0), "grey gamma 2.2": Curve(2.2)}


def grey_profile(curve: Curve) -> bytes:
    return icc(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve.tag()})


def grey_srgb(values: Array, curve: Curve) -> Array:
    """(H, W, 3) of (H, W, 1)."""
    return srgb_of(curve.light(values)).repeat(3, 2)


INKS = np.array([[-25, -30, -35], [-25, 34, -5], [-5, -4, 40], [-45, 0, 0]], float)
"""What full cyan, magenta, yellow and black add to the L*, a* and b* of paper, in ``cmyk_profile``. Real inks
do not add up. These do, so that any interpolation between them is exact; and all four make black, so that
every rendering intent, with and without black point compensation, is the same."""


def cmyk_profile() -> bytes:
    """Of version 2, as nearly all profiles of CMYK are."""
    table = table_of([100, 0, 0], INKS)
    return icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table}, 0x02400000)


LIGHTS = np.array([[35, 50, 40], [55, -60, 20], [10, 10, -60]], float)
"""What full red, green and blue add to black, in ``rgb_table_profile``."""


def rgb_table_profile() -> bytes:
    table = table_of([0, 0, 0], LIGHTS)
    return icc(b"scnr", b"RGB ", b"Lab ", {b"A2B0": table, b"A2B1": table}, 0x02400000)


def table_of(start: list[float], steps: Array) -> bytes:
    """ICC's lut16Type with the corners of a cube alone, between which Lab is straight."""
    count = len(steps)
    corners = np.stack(np.meshgrid(*[[0, 1]] * count, indexing="ij"), -1).reshape(-1, count)
    lab = start + corners @ steps
    stored = np.rint(np.stack([lab[:, 0] * 652.8, *(lab[:, 1:].T + 128) * 256], 1)).astype(int)
    table = b"mft2" + bytes(4) + bytes([count, 3, 2, 0])
    table += b"".join(map(fixed, np.eye(3).ravel())) + struct.pack(">HH", 2, 2)
    straight = struct.pack(">HH", 0, 65535)
    table += straight * count + struct.pack(f">{stored.size}H", *stored.ravel()) + straight * 3
    return table


def cmyk_srgb(inks: Array) -> Array:
    """(H, W, 3) of the inks of ``cmyk_profile``."""
    return lab_srgb([100, 0, 0] + inks @ INKS)


def rgb_table_srgb(values: Array) -> Array:
    """(H, W, 3) of the values of ``rgb_table_profile``."""
    return lab_srgb(values @ LIGHTS)


def lab_srgb(lab: Array) -> Array:
    """(H, W, 3) of L* from 0 to 100, a* and b*, whose white is D50."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    relative = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return srgb_of(relative * D50_XYZ @ np.linalg.inv(SRGB.to_xyz()).T)


def srgb_lab(rgb: Array) -> Array:
    """L*, a* and b* of sRGB."""
    relative = SRGB_CURVE.light(rgb) @ SRGB.to_xyz().T / D50_XYZ
    low = relative / (3 * (6 / 29) ** 2) + 4 / 29
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), low)
    differences = [
        116 * f[..., 1] - 16,
        500 * (f[..., 0] - f[..., 1]),
        200 * (f[..., 1] - f[..., 2]),
    ]
    return np.stack(differences, -1)


def fixed(number: float) -> bytes:
    """ICC's s15Fixed16Number."""
    return struct.pack(">i", round(number * 65536))


def xyz_tag(values: Array) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(fixed, values))


def icc(
    kind: bytes,
    space: bytes,
    connection: bytes,
    tags: dict[bytes, bytes],
    version: int = 0x04300000,
) -> bytes:
    text = "test".encode("utf-16-be")
    said = b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text
    tags = {b"desc": said, b"cprt": said, b"wtpt": xyz_tag(D50_XYZ), **tags}
    at = 128 + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        index += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">III4s4s4s12x4s24x", at + len(body), 0, version, kind, space, connection, b"acsp"
    )
    head += struct.pack(">I", 0) + b"".join(map(fixed, D50_XYZ)) + bytes(48)
    return head + index + body
