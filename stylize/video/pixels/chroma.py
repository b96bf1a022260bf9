"""Chroma samples to as many as there are of luma, and back, by where they lie.

Linear between the two nearest, as graphics cards and zimg do it: no ringing at the edges of paintings. Back,
by least squares, what looks most like the given once it is spread so, without what overshoots at edges. Of a
film that is decoded and encoded again chroma stays what it was, but for rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    """Return a value for each step of columns and rows, of which ``spread`` makes nearly the given plane.

    Args:
        plane: (H, W), a value for each of luma.
        steps: How many columns and rows share a sample, rounding up at the edges.
        siting: Where a sample lies.
    """
    right, below = offsets(steps, siting)
    rows = _gather_rows(plane, steps[1], below)
    return np.ascontiguousarray(_gather_rows(np.ascontiguousarray(rows.T), steps[0], right).T)


def _gather_rows(plane: Floats, step: int, offset: float) -> Floats:
    """Return a row for each ``step``, the first of them ``offset`` down."""
    if step == 1:
        return plane
    rows = _least_squares(plane, step, offset)
    low, high = _bounds(plane, step, offset)
    return np.clip(rows, low, high, out=rows)


def _bounds(plane: Floats, step: int, offset: float) -> tuple[Floats, Floats]:
    """Return how small and how large each sample may be: like the rows up to the next sample."""
    count = -(-plane.shape[0] // step)
    padded = np.pad(plane, ((step, 2 * step), (0, 0)), mode="edge")

    def at(tap: int) -> Floats:
        return padded[step + tap : step + tap + count * step : step]

    near = (at(tap) for tap in range(-step, 2 * step) if abs(tap - offset) < step)
    low = next(near).copy()
    high = low.copy()

    def admit(rows: Floats) -> None:
        np.minimum(low, rows, out=low)
        np.maximum(high, rows, out=high)

    for rows in near:
        admit(rows)
    above = int(np.floor(offset))
    share = np.float32(offset - above)
    if share:  # no row lies where the sample does: it may be larger than both beside it, as far as they rise
        admit(at(above) + (at(above) - at(above - 1)) * share)
        admit(at(above + 1) + (at(above + 1) - at(above + 2)) * (1 - share))
    return low, high


def _least_squares(plane: Floats, step: int, offset: float) -> Floats:
    """Return x of S'S x = S'y, where S is what ``_spread_rows`` does and y the plane."""
    length, width = plane.shape
    count = -(-length // step)
    diagonal = np.zeros(count)
    beside = np.zeros(count)  # of a sample and the next
    sums = np.zeros((count + 2, width), np.float32)  # S'y, with a row that is none beyond each edge
    for phase in range(step):
        place = (phase - offset) / step
        before = int(np.floor(place))
        share = place - before
        some = plane[phase::step]
        number = len(some)
        sums[1 + before : 1 + before + number] += some * np.float32(1 - share)
        sums[2 + before : 2 + before + number] += some * np.float32(share)
        low = np.arange(number) + before
        inside = (low >= 0) & (low < count - 1)
        np.add.at(diagonal, low[inside], (1 - share) ** 2)
        np.add.at(diagonal, low[inside] + 1, share**2)
        np.add.at(beside, low[inside], share * (1 - share))
        # At an edge a row shows the outermost sample alone.
        np.add.at(diagonal, np.clip(low[~inside], 0, count - 1), 1)
    sums[1] += sums[0]
    sums[count] += sums[count + 1]
    return _solve(diagonal, beside, sums[1:-1])


def _solve(
    diagonal: npt.NDArray[np.float64], beside: npt.NDArray[np.float64], sums: Floats
) -> Floats:
    """Solve for every column, in place, a symmetric system of three diagonals (the algorithm of Thomas).

    Args:
        diagonal: (n,), positive and larger than what is beside it.
        beside: (n,), what follows each of the diagonal in its row; the last is none.
        sums: (n, W), the right sides; holds the solution afterwards.
    """
    for row in range(1, len(sums)):
        ratio = beside[row - 1] / diagonal[row - 1]
        diagonal[row] -= ratio * beside[row - 1]
        sums[row] -= np.float32(ratio) * sums[row - 1]
    sums[-1] /= np.float32(diagonal[-1])
    for row in range(len(sums) - 2, -1, -1):
        sums[row] -= np.float32(beside[row]) * sums[row + 1]
        sums[row] /= np.float32(diagonal[row])
    return sums
