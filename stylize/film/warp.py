"""Follow a flow: look pictures up where it leads, chain flows, and find what cannot be trusted of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stylize.film.cv import opencv
from stylize.film.flow import Flow

Weight = NDArray[np.float32]
"""How far a flow can be trusted at each pixel, (H, W), 0 to 1."""

Values = NDArray[np.float32]
"""Values of each pixel, (H, W) or (H, W, N)."""


class Motion(NamedTuple):
    """Both flows between two frames."""

    there: Flow
    """Where each pixel of the first frame is in the second."""
    back: Flow
    """Where each pixel of the second frame is in the first."""

    @property
    def reverse(self) -> Motion:
        """The same, seen from the second frame."""
        return Motion(self.back, self.there)


def followed(values: Values, flow: Flow, *, sharp: bool = False) -> Values:
    """Look values up where a flow leads; beyond the border they are those at the border.

    Args:
        values: The values of the frame to which the flow leads.
        flow: The flow, of the same shape.
        sharp: By Lanczos' window, which keeps edges, instead of linearly.
    """
    cv = opencv()
    height, width = flow.shape[:2]
    at = flow + grid(height, width)
    how = cv.INTER_LANCZOS4 if sharp else cv.INTER_LINEAR
    found: Values = cv.remap(values, at, None, how, borderMode=cv.BORDER_REPLICATE)
    return found


def chained(motions: Sequence[Motion]) -> Motion:
    """Return the motion from the first of several frames to the last, from those between neighbours."""
    there, back = motions[0].there, motions[-1].back
    for motion in motions[1:]:
        there = there + followed(motion.there, there)
    for motion in reversed(motions[:-1]):
        back = back + followed(motion.back, back)
    return Motion(there, back)


def trusted(motion: Motion) -> Weight:
    """Return where the way to the second frame and back leads to the same place: what is seen in both.

    After Sundaram, Brox, Keutzer, *Dense point trajectories by GPU-accelerated large displacement optical
    flow*, ECCV 2010, eqs. 5 and 6, as Ruder, Dosovitskiy, Brox 2016 use them: a pixel is hidden in the other
    frame, or leaves it, where there and back do not cancel; and at borders of motions flow is unsure.
    """
    there, back = motion
    height, width = there.shape[:2]
    returned = followed(back, there)
    lengths = squared(there) + squared(returned)
    lost = squared(there + returned) > 0.01 * lengths + 0.5
    slopes = np.zeros((height, width), np.float32)
    for k, axis in ((0, 0), (0, 1), (1, 0), (1, 1)):
        slopes += np.gradient(there[..., k], axis=axis) ** 2
    border = slopes > 0.01 * squared(there) + 0.002
    seen: Weight = (inside(there) & ~lost & ~border).astype(np.float32)
    return seen


def squared(flow: Flow) -> NDArray[np.float32]:
    """Return the squared length of each vector of a flow, (H, W)."""
    # Sums over an axis of two values cost NumPy several times as much.
    lengths: NDArray[np.float32] = flow[..., 0] ** 2 + flow[..., 1] ** 2
    return lengths


def inside(flow: Flow) -> NDArray[np.bool_]:
    """Return which pixels a flow leads to a place within the other frame, (H, W)."""
    height, width = flow.shape[:2]
    at = flow + grid(height, width)
    columns, rows = at[..., 0], at[..., 1]
    within: NDArray[np.bool_] = (
        (columns >= 0) & (rows >= 0) & (columns <= width - 1) & (rows <= height - 1)
    )
    return within


@lru_cache(maxsize=2)
def grid(height: int, width: int) -> NDArray[np.float32]:
    """Return the place of each pixel, (H, W, 2), column then row; not to be changed."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    grid: NDArray[np.float32] = np.stack([columns, rows], -1).astype(np.float32)
    grid.flags.writeable = False
    return grid
