"""The rows of the table, and the pictures in their files.

A row says how the file is made, and what it shows: computed here, from the values and by the formulas of the
standards, not by a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.stylize.pictures.reading.table import colours as spaces
from tests.stylize.pictures.reading.table.colours import Array

HEIGHT, WIDTH = 24, 40

EXACT = 1e-6
"""What float32 loses."""
EIGHT = 1 / 255
DEEP = 1 / 4096
LOSSY = 4 / 255
"""What the best quality of JPEG, WebP and AVIF may lose."""


@dataclass(frozen=True)
class Row:
    ending: str
    """The extension of the file."""
    make: Callable[[], bytes]
    colours: Array
    """(H, W, 3): upright sRGB in [0, 1], without the alpha."""
    alpha: Array | None = None
    """(H, W)."""
    lost: float = EXACT
    """The most by which what is read may differ from it."""
    readers: tuple[str, ...] = ()
    """The programs that are asked too."""
    profiled: bool = False
    """Whether it has a profile."""
    apart: float = EIGHT
    """The most by which what is read may differ from what the programs read."""
    needs: tuple[str, ...] = ()
    """Packages of extras."""
    needs_programs: tuple[str, ...] = ()
    """Programs that make it."""

    def over_white(self) -> Array:
        if self.alpha is None:
            return self.colours
        return self.colours * self.alpha[..., None] + 1 - self.alpha[..., None]


# -- pictures: each channel is another ramp, so that no mix-up of channels, rows or columns goes unseen -----

X, Y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
RGB = np.stack([X, Y, 1 - (X + Y) / 2], -1)
GREY = ((X + 2 * Y) / 3)[..., None]
ALPHA = (2 * X + Y - 0.5).clip(0, 1)
SOFT, SOFT_GREY = 0.4 + 0.2 * RGB, 0.4 + 0.2 * GREY
"""For what is lossy: where colours leave sRGB or come near black, losses are enlarged."""
INKS = np.stack([X, Y, (1 - X) * Y, (1 - Y) / 2], -1)
SOFT_INKS = 0.2 + 0.4 * INKS


def stored(values: Array, bits: int) -> NDArray[Any]:
    return np.rint(values * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def rounded(values: Array, bits: int) -> Array:
    """What remains of values with so many bits."""
    return np.rint(values * (2**bits - 1)) / (2**bits - 1)


def as_kind(values: Array, kind: str) -> NDArray[Any]:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def of_kind(values: NDArray[Any]) -> Array:
    return values.astype(float) / (1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max)


def complement(inks: Array) -> Array:
    return (1 - inks[..., :3]) * (1 - inks[..., 3:])


def three(values: Array) -> Array:
    return values.repeat(3, 2) if values.shape[2] == 1 else values


def with_alpha(colours: Array, alpha: Array = ALPHA) -> Array:
    return np.concatenate([colours, alpha[..., None]], 2)


def upright(values: Array, orientation: int) -> Array:
    """As EXIF 2.32 describes tag 274: which sides row 0 and column 0 are."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


Rows = Iterator[tuple[str, Row]]

MAGICK = ("ImageMagick",)
BOTH = ("ImageMagick", "libvips")
"""libvips (8.14 and 8.18) applies profiles to whole numbers. So it is ten levels of 8 bits wrong in dark
greys with a profile, and where colours of 16 bits leave sRGB, and is not asked about these."""
HEIF = ("libvips",)
"""ImageMagick (6.9.11) leaves out alpha and profiles of AVIF and HEIC, and halves their colours."""

REC_2020 = spaces.Space(spaces.SRGB_CURVE, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))


def indexed(bits: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Indices of so many bits, their colours, and the opacity of each."""
    index = np.rint(X * (2**bits - 1)).astype(int)
    index = (index + np.arange(HEIGHT)[:, None]) % 2**bits
    t = np.linspace(0, 1, 2**bits)
    palette = stored(np.stack([t, 1 - t, (t * 3) % 1], -1), 8)
    return index, palette, stored(0.9 * t, 8)
