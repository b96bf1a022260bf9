"""``SlidingRate``: how fast a number grows, over the last seconds."""

from __future__ import annotations

from collections import deque


class SlidingRate:
    """The growth of a number per second, over a window.

    Args:
        seconds: The length of the window, > 0.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._marks: deque[tuple[float, float]] = deque()

    def add(self, value: float, now: float) -> None:
        """Note the number's value at ``now``, in seconds from any origin."""
        self._marks.append((now, value))
        while len(self._marks) > 2 and now - self._marks[1][0] >= self._seconds:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """The growth per second, >= 0; None before two values at different times."""
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return max(0.0, (last - first) / (ended - began)) if ended > began else None
