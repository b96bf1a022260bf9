"""``measure_motion``: what the motion of a held frame takes, beside an unpainted frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cluster.worker.renderer import Hold, Painter, Reference
from jobs.tasks.task import Task
from stylize.film.structure import hastened


@dataclass(frozen=True, slots=True)
class MotionSample:
    """What a frame is to keep of its neighbour, and what that took."""

    hold: Hold
    seconds: float
    """Seconds of one core to find the motion and what is to be kept."""
    pair_bytes: int
    """Bytes of the motion, as it is kept in the output."""


def measure_motion(
    painter: Painter, task: Task, content: Any, picture: Callable[[str], Any]
) -> MotionSample | None:
    """Find what a frame is to keep of the one before it. None is painted yet, so that one stands for its
    painting, at its size.

    Args:
        painter: The painter.
        task: The frame's task.
        content: The decoded frame.
        picture: Reads and decodes the frame at an address.

    Returns:
        What it took; None: the task holds to no other.

    Raises:
        InputError, PictureError: The frame beside it cannot be used.
        StorageError: Its store does not answer.
    """
    part = task.part
    if part is None or not part.needs:
        return None
    beside = picture(part.around[part.index - part.first - 1])
    painted = _painted(beside, task.recipe.size)
    began = time.perf_counter()
    motion = painter.find_motion([beside, content])
    references = [Reference(part.index - 1, painted, 0, beside)]
    hold = painter.hold(content, 1, references, [motion], task.recipe)
    seconds = time.perf_counter() - began
    return MotionSample(replace(hold, recipe=hastened(task.recipe)), seconds, len(motion))


def _painted(picture: Any, size: int) -> Any:
    """Return a picture in the size of its painting."""
    from stylize.pictures.picture import Picture
    from stylize.pictures.resize import resize, shape_at

    height, width = picture.rgb.shape[2:]
    return Picture(resize(picture.rgb, *shape_at(height, width, size)).clamp(0, 1))
