"""The motion that most of a film's picture shares: that of the camera, or none.

Optical flow is smooth, so around what moves the ground seems to move, too; and what it finds of a camera
that stands still is not quite nothing. Where the shared motion explains what is seen, it is the better
answer: still ground then keeps its strokes to the last bit, up to the very edge of what moves before it, and
comes out from behind it as it was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylize.film.cv import opencv
from stylize.film.flow import Flow, Frame
from stylize.film.warp import Motion, Weight, followed, grid, inside, squared

SAMPLES = 4096
"""About as many pixels are asked for the shared motion, and sixteen times as many for the light."""

NEAR = 1.0
"""Pixels: as far may a flow be from the motion that it shares."""

NO_WORSE = 1.05
"""Ground stands still if it explains what is seen no worse than this, beside the motion that was found."""

LOST = 4.0
"""What differs by as many times what the same may differ is something else, though flow leads there: it
follows what went by in between."""

BETTER = 0.7
"""Where a flow is not near the shared motion, that has to explain what is seen as much better."""

SHARED = 0.25
"""A motion is shared by at least this share of what can be followed."""

ALIKE = 0.02
"""Two pixels whose surroundings differ by less than this, of 1, are the same; in a grainy film up to three
times as much."""

GRAIN = 2.0
"""Two pixels are the same if they differ by as many times what most do."""

LINE = 4.0
"""A single pixel may differ by as many times what its surroundings may."""

FITS = 4
"""Times that the light is found, each time in those pixels that fit best to what was found before."""

MOST = 0.7
"""The share of pixels that are taken to show the same."""

AROUND = 5
"""The surroundings of a pixel that are compared: a square of as many pixels."""


def settled(motion: Motion, one: Frame, other: Frame, trust: Weight) -> tuple[Motion, Weight]:
    """Return a motion with the shared motion wherever that explains what is seen, and how far it is trusted.

    Args:
        motion: Both flows between two frames.
        one: The first frame.
        other: The second frame.
        trust: How far the flow to the second frame is trusted.
    """
    seen = trust > 0
    if not seen.any():
        return motion, trust
    here, away = _of_one(one), _lit_alike(one, other, motion.there, seen)
    of_flow = _differs(here, away, motion.there)
    there = _shared(motion.there, seen)
    if there is None:
        kept = (of_flow <= LOST * _alike(of_flow, seen)).astype(np.float32)
        return motion, trust * kept
    differs = _differs(here, away, there)
    stands = np.zeros_like(there)
    standing = _differs(here, away, stands)
    if np.median(standing[seen]) <= NO_WORSE * np.median(differs[seen]):
        there, differs = stands, standing
    alike = _alike(differs, seen)
    near = squared(motion.there - there) <= NEAR**2
    explains = differs <= alike
    better = np.where(near, differs <= of_flow, differs <= BETTER * of_flow)
    taken = ((near & explains) | (~seen & explains) | better) & inside(there)
    flow = np.where(taken[..., None], there, motion.there)
    trust = np.maximum(trust, (taken & explains).astype(np.float32))
    kept = (np.where(taken, differs, of_flow) <= LOST * alike).astype(np.float32)
    return Motion(flow, motion.back), trust * kept


def _alike(differs: NDArray[np.float32], seen: NDArray[np.bool_]) -> float:
    """Return how much what is the same may differ: what differs everywhere is the film's grain."""
    return float(np.clip(GRAIN * np.median(differs[seen]), ALIKE, 3 * ALIKE))


def _of_one(frame: Frame) -> NDArray[np.float32]:
    """Return a frame's colours, of 1."""
    of_one: NDArray[np.float32] = frame.astype(np.float32) / np.float32(255)
    return of_one


def _lit_alike(
    one: Frame, other: Frame, flow: Flow, seen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the other frame, of 1, in the light of the first: each colour with a gain and an offset."""
    here, away = _of_one(one), _of_one(other)
    moved = followed(away, flow)
    lit = np.empty_like(away)
    for k in range(3):
        x, y = moved[..., k][seen], here[..., k][seen]
        every = max(1, len(x) // (16 * SAMPLES))
        gain, offset = _gain(x[::every], y[::every])
        lit[..., k] = gain * away[..., k] + offset
    return lit


def _gain(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float]:
    """Return the gain and the offset that most of some values have; the others show something else."""
    gain, offset = 1.0, float(np.median(y) - np.median(x))
    for _ in range(FITS):
        away = np.abs(gain * x + offset - y)
        most = away <= np.quantile(away, MOST)
        x_most, y_most = x[most], y[most]
        middle, aim = float(x_most.mean()), float(y_most.mean())
        spread = float(x_most.var())
        if spread > 1e-5:
            gain = float(((x_most - middle) * (y_most - aim)).mean()) / spread
            gain = min(max(gain, 0.25), 4.0)
        offset = aim - gain * middle
    return gain, offset


def _shared(flow: Flow, trusted_: NDArray[np.bool_]) -> Flow | None:
    """Return the affine motion that most of what is trusted shares; None: there is none."""
    cv = opencv()
    height, width = flow.shape[:2]
    every = max(1, int(np.sqrt(height * width / SAMPLES)))
    seen = trusted_[::every, ::every]
    start = grid(height, width)
    if seen.sum() < 16:
        return None
    places = start[::every, ::every][seen]
    moves = flow[::every, ::every][seen]
    matrix, found = cv.estimateAffine2D(
        places, places + moves, method=cv.RANSAC, ransacReprojThreshold=NEAR / 2
    )
    if matrix is None or found.mean() < SHARED:
        return None
    shared: Flow = (start @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32) - start
    return shared


def _differs(
    one: NDArray[np.float32], other: NDArray[np.float32], flow: Flow
) -> NDArray[np.float32]:
    """Return how much the surroundings of each pixel differ from where a flow leads, (H, W), of 1."""
    red, green, blue = np.moveaxis(np.abs(followed(other, flow) - one), -1, 0)
    away = (red + green + blue) / np.float32(3)
    around = opencv().blur(away, (AROUND, AROUND))
    # A thin line that is elsewhere is lost in its surroundings.
    most: NDArray[np.float32] = np.maximum(around, away / LINE)
    return most
