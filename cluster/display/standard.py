"""``guarded``: standard output and standard error of a command, whatever becomes of who reads them.

A display may fail at any time: the disk is full, the reader of a pipe is gone or reads no more, the terminal
is closed or stopped. No run ends or waits because of it, and no scheduled tick is lost.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO, cast

from cluster.display.stream import GuardedStream
from cluster.display.writer import Outlet, Writer

OUT, ERR = 1, 2
"""The descriptors of standard output and standard error."""

LAST_SECONDS = 3.0
"""How long a command that has done its work waits for who reads its display and takes nothing, in seconds."""


class Standard:
    """Standard output and standard error while ``guarded`` is entered.

    Args:
        out: The stream of standard output; None: its descriptor was closed when the process started.
        err: The stream of standard error; None: likewise.
    """

    def __init__(self, out: TextIO | None, err: TextIO | None) -> None:
        outlets = [None if stream is None else Outlet(stream) for stream in (out, err)]
        places = [None if outlet is None else outlet.place for outlet in outlets]
        writer = Writer()
        self.out = GuardedStream(out or _nowhere(OUT), outlets[0], writer)
        # What leads to one place is written by one thread, in order. Otherwise, neither waits for the other.
        together = places[0] == places[1] is not None
        self.err = GuardedStream(err or _nowhere(ERR), outlets[1], writer if together else Writer())
        self.err.patient = False
        self._doer: str | None = None
        self._for_programs = False
        self._told = False

    @property
    def only_displays(self) -> bool:
        """Whether standard output, too, only shows what the command does."""
        return self._doer is not None

    def display(self, doer: str, *, for_programs: bool = False) -> None:
        """Note that standard output, too, only shows what the command does, which is done also unseen.

        Args:
            doer: What is done, as the subject of a sentence: "the run".
            for_programs: Whether standard output has lines for programs, so that no sentence may go there.
        """
        self._doer = doer
        self._for_programs = for_programs
        self.out.patient = False

    def tell_at_once(self, then: str, otherwise: Callable[[str], None]) -> None:
        """Say that a display is lost when it is, instead of at the end: the command may last for months.

        Args:
            then: What follows, as the end of a sentence.
            otherwise: Takes the sentence where the other stream is lost, too.
        """

        def lost(stream: GuardedStream, other: GuardedStream) -> Callable[[], None]:
            def tell() -> None:
                text = f"{self._loss(stream, 'goes on')}{then}"
                if other.problem is None and not self._told:
                    other.write_line(text)
                elif other.problem is not None:
                    otherwise(text)
                self._told = True

            return tell

        for stream, other in ((self.out, self.err), (self.err, self.out)):
            stream.when_lost(lost(stream, other))

    @contextlib.contextmanager
    def own_output(self) -> Iterator[GuardedStream]:
        """Yield standard output for our text alone, in UTF-8, as JSON is, whatever the locale.

        What others print there, such as Ray about workers that died, goes to standard error meanwhile.
        """
        out, err = self.out, self.err
        out.flush()
        before = sys.stdout, out.encoding, os.dup(OUT)
        if out.outlet is not None:
            out.outlet.lead()
        if err.outlet is not None:
            err.outlet.lead(ERR, OUT)
        else:
            os.dup2(ERR, OUT)
        sys.stdout, out.encoding = sys.stderr, "utf-8"
        try:
            yield out
        finally:
            out.flush()
            sys.stdout, out.encoding, number = before
            os.dup2(number, OUT)
            os.close(number)
            if err.outlet is not None:
                err.outlet.lead(ERR)
            if out.outlet is not None:
                out.outlet.lead(OUT)

    def finish(self, seconds: float | None) -> None:
        """Wait for who reads, and give up who takes nothing for so long.

        Args:
            seconds: How long; None: wait for as long as it lasts.
        """
        began = time.monotonic()
        for stream in (self.out, self.err):
            stream.finish(seconds, began)

    def tell_losses(self) -> None:
        """Say once, at the end of what is done, which display is lost, on the other one."""
        out, err = self.out, self.err
        began = time.monotonic()
        out.finish(LAST_SECONDS)
        if out.problem is not None and not self._told:
            err.write_line(self._loss(out, "went on"))
        err.finish(LAST_SECONDS, began)
        if err.problem is not None and not (out.problem or self._told or self._for_programs):
            out.write_line(self._loss(err, "went on"))
            out.finish(LAST_SECONDS)

    def _loss(self, stream: GuardedStream, what: str) -> str:
        name = "standard output" if stream is self.out else "standard error"
        return f"{name} could not be written ({stream.problem}); {self._doer} {what} without it"


def _nowhere(number: int) -> TextIO:
    """Return what other code may ask for the number of a descriptor that was closed."""
    return open(number, "w", encoding="utf-8", closefd=False)


_current: list[Standard] = []


@contextlib.contextmanager
def guarded() -> Iterator[Standard]:
    """Guard standard output and standard error while entered; to be entered before anything else is done.

    A descriptor that was closed when the process started would be given to the next file that is opened, into
    which messages would then be written. And a stream that its parent made non-blocking loses text.
    """
    before = sys.stdout, sys.stderr
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            os.set_blocking(descriptor, True)
    standard = Standard(*before)
    _current.append(standard)
    sys.stdout, sys.stderr = cast(TextIO, standard.out), cast(TextIO, standard.err)
    try:
        yield standard
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            standard.finish(LAST_SECONDS)
        standard.out.end()
        standard.err.end()
        sys.stdout, sys.stderr = before
        _current.remove(standard)


def standard() -> Standard:
    """Return the standard streams that are guarded."""
    return _current[-1]


def only_displays(doer: str, *, for_programs: bool = False) -> None:
    """Note that standard output only shows what the command does; without effect where it is not guarded.

    Args:
        doer: What is done, as the subject of a sentence: "the run".
        for_programs: Whether standard output has lines for programs, so that no sentence may go there.
    """
    for streams in _current[-1:]:
        streams.display(doer, for_programs=for_programs)


@contextlib.contextmanager
def only_shown(doer: str) -> Iterator[None]:
    """Guard both streams while entered, where all that is written only shows what is done.

    Args:
        doer: What is done, as the subject of a sentence.
    """
    with guarded() as streams:
        streams.display(doer)
        try:
            yield
        finally:
            streams.tell_losses()
