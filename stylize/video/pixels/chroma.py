"""Chroma samples to as many as there are of luma, and back, by where they lie.

Linear between the two nearest, as graphics cards and zimg do it: no ringing at the edges of paintings. Back,
the same triangle, twice as wide.
"""

from __future__ import annotations

import numpy as np

from stylize.video.pixels.levels import Floats
from stylize.video.pixels.tags import SITINGS, Siting


def offsets(steps: tuple[int, int], siting: Siting) -> tuple[float, float]:
    """Return how far the first chroma sample lies right of and below the first of luma, in samples of luma.

    Args:
        steps: How many columns and rows of luma share a sample.
        siting: For 4:2:0. Other kinds lie as in MPEG, on the left in a row of their own, unless 4:2:2 is said
            to lie in the middle.
    """
    across, down = SITINGS[siting]
    if steps == (2, 2):
        return across, down
    return (across if steps == (2, 1) else 0.0), (steps[1] - 1) / 2


def spread(plane: Floats, shape: tuple[int, int], steps: tuple[int, int], siting: Siting) -> Floats:
    """Return a plane of chroma with a value for each of luma.

    Args:
        plane: (h, w).
        shape: (H, W) of luma.
        steps: How many columns and rows of luma share a sample.
        siting: Where a sample lies.
    """
    right, below = offsets(steps, siting)
    rows = _spread_rows(plane, shape[0], steps[1], below)
    return np.ascontiguousarray(_spread_rows(rows.T, shape[1], steps[0], right).T)


def _spread_rows(plane: Floats, length: int, step: int, offset: float) -> Floats:
    """Return ``length`` rows, ``step`` for each of the plane's; the plane's first lies ``offset`` down."""
    if step == 1:
        return plane[:length]
    margin = 1
    padded = np.pad(plane, ((margin, margin), (0, 0)), mode="edge")
    count = plane.shape[0]
    spread_out = np.empty((count * step, plane.shape[1]), np.float32)
    for phase in range(step):
        place = (phase - offset) / step
        before = int(np.floor(place))
        share = np.float32(place - before)
        start = margin + before
        some = padded[start : start + count]
        if share == 0:
            spread_out[phase::step] = some
        else:
            more = padded[start + 1 : start + 1 + count]
            spread_out[phase::step] = some + (more - some) * share
    return spread_out[:length]


def gather(plane: Floats, steps: tuple[int, int], siting: Siting) -> Floats:
    """Return a plane with one value for each step of columns and rows, rounding up at the edges.

    Args:
        plane: (H, W), a value for each of luma.
        steps: How many columns and rows share a sample.
        siting: Where a sample lies.
    """
    right, below = offsets(steps, siting)
    rows = _gather_rows(plane, steps[1], below)
    return np.ascontiguousarray(_gather_rows(rows.T, steps[0], right).T)


def _gather_rows(plane: Floats, step: int, offset: float) -> Floats:
    """Return a row for each ``step``: the mean of those around it, weighted by a triangle as wide as a step
    to each side."""
    if step == 1:
        return plane
    count = -(-plane.shape[0] // step)
    padded = np.pad(plane, ((step, 2 * step), (0, 0)), mode="edge")
    taps = [tap for tap in range(-step, 2 * step) if abs(tap - offset) < step]
    weights = [1 - abs(tap - offset) / step for tap in taps]
    total = np.zeros((count, plane.shape[1]), np.float32)
    for tap, weight in zip(taps, weights, strict=True):
        start = step + tap
        total += padded[start : start + count * step : step] * np.float32(weight / sum(weights))
    return total
