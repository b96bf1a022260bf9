"""``DeviceQueue``: a worker's devices, and the attempts that wait for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cluster.messages import FailureKind

T = TypeVar("T")


class AttemptReturned(Exception):  # noqa: N818 - no error
    """The attempt goes back to the driver: it was recalled, stopped or preempted."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class DeviceQueue(Generic[T]):
    """Hands out devices, first come, first served; each is held by one caller at a time.

    Args:
        devices: The devices, all free.
    """

    def __init__(self, devices: list[T]) -> None:
        self._free = list(devices)
        self._changed = threading.Condition()
        self._queue: list[object] = []
        self._held: dict[int, float] = {}
        """When each held device was taken, by its ``id()``."""
        self._busy = 0.0

    def take(self, must_return: Callable[[], AttemptReturned | None]) -> T:
        """Wait for a device and hold it.

        Args:
            must_return: Returns the reason for which the caller must not wait any longer, or None. It is
                called before each wait, and again after each ``wake``.

        Returns:
            The device, to be returned with ``give_back``.

        Raises:
            AttemptReturned: What ``must_return`` returned.
        """
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
        """Release a device for the next caller in the queue."""
        with self._changed:
            self._busy += time.monotonic() - self._held.pop(id(device))
            self._free.append(device)
            self._changed.notify_all()

    def wake(self) -> None:
        """Have all waiting callers call ``must_return`` again."""
        with self._changed:
            self._changed.notify_all()

    @property
    def busy_seconds(self) -> float:
        """Device seconds held so far, over all devices."""
        with self._changed:
            now = time.monotonic()
            return self._busy + sum(now - since for since in self._held.values())
