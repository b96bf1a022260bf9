"""A worker's devices, and the queue before them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cluster.messages import FailureKind

T = TypeVar("T")


class AttemptReturned(Exception):  # noqa: N818 - no error
    """An attempt does not get a device any more."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class DeviceQueue(Generic[T]):
    """Devices, each held by one at a time, given in the order in which they were asked for."""

    def __init__(self, devices: list[T]) -> None:
        self._free = list(devices)
        self._changed = threading.Condition()
        self._queue: list[object] = []
        self._held: dict[int, float] = {}
        """When each that is not free was taken."""
        self._busy = 0.0

    def take(self, must_return: Callable[[], AttemptReturned | None]) -> T:
        """Wait for a device. Raises what ``must_return`` returns, which is asked again at every ``wake``."""
        me = object()
        with self._changed:
            self._queue.append(me)
            try:
                while True:
                    if (reason := must_return()) is not None:
                        raise reason
                    if self._free and self._queue[0] is me:
                        device = self._free.pop(0)
                        self._held[id(device)] = time.monotonic()
                        return device
                    self._changed.wait()
            finally:
                self._queue.remove(me)
                self._changed.notify_all()

    def give_back(self, device: T) -> None:
        """Let the next one have it."""
        with self._changed:
            self._busy += time.monotonic() - self._held.pop(id(device))
            self._free.append(device)
            self._changed.notify_all()

    def wake(self) -> None:
        """Have all who wait ask whether they still may."""
        with self._changed:
            self._changed.notify_all()

    @property
    def busy_seconds(self) -> float:
        """For how long devices have been held, all together."""
        with self._changed:
            now = time.monotonic()
            return self._busy + sum(now - since for since in self._held.values())
