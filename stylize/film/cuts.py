"""Where one shot of a film ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from stylize.film.flow import Frame, dense_flow, shrunk
from stylize.film.warp import Motion, followed, trusted

LOOKED_AT = 160
"""The longest side at which frames are compared, in pixels."""

SIGNS = ((0.1, 0.6), (0.4, 0.3))
"""A cut has a smaller share of pixels whose motion can be followed there and back than the first number, and
correlates less with the frame before, moved to where it is, than the second, of any of these pairs."""


def cuts(frames: Iterable[Frame]) -> Iterator[int]:
    """Yield the index of every frame that begins a new shot, but for the first.

    Args:
        frames: The frames in order, of one shape, of any size.
    """
    before: Frame | None = None
    for index, frame in enumerate(frames):
        small = looked_at(frame)
        if before is not None and is_cut(before, small):
            yield index
        before = small


def looked_at(frame: Frame) -> Frame:
    """Return a frame as small as ``is_cut`` takes it."""
    return shrunk(frame, LOOKED_AT)


def is_cut(before: Frame, after: Frame) -> bool:
    """Return whether another shot begins between two frames.

        Two signs are needed: a fast pan and motion blur cannot be followed everywhere, but what is followed
    is alike; a flash of light correlates with what it lights up; and of two shots, large even areas can be
    alike. To take a blurred pan for a cut costs little, since hardly a pixel would be held across it.

    Args:
        before: The frame before, small.
        after: The frame after, of the same shape.
    """
    motion = Motion(dense_flow(after, before), dense_flow(before, after))
    share = float(trusted(motion).mean())
    moved = followed(before.astype(np.float32), motion.there)
    alike = _correlation(moved.mean(-1), after.astype(np.float32).mean(-1))
    return any(share < least and alike < most for least, most in SIGNS)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return Pearson's correlation of two grey pictures, 0 where one is even."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale > 1e-6 else 0.0
