"""Standard output, standard error and logging, as commands share them.

A display may fail at any time: the disk is full, the reader of a pipe is gone, the terminal is closed. No run
ends by that, and no scheduled tick is lost. So ``guarded`` puts a ``GuardedStream`` in the place of each.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, Literal, TextIO


class GuardedStream:
    """A text stream that raises nothing when it cannot be written.

    After its first error everything written to it is dropped, also what other code writes to its file
    descriptor.

    Args:
        stream: The stream; None: its descriptor was closed when the process started.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.problem: str | None = None if stream is not None else "it is closed"
        """Why nothing more can be written; None while it can."""
        self.reader_gone = False
        """Whether that is because the reader of a pipe is gone, as with ``| head``."""
        self.display = False
        """Whether it only shows what the command does, which is done also when nobody sees it."""

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        if self.problem is None and self._stream is not None:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                plain = text.encode(encoding, "backslashreplace").decode(encoding)
                return self.write(plain) if plain != text else len(text)
            except (OSError, ValueError) as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or drop it."""
        if self.problem is None and self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def close(self) -> None:
        """Close the stream, whether or not what it holds can be written."""
        self.flush()
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.close()

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            if name == "isatty":
                return lambda: False
            raise AttributeError(name)
        return getattr(self._stream, name)

    def _fail(self, error: Exception) -> None:
        self.problem = getattr(error, "strerror", None) or str(error)
        self.reader_gone = isinstance(error, BrokenPipeError)
        # What is buffered must go somewhere, or Python tries once more when it exits, and complains.
        with contextlib.suppress(OSError, ValueError):
            assert self._stream is not None
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


@contextlib.contextmanager
def guarded() -> Iterator[None]:
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
    guards = GuardedStream(before[0]), GuardedStream(before[1])
    sys.stdout, sys.stderr = guards
    try:
        yield
    finally:
        for stream in guards:
            stream.flush()
        sys.stdout, sys.stderr = before


def only_displays() -> None:
    """Note that this command's standard output only shows what the command does."""
    stream: object = sys.stdout
    if isinstance(stream, GuardedStream):
        stream.display = True


def lost_output() -> GuardedStream | None:
    """Return standard output if something could not be written to it."""
    sys.stdout.flush()
    stream: object = sys.stdout
    return stream if isinstance(stream, GuardedStream) and stream.problem else None


def tell_of_lost_displays(out: GuardedStream, *, data: bool) -> None:
    """Say of a run whose display is gone that it is, on the other one, once.

    Args:
        out: Standard output.
        data: Whether standard output has lines for programs, so that no sentence may go there.
    """
    err: object = sys.stderr
    if out.problem is not None:
        tell(f"standard output could not be written ({out.problem}); the run went on without it")
    elif isinstance(err, GuardedStream) and err.problem is not None and not data:
        print(
            f"standard error could not be written ({err.problem}); the run went on without it",
            file=out,
        )


def tell(text: str) -> None:
    """Print a line on standard error, at once."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def own_stdout() -> Iterator[GuardedStream]:
    """Yield standard output for our text alone.

    What others print there, such as Ray about workers that died, goes to standard error meanwhile.
    """
    lost = lost_output()
    # In UTF-8, as JSON is, whatever the locale.
    own = GuardedStream(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    if lost is not None:
        own.problem = lost.problem
    os.dup2(2, 1)
    try:
        yield own
    finally:
        sys.stdout.flush()
        own.flush()
        os.dup2(own.fileno(), 1)
        own.close()


def set_up_logging(verbose: bool, log_format: Literal["text", "json"] = "text") -> None:
    """Log what is of level INFO or above if ``verbose``, and otherwise only what is critical.

    Args:
        verbose: Whether ``--verbose`` is given.
        log_format: Lines of text, or one JSON object per line; used if ``verbose``.
    """
    if not verbose:
        logging.basicConfig(force=True, level=logging.CRITICAL)
        return
    from cluster.events.logs import set_up

    set_up(log_format, logging.INFO)
