"""The curvature of a loss by place, measured from the pairs that L-BFGS remembers.

Shape suffixes: B pictures, D unknowns per picture, M slots, H height, W width, h and w cells.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.bands.band import Band
from stylize.optimise.pair_ring import PairRing

CELL = 8
"""The side of the cells in which the curvature is measured, in pixels. Smaller ones measure noise."""

RANGE = 10.0
"""The factor by which a cell's curvature may differ from the geometric mean of all."""


class LocalCurvature(NamedTuple):
    """What L-BFGS knows at the end of one size that helps at the next."""

    relative_B1hw: Tensor
    """The curvature of each cell relative to the geometric mean, (B, 1, h, w), 1/``RANGE`` to ``RANGE``; 1
    everywhere for a picture of which nothing is known."""


def local_curvature(
    s: PairRing,
    y: PairRing,
    kept_BM: Tensor,
    shape: tuple[int, int],
    band: Band | None = None,
) -> LocalCurvature:
    """Return the curvature |y| / |s| in each cell, over all pairs, every pair with the same weight.

    Args:
        s: The steps.
        y: The changes of the gradient.
        kept_BM: Which slots hold a pair, (B, M), boolean.
        shape: (height, width) of the pictures, in pixels.
        band: The rows of the pictures that these are; None: all.

    Returns:
        The curvature, of the whole pictures.
    """
    band = band or Band(shape[0])
    cells_of = partial(F.avg_pool2d, kernel_size=CELL, ceil_mode=True, count_include_pad=False)
    s_B1hw = y_B1hw = s.kept_BMD.new_zeros((), dtype=s.computed)
    # Pair by pair, so that only one is in full precision at a time.
    for slot in range(kept_BM.shape[1]):
        of_s, of_y = (
            band.joined(
                cells_of(ring.vectors(slot).square().view(-1, 3, *shape).mean(1, True)),
                CELL,
                up=True,
            )
            for ring in (s, y)
        )
        whole_B111 = of_s.mean((1, 2, 3), keepdim=True)
        usable_B111 = kept_BM[:, slot].view(-1, 1, 1, 1) & (whole_B111 > 0)
        s_B1hw = s_B1hw + torch.where(usable_B111, of_s / whole_B111, 0)
        y_B1hw = y_B1hw + torch.where(usable_B111, of_y / whole_B111, 0)
    smooth_s, smooth_y = (_smoothed(v) for v in (s_B1hw, y_B1hw))
    logarithm = 0.5 * (smooth_y / smooth_s).log()
    # Where a picture has not changed at all, nothing is known.
    logarithm = torch.where(logarithm.isfinite(), logarithm, 0)
    logarithm = logarithm - logarithm.mean((1, 2, 3), keepdim=True)
    limit = math.log(RANGE)
    return LocalCurvature(logarithm.clamp(-limit, limit).exp())


def _smoothed(v_B1hw: Tensor) -> Tensor:
    """Return each cell's mean with its neighbours."""
    return F.avg_pool2d(v_B1hw, 3, stride=1, padding=1, count_include_pad=False)
