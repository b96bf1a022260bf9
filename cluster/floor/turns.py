"""Whose turn it is, where not every run can have its fewest workers: nobody starves.

The rule, in points; a run's priority is 0 to 100 of them:

- A run that waits for its fewest workers gets one point more for every minute that it waits.
- When it has them, it keeps those points, and ``TURN_MINUTES`` more, for ``TURN_MINUTES``: its turn. Then it
  counts its priority alone, and keeps its workers as long as nobody else has more points.

So a run of priority p has more points than any that has had its turn after ``100 - p`` minutes at most.
Where n such runs wait for room for one, each waits at most ``100 - p + n * TURN_MINUTES`` minutes, and runs
of one priority take turns of ten minutes. Runs with a higher priority come at once, unless others have
waited.
"""

from __future__ import annotations

TURN_MINUTES = 10.0
"""The least time for which a run has what it waited for, unless a run of a higher priority comes."""

POINTS_PER_MINUTE = 1.0
"""What a minute of waiting adds to a priority of 0 to 100."""


class Turn:
    """The points of one run.

    Args:
        now: The time at which the run came, in seconds from any origin.
    """

    def __init__(self, now: float) -> None:
        self._waits_since: float | None = now
        self._kept = 0.0
        """The points that the run had waited for when its turn began."""
        self._ends = now
        """When its turn ends."""

    def note(self, now: float, *, has_fewest: bool) -> None:
        """Take note whether the run has its fewest workers.

        Args:
            now: The time, in seconds.
            has_fewest: Whether its share is as large; a run that wants none has them.
        """
        if has_fewest and self._waits_since is not None:
            self._kept = self._waited(now) + TURN_MINUTES * POINTS_PER_MINUTE
            self._ends = now + 60 * TURN_MINUTES
            self._waits_since = None
        elif not has_fewest and self._waits_since is None:
            self._waits_since = now

    def points(self, priority: float, now: float) -> float:
        """Return the run's points.

        Args:
            priority: The run's priority, 0 to 100.
            now: The time, in seconds.
        """
        if self._waits_since is not None:
            return priority + self._waited(now)
        return priority + (self._kept if now < self._ends else 0.0)

    def _waited(self, now: float) -> float:
        since = now if self._waits_since is None else self._waits_since
        return POINTS_PER_MINUTE * max(0.0, now - since) / 60
