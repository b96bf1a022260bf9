"""Ctrl-C that behaves: the first asks, the second insists. SIGTERM means that the machine goes."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Literal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, the first SIGINT asks to drain, and SIGTERM to leave; what comes after either raises
    KeyboardInterrupt, except that who drains may still be made to leave."""

    def __init__(self) -> None:
        self.asked: Literal["no", "drain", "leave"] = "no"
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            self._previous[number] = signal.getsignal(number)
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals (again: starting Ray takes SIGTERM for itself)."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def what(self) -> Literal["no", "drain", "leave"]:
        """What somebody asked for."""
        return self.asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        leaving = number == signal.SIGTERM
        if self.asked == "leave" or (self.asked == "drain" and not leaving):
            raise KeyboardInterrupt
        self.asked = "leave" if leaving else "drain"
