"""How far a run is, and how fast it goes."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from cluster.events.events import (
    Live,
)

RATE_WINDOW = 30.0
"""Seconds over which steps per second are averaged."""


class Meter:
    """Steps made, how fast, and how long the rest takes.

    Speed is told in steps a second; the time to go is reckoned in work, for a step at a large size
    takes longer.
    """

    def __init__(self, work_left: int | None) -> None:
        self.work_left: int | None = work_left
        """In the whole run; None until it is known."""
        self._ended_work = 0
        self._rendered = (0, 0)
        self._running = (0, 0)
        self._marks: deque[tuple[float, int, int]] = deque()

    def end(self, work: int, steps: int | None = None) -> None:
        """A task ended: its work need not be done any more; ``steps`` of it were made, if any."""
        self._ended_work += work
        if steps is not None:
            self._rendered = (self._rendered[0] + steps, self._rendered[1] + work)

    def beat(self, steps: int, work: int, now: float) -> None:
        """So many steps, and so much work, has been done in tasks that have not ended."""
        self._running = (steps, work)
        self._marks.append((now, self._rendered[0] + steps, self._rendered[1] + work))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_WINDOW:
            self._marks.popleft()

    @property
    def steps_per_second(self) -> float:
        """Of late; 0 when unknown."""
        return self._rate(1)

    @property
    def seconds_left(self) -> float | None:
        """None when unknown."""
        rate = self._rate(2)
        if self.work_left is None:
            return None
        left = max(0, self.work_left - self._ended_work - self._running[1])
        return left / rate if rate else None

    def _rate(self, column: int) -> float:
        if len(self._marks) < 2:
            return 0.0
        first, last = self._marks[0], self._marks[-1]
        seconds = last[0] - first[0]
        return max(0.0, (last[column] - first[column]) / seconds) if seconds > 0 else 0.0


def standing(live: Live) -> str:
    """How a run stands, on a line: "12 done, 0 failed, 88 left, 4 workers 97% busy, ETA 0:12:00"."""
    parts = [f"{live.done:,} done", f"{live.failed:,} failed"]
    if live.left is not None:
        parts.append(f"{live.left:,} left")
    if live.state != "ended":
        workers = plural(live.workers, "worker")
        workers += "" if live.busy is None else f" {live.busy:.0%} busy"
        parts.append(workers + (f" (+{live.pending:,} to come)" if live.pending else ""))
    if live.state in ("paused", "stopping"):
        parts.append(live.state)
    if live.state != "ended" and live.steps_per_second:
        parts.append(f"{live.steps_per_second:.1f} steps/s")
    if live.eta is not None:
        parts.append(f"ETA {timedelta(seconds=round(live.eta))}")
    return ", ".join(parts)


def plural(count: int, word: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
