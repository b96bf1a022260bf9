"""How busy a worker's devices are."""

from __future__ import annotations

import time


class BusyShare:
    """The share of its time for which a worker has held its devices, over the last while."""

    SECONDS = 30.0

    def __init__(self, lanes: int = 1) -> None:
        self._lanes = lanes
        self._marks: list[tuple[float, float]] = []

    def __call__(self, busy_seconds: float) -> float | None:
        """Take what was heard; the share, once it can be told."""
        now = time.monotonic()
        self._marks.append((now, busy_seconds))
        while len(self._marks) > 2 and now - self._marks[1][0] >= self.SECONDS:
            self._marks.pop(0)
        then, before = self._marks[0]
        seconds = now - then
        if seconds <= 0:
            return None
        return max(0.0, min(1.0, (busy_seconds - before) / seconds / self._lanes))
