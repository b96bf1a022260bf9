"""The motion between any two frames of a shot, chained from that between neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from stylize.film.flow import Frame, dense_flow
from stylize.film.warp import Motion, chained


def motion_between(one: Frame, other: Frame) -> Motion:
    """Return both flows between two frames."""
    return Motion(dense_flow(one, other), dense_flow(other, one))


def between(stretches: Sequence[Sequence[Motion]], one: int, other: int) -> tuple[Motion, int]:
    """Return the motion from one of several frames to another, and how many frames later the other is.

    Args:
        stretches: The motion from each frame to the next, in one or more stretches of frames, each of which
            begins with the frame with which the one before ends.
        one: The place of the frame that holds to the other.
        other: The place of the other; before ``one`` if the number is to be negative.
    """
    first, last = min(one, other), max(one, other)
    parts, start = [], 0
    for motions in stretches:
        low, high = max(first - start, 0), min(last - start, len(motions))
        if low < high:
            parts.append(chained(motions[low:high]))
        start += len(motions)
    motion = chained(parts)
    return motion if other > one else motion.reverse, other - one


def nearest(one: int, other: int, count: int) -> int:
    """Return the place of a frame of a loop that is nearer to another: its own, or after the last.

    Args:
        one: The place of the other frame.
        other: The place of the frame.
        count: The number of frames of the loop. Only its first is both at 0 and after the last.
    """
    return count if other == 0 and count - one < one else other
