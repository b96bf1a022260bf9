"""Ctrl-C and SIGTERM as requests: the first Ctrl-C asks to drain, the second ends the process at once.

SIGTERM means that the machine is about to be taken away.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, Literal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, turns the first SIGINT into a request to drain, and SIGTERM into one to preempt.

    A further signal raises KeyboardInterrupt, except that SIGTERM turns a drain into a preemption.
    """

    def __init__(self) -> None:
        self.asked: Literal["no", "drain", "preempt"] = "no"
        """What was asked for so far."""
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
        """Install the handlers. Call it again after Ray has started, which installs its own for SIGTERM."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def what(self) -> Literal["no", "drain", "preempt"]:
        """Return what was asked for so far."""
        return self.asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        leaving = number == signal.SIGTERM
        if self.asked == "preempt" or (self.asked == "drain" and not leaving):
            raise KeyboardInterrupt
        self.asked = "preempt" if leaving else "drain"


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """While entered, processes that this thread starts begin with SIGINT and SIGTERM blocked.

    A signal for such a process stays pending until the process is ready for it and calls ``let_through``.
    Otherwise Python dies of a signal while it starts or, amid an import, loses it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Unblock SIGINT and SIGTERM, and receive those that were held back since this process started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
