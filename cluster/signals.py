"""Ctrl-C, SIGTERM and SIGHUP as requests: the first Ctrl-C asks to drain, the second ends the process.

SIGTERM means that the machine is about to be taken away. SIGHUP means that the terminal is; it asks for the
same, unless the process was started to ignore it, as by nohup.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cluster.messages import Asked

INSIST_SECONDS = 5.0
"""How long a command has to end after Ctrl-C before it is ended, in seconds."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> list[signal.Signals]:
    """Return the signals to handle: all of ``SIGNALS`` but SIGHUP where it is ignored already."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if number != signal.SIGHUP or not ignored]


class Interrupts:
    """While entered, the first SIGINT is a request to drain, and SIGTERM or SIGHUP is one to preempt.

    A further signal raises KeyboardInterrupt, except that SIGTERM and SIGHUP turn a drain into a preemption,
    and that SIGHUP adds nothing to one: a terminal that closes sends it twice, itself and by its shell.
    """

    def __init__(self) -> None:
        self.asked: Asked = "no"
        """What was asked for so far."""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in heeded():
            self._previous[number] = signal.getsignal(number)
        self.install()
        let_through()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Install the handlers. Call it again after Ray has started, which installs its own for SIGTERM."""
        for number in self._previous:
            signal.signal(number, self._handle)

    def what(self) -> Asked:
        """Return what was asked for so far."""
        return self.asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self.asked == "preempt":
            return
        leaving = number != signal.SIGINT
        if self.asked == "preempt" or (self.asked == "drain" and not leaving):
            raise KeyboardInterrupt
        self.asked = "preempt" if leaving else "drain"


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """While entered, processes that this thread starts begin with these signals blocked.

    A signal for such a process stays pending until the process is ready for it and calls ``let_through``.
    Otherwise Python dies of a signal while it starts or, amid an import, loses it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Unblock these signals, and receive those that were held back since this process started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class Terminated(SystemExit):
    """A signal asks the process to end; what is raised until it is caught cleans up.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def die_of(number: int) -> NoReturn:
    """End the process by a signal, as its parent expects it to end.

    To be called when Terminated is handled, so that nothing holds what it came through, such as temporary
    folders: these go with the objects that own them.

    Args:
        number: The signal.
    """
    gc.collect()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # where the signal is blocked


@contextlib.contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """While entered, SIGINT raises KeyboardInterrupt, and ends the process with 130 where that has no effect.

    An exception is lost where it is raised in a destructor or a callback, such as amid an import; a request
    to a server that says nothing would then be waited for.
    """
    with _insisting([signal.SIGINT], lambda _: KeyboardInterrupt()):
        yield


@contextlib.contextmanager
def ended_by_termination() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP raise Terminated, so that temporary folders are removed.

    They do so where they would end the process: not where they are ignored or handled already. Where the
    exception has no effect, the process ends all the same, as with ``ended_by_interrupt``.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()  # others may handle none
    ending = (signal.SIGTERM, signal.SIGHUP) if in_main_thread else ()
    fatal = [number for number in ending if signal.getsignal(number) is signal.SIG_DFL]
    with _insisting(fatal, Terminated):
        yield


@contextlib.contextmanager
def _insisting(
    numbers: Sequence[signal.Signals], error: Callable[[int], BaseException]
) -> Iterator[None]:
    """While entered, each of these signals raises an error, and ends the process where that has no effect."""
    timers: list[threading.Timer] = []

    def handle(number: int, frame: FrameType | None) -> None:
        timers.append(threading.Timer(INSIST_SECONDS, os._exit, [128 + number]))
        timers[-1].daemon = True
        timers[-1].start()
        raise error(number)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()
