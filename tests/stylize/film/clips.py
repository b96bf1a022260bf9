"""Clips whose motion is known: a camera that moves over a photo, a ball before still ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from skimage import data

Array = np.ndarray[Any, Any]


@dataclass
class Clip:
    """Frames, and for each but the first: where its pixels were in the frame before, and which were there."""

    frames: list[Array]
    flows: list[Array]
    seen: list[Array]
    still: list[Array]
    """The pixels that show the same ground in this frame and the one before."""


def photo(name: str, height: int, width: int) -> Array:
    """One of scikit-image's photos, cropped to a shape."""
    picture = getattr(data, name)()[..., :3]
    factor = max(width / picture.shape[1], height / picture.shape[0])
    shape = (round(picture.shape[1] * factor + 0.5), round(picture.shape[0] * factor + 0.5))
    return np.ascontiguousarray(
        cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)[:height, :width]
    )


def pan(count: int, height: int, width: int, step: tuple[float, float] = (2.0, 1.0)) -> Clip:
    """A camera that moves to the right and down by so many pixels from frame to frame."""
    large = photo("coffee", int(height + count * step[1] + 9), int(width + count * step[0] + 9))
    frames = []
    for k in range(count):
        matrix = np.array([[1, 0, -4 - k * step[0]], [0, 1, -4 - k * step[1]]], np.float32)
        frames.append(cv2.warpAffine(large, matrix, (width, height), flags=cv2.INTER_CUBIC))
    flow = np.broadcast_to(np.array(step, np.float32), (height, width, 2)).copy()
    rows, columns = np.mgrid[:height, :width]
    seen = (columns + step[0] <= width - 1) & (rows + step[1] <= height - 1)
    nowhere = np.zeros((height, width), bool)
    return Clip(frames, [flow] * (count - 1), [seen] * (count - 1), [nowhere] * (count - 1))


def ball(count: int, height: int, width: int, speed: float = 4.0) -> Clip:
    """A ball that rolls to the right before ground that stands still."""
    ground = photo("rocket", height, width)
    radius = height // 6
    skin = photo("chelsea", 3 * radius, 3 * radius)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    frames, flows, seen, still = [], [], [], []
    before = None
    for k in range(count):
        middle = np.array([2 * radius + k * speed, height / 2], np.float32)
        away = np.hypot(columns - middle[0], rows - middle[1])
        cover = np.clip(radius + 0.5 - away, 0, 1)[..., None]
        matrix = np.array(
            [[1, 0, middle[0] - 1.5 * radius], [0, 1, middle[1] - 1.5 * radius]], np.float32
        )
        moved = cv2.warpAffine(skin, matrix, (width, height), flags=cv2.INTER_CUBIC)
        frames.append(np.clip(ground * (1 - cover) + moved * cover + 0.5, 0, 255).astype(np.uint8))
        if before is not None:
            inside = away <= radius
            back = np.array([-speed, 0], np.float32)
            flows.append(np.where(inside[..., None], back, 0).astype(np.float32))
            edge = np.abs(away - radius) <= 2.5
            seen.append(~edge & (inside | (before > radius + 2.5)))
            still.append((away > radius + 2.5) & (before > radius + 2.5))
        before = away
    return Clip(frames, flows, seen, still)


def warping_error(painted: list[Array], clip: Clip, where: list[Array] | None = None) -> float:
    """The mean squared error of each painted frame to the one before, moved by the known flow (Lai et al.,
    *Learning Blind Video Temporal Consistency*, ECCV 2018, eq. 7); ``where``: only there."""
    errors = []
    for k, (flow, seen) in enumerate(zip(clip.flows, where or clip.seen, strict=True), 1):
        height, width = seen.shape
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        at = np.stack([columns, rows], -1) + flow
        before = cv2.remap(
            painted[k - 1], at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        errors.append(((painted[k] - before) ** 2)[seen].mean())
    return float(np.mean(errors))
