"""``Motions``: the motion between any two frames of a shot, chained from that between neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from stylize.film.flow import Frame, dense_flow
from stylize.film.warp import Motion, chained


def motion_between(one: Frame, other: Frame) -> Motion:
    """Return both flows between two frames."""
    return Motion(dense_flow(one, other), dense_flow(other, one))


class Motions:
    """The motions between frames, found when they are asked for, each once.

    Args:
        frames: The frames of a shot, in order, of one shape.
        loop: Whether the first follows the last.
    """

    def __init__(self, frames: Sequence[Frame], *, loop: bool = False) -> None:
        self._frames = frames
        self._loop = loop
        self._found: dict[int, Motion] = {}

    def between(self, one: int, other: int) -> tuple[Motion, int]:
        """Return the motion from one frame to another, and how many frames lie between them.

        Args:
            one: The index of the frame that holds to the other.
            other: The index of the other.
        """
        count = len(self._frames)
        ahead = other - one
        if self._loop and abs(ahead) > count - abs(ahead):
            ahead -= count if ahead > 0 else -count
        first = one if ahead > 0 else other
        steps = [self._step((first + k) % count) for k in range(abs(ahead))]
        motion = chained(steps)
        return (motion if ahead > 0 else motion.reverse), abs(ahead)

    def _step(self, index: int) -> Motion:
        """Return the motion from a frame to the next."""
        if index not in self._found:
            after = self._frames[(index + 1) % len(self._frames)]
            self._found[index] = motion_between(self._frames[index], after)
        return self._found[index]
