"""A frame as it lies in the file, and as it is shown: turned, mirrored, with square pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from stylize.video.pixels.levels import Floats, Values


@dataclass(frozen=True, slots=True)
class Turn:
    """How a frame is turned: first rows and columns are exchanged, then it is mirrored."""

    transposed: bool = False
    mirrored: bool = False
    """Left and right."""
    upside_down: bool = False
    """Top and bottom."""

    def apply(self, values: Values) -> Values:
        """Return values, (H, W, C), as they are shown; a view."""
        if self.transposed:
            values = values.transpose(1, 0, 2)
        if self.mirrored:
            values = values[:, ::-1]
        return values[::-1] if self.upside_down else values


def turn_of(matrix: Sequence[int]) -> Turn:
    """Return the turn of a display matrix, to the nearest quarter.

    Args:
        matrix: Nine integers (a b u, c d v, x y w), by which a point (p, q) is shown at (ap + cq, bp + dq);
            ISO/IEC 14496-12, 8.3.2.
    """
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(False, a < 0, d < 0)
    return Turn(True, c < 0, b < 0)


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Return the size with square pixels: the shorter side of a pixel grows, so that nothing is lost.

    Args:
        width: In pixels, as stored.
        height: The same.
        aspect: Width of a pixel by its height.
    """
    if aspect >= 1:
        return max(1, round(width * aspect)), height
    return width, max(1, round(height / aspect))


def resized(rgb: Floats, size: tuple[int, int]) -> Floats:
    """Return a picture of another size, by Catmull and Rom's cubic; only ever larger.

    Args:
        rgb: (H, W, 3).
        size: Width and height.
    """
    height, width = rgb.shape[:2]
    if size[0] != width:
        rgb = _longer(rgb, size[0], axis=1)
    if size[1] != height:
        rgb = _longer(rgb, size[1], axis=0)
    return rgb


def _longer(rgb: Floats, length: int, axis: int) -> Floats:
    before = rgb.shape[axis]
    places = (np.arange(length) + 0.5) * (before / length) - 0.5
    first = np.floor(places).astype(np.intp)
    t = places - first
    weights = (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    shape = [1, 1, 1]
    shape[axis] = length
    total: Floats | None = None
    for tap, weight in enumerate(weights):
        taken = rgb.take((first + tap - 1).clip(0, before - 1), axis=axis)
        taken = taken * weight.astype(np.float32).reshape(shape)
        total = taken if total is None else total + taken
    assert total is not None
    return total
