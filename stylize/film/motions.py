"""The motion between any two frames of a shot, chained from that between neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from stylize.film.flow import Frame, dense_flow
from stylize.film.warp import Motion, chained


def motion_between(one: Frame, other: Frame) -> Motion:
    """Return both flows between two frames."""
    return Motion(dense_flow(one, other), dense_flow(other, one))


def between(motions: Sequence[Motion], one: int, other: int) -> tuple[Motion, int]:
    """Return the motion from one of several frames to another, and how many frames lie between them.

    Args:
        motions: The motion from each frame to the next.
        one: The place of the frame that holds to the other.
        other: The place of the other.
    """
    if other > one:
        return chained(motions[one:other]), other - one
    return chained(motions[other:one]).reverse, one - other


def nearest(one: int, other: int, count: int) -> int:
    """Return the place of a frame of a loop that is nearer to another: its own, or after the last.

    Args:
        one: The place of the other frame.
        other: The place of the frame.
        count: The number of frames of the loop. Only its first is both at 0 and after the last.
    """
    return count if other == 0 and count - one < one else other
