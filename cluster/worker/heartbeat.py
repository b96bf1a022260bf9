"""``Heartbeat``: signs of life of a worker's attempts, by which the pool sees that one is stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

Phase = Literal["fetch", "wait", "render", "store"]


class Heartbeat:
    """When each attempt last gave a sign of life. An attempt that waits for a device need not give any.

    Args:
        clock: Seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._signs: dict[str, tuple[Phase, float]] = {}
        self._slow: dict[str, float] = {}

    def enter(self, attempt: str, phase: Phase) -> None:
        """Note that an attempt begins a phase."""
        with self._lock:
            self._signs[attempt] = (phase, self._clock())

    def slow_down(self, attempt: str, factor: float) -> None:
        """Divide the quiet time of an attempt by ``factor``, > 0: its steps take that many times longer."""
        with self._lock:
            self._slow[attempt] = factor

    def sign(self, attempt: str) -> None:
        """Note that an attempt made progress."""
        with self._lock:
            if attempt in self._signs:
                self._signs[attempt] = (self._signs[attempt][0], self._clock())

    def in_phase(self, phase: Phase) -> list[str]:
        """Return the attempts that are in a phase."""
        with self._lock:
            return [attempt for attempt, (now_in, _) in self._signs.items() if now_in == phase]

    def finish(self, attempt: str) -> None:
        """Forget an attempt that has ended."""
        with self._lock:
            self._signs.pop(attempt, None)
            self._slow.pop(attempt, None)

    @property
    def quiet_seconds(self) -> float:
        """The longest silence of an attempt that does not wait for a device, in seconds; 0 without any."""
        return self.quietest[1]

    @property
    def quietest(self) -> tuple[str | None, float]:
        """The attempt with the longest silence of those that do not wait for a device, and this silence in
        seconds; None and 0 without any."""
        with self._lock:
            now = self._clock()
            quiet: list[tuple[str | None, float]] = [
                (attempt, (now - at) / self._slow.get(attempt, 1.0))
                for attempt, (phase, at) in self._signs.items()
                if phase != "wait"
            ]
            return max(quiet, key=lambda one: one[1], default=(None, 0.0))

    def __len__(self) -> int:
        return len(self._signs)
