"""The total variations: how much the neighbours of a picture differ.

Loss and gradient are computed together, direction by direction: the differences are needed for both, and no
more than those of one direction are in memory.

Shape suffixes: B pictures, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.bands.band import Band

Window = tuple[slice, slice]
"""Rows and columns of a picture."""

_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
_MIDDLE, _SECOND = slice(1, -1), slice(2, None)


class Neighbours(NamedTuple):
    """Pairs of neighbours in one direction: pixels of one window, and those at the same places in another."""

    one: Window
    """The first pixels of the pairs."""
    other: Window
    """The second pixels of the pairs."""
    rows: Literal["one", "two", "rim"]
    """What the pairs of a row need: that row; also the next one; or the rim above and below."""
    mean_weight: float | None = None
    """The factor of the mean over the pairs; None: the sum over the pairs counts."""


ADJACENT = (
    Neighbours((_LAST, _ALL), (_FIRST, _ALL), "two"),
    Neighbours((_ALL, _LAST), (_ALL, _FIRST), "one"),
)
"""Vertical and horizontal neighbours."""

NINE_POINT = (
    Neighbours((_MIDDLE, _SECOND), (_MIDDLE, _MIDDLE), "rim", 2 / 3),
    Neighbours((_SECOND, _MIDDLE), (_MIDDLE, _MIDDLE), "rim", 2 / 3),
    Neighbours((_LAST, _LAST), (_FIRST, _FIRST), "two", 2 / 12),
    Neighbours((_LAST, _FIRST), (_FIRST, _LAST), "two", 2 / 12),
)
"""Horizontal, vertical and diagonal neighbours, of a picture with a rim of one pixel."""


def total_variation(
    x_B3HW: Tensor,
    weight: float = 1.0,
    gradient_B3HW: Tensor | None = None,
    band: Band | None = None,
) -> Tensor:
    """Return sum((x_below - x)^2) + sum((x_right - x)^2), the squared differences of neighbours.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in any units.
        weight: The factor of the sum.
        gradient_B3HW: The gradient of the weighted sum is added to this tensor, in place; None: to none.
        band: The rows of the pictures that these are; None: all. A pair across an edge of bands counts for
            the upper one, and the sum is that of this band.

    Returns:
        The weighted sum over channels and positions for each picture, (B,), in those units squared.
    """
    return _variation(x_B3HW, ADJACENT, False, False, weight, gradient_B3HW, band)


def absolute_variation(
    x_B3HW: Tensor,
    weight: float = 1.0,
    gradient_B3HW: Tensor | None = None,
    band: Band | None = None,
) -> Tensor:
    """Return sum(|x_below - x|) + sum(|x_right - x|), the absolute differences of neighbours.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in any units.
        weight: The factor of the sum.
        gradient_B3HW: The gradient of the weighted sum is added to this tensor, in place; None: to none.
        band: The rows of the pictures that these are; None: all. A pair across an edge of bands counts for
            the upper one, and the sum is that of this band.

    Returns:
        The weighted sum over channels and positions for each picture, (B,), in those units.
    """
    return _variation(x_B3HW, ADJACENT, False, True, weight, gradient_B3HW, band)


def nine_point_variation(
    x_B3HW: Tensor,
    weight: float = 1.0,
    gradient_B3HW: Tensor | None = None,
    band: Band | None = None,
) -> Tensor:
    """Return 2 (a / 3 + b / 3 + c / 12 + d / 12), the mean squared differences of neighbours.

    a and b are the mean squared differences of horizontal and vertical neighbours, c and d those of the
    neighbours along the two diagonals. The pictures' edges are replicated.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in any units.
        weight: The factor of the variation.
        gradient_B3HW: The weighted variation's gradient is added to this tensor, in place; None: to none.
        band: The rows of the pictures that these are; None: all. A pair across an edge of bands counts for
            the upper one, and the sum is that of this band.

    Returns:
        The weighted variation of each picture, (B,), in those units squared.
    """
    return _variation(x_B3HW, NINE_POINT, True, False, weight, gradient_B3HW, band)


@torch.no_grad()
def _variation(
    x_B3HW: Tensor,
    directions: Sequence[Neighbours],
    rim: bool,
    absolute: bool,
    weight: float,
    gradient_B3HW: Tensor | None,
    band: Band | None,
) -> Tensor:
    """Return a weighted sum of squared or absolute differences of neighbours, and add its gradient."""
    band = band or Band(x_B3HW.shape[2])
    x, above, below = band.with_halo(x_B3HW, 1)
    widths = [1, 1, 1 - above, 1 - below]  # no rim where there is a row of another band
    p = F.pad(x, widths, mode="replicate") if rim else x
    into = gradient_B3HW
    if gradient_B3HW is not None and p is not x_B3HW:
        into = torch.zeros_like(p)
    sum_B = x_B3HW.new_zeros(len(x_B3HW))
    for direction in directions:
        rows = _rows(direction, p, above, below)
        off = _difference(p[rows], direction)
        of_pair = weight * _weight(off, direction, band.height)
        if into is not None:
            slope, of_slope = (off.sign(), of_pair) if absolute else (off, 2 * of_pair)
            into[rows][_at(direction.one)].add_(slope, alpha=of_slope)
            into[rows][_at(direction.other)].sub_(slope, alpha=of_slope)
            del slope
        off = off.abs_() if absolute else off.square_()
        sum_B.add_(off.flatten(1).sum(1), alpha=of_pair)
        del off
    if gradient_B3HW is not None and into is not None and into is not gradient_B3HW:
        if rim:
            into = torch.ops.aten.replication_pad2d_backward(into, x, widths)
        gradient_B3HW.add_(band.without_halo(into, 1))
    return sum_B


def _rows(direction: Neighbours, p: Tensor, above: int, below: int) -> tuple[Any, ...]:
    """Return the rows in which the pairs of a direction count for this band."""
    first = 0 if direction.rows == "rim" else above
    last = p.shape[2] - (below if direction.rows == "one" else 0)
    return _at((slice(first, last), _ALL))


def _at(window: Window) -> tuple[Any, ...]:
    return (..., *window)


def _difference(p: Tensor, direction: Neighbours) -> Tensor:
    return p[_at(direction.one)] - p[_at(direction.other)]


def _weight(off: Tensor, direction: Neighbours, height: int) -> float:
    """Return the factor of each pair in a direction, of which these are the differences in a band.

    Args:
        off: The differences.
        direction: The direction.
        height: The rows of the whole pictures.
    """
    if direction.mean_weight is None:
        return 1.0
    rows = height + (direction.rows == "two")  # of a picture with a rim
    return direction.mean_weight / (off[0, :, 0].numel() * rows)
