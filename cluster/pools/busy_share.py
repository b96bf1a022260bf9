"""``BusyShare``: how busy a worker's devices are."""

from __future__ import annotations

import time

from cluster.sliding_rate import SlidingRate


class BusyShare:
    """The share of time for which a worker has held its devices, over the last ``SECONDS``."""

    SECONDS = 30.0

    def __init__(self, devices: int = 1) -> None:
        self._devices = devices
        self._rate = SlidingRate(self.SECONDS)

    def __call__(self, busy_seconds: float) -> float | None:
        """Take a worker's busy seconds; return the share, 0 to 1, or None after the first call."""
        self._rate.add(busy_seconds, time.monotonic())
        rate = self._rate.per_second
        return None if rate is None else min(1.0, rate / self._devices)
