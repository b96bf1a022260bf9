"""Optical flow between two frames: how far each pixel has moved."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylize.film.cv import opencv

Flow = NDArray[np.float32]
"""Where each pixel of one frame is in another: (H, W, 2), columns to the right, then rows down, in pixels."""

Frame = NDArray[np.uint8]
"""A frame, (H, W, 3), RGB."""


def dense_flow(one: Frame, other: Frame) -> Flow:
    """Return where each pixel of one frame is in another.

    The method is DIS (Kroeger, Timofte, Dai, Van Gool, *Fast Optical Flow using Dense Inverse Search*, ECCV
    2016), as OpenCV has it. It compares patches less their means, so that a light that flickers is no motion.

    Args:
        one: The frame whose pixels are looked for.
        other: The frame in which they are, of the same shape.
    """
    cv = opencv()
    dis = cv.DISOpticalFlow.create(cv.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: Flow = dis.calc(_grey(cv, one), _grey(cv, other), None)
    return flow


def _grey(cv: Any, frame: Frame) -> NDArray[np.uint8]:
    """Return a frame's brightness, (H, W)."""
    grey: NDArray[np.uint8] = cv.cvtColor(frame, cv.COLOR_RGB2GRAY)
    return grey


def resized(flow: Flow, height: int, width: int) -> Flow:
    """Return a flow between frames of another size.

    Args:
        flow: The flow, (h, w, 2).
        height: The height of the other frames, in pixels.
        width: Their width, in pixels.
    """
    h, w = flow.shape[:2]
    if (h, w) == (height, width):
        return flow
    larger: Flow = opencv().resize(flow, (width, height), interpolation=opencv().INTER_LINEAR)
    return larger * np.array([width / w, height / h], np.float32)


LEAST = 16
"""Pixels of a side, below which no flow is found."""


def shrunk(frame: Frame, longest: int) -> Frame:
    """Return a frame with a longest side of at most so many pixels.

    Args:
        frame: The frame; it is returned itself where it is not larger.
        longest: The longest side, in pixels.
    """
    height, width = frame.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return frame
    shape = (max(LEAST, round(width * factor)), max(LEAST, round(height * factor)))
    small: Frame = opencv().resize(frame, shape, interpolation=opencv().INTER_AREA)
    return small
