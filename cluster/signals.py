"""Ctrl-C that behaves: the first asks, the second insists. SIGTERM means that the machine goes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, Literal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, the first SIGINT asks to drain, and SIGTERM to leave; what comes after either raises
    KeyboardInterrupt, except that who drains may still be made to leave."""

    def __init__(self) -> None:
        self.asked: Literal["no", "drain", "preempt"] = "no"
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            self._previous[number] = signal.getsignal(number)
        self.install()
        let_through()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals (again: starting Ray takes SIGTERM for itself)."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def what(self) -> Literal["no", "drain", "preempt"]:
        """What somebody asked for."""
        return self.asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        leaving = number == signal.SIGTERM
        if self.asked == "preempt" or (self.asked == "drain" and not leaving):
            raise KeyboardInterrupt
        self.asked = "preempt" if leaving else "drain"


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """While entered, a process that this thread starts begins with these signals held back: what comes for it
    waits until it lets them through, however long it takes to be ready for them. A Python that is just
    starting dies of them or, amid an import, forgets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Take what was held back since this process was started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
