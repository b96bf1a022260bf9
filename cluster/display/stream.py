"""``GuardedStream``: a standard stream that raises nothing, and holds nobody up who only shows something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TextIO

from cluster.display.writer import STUCK, Outlet, Writer

SHOWN_ROOM = 8 * 1024 * 1024
"""Bytes that may wait of what shows what a command does: some 100,000 lines."""

FRAME_ROOM = 4096
"""Bytes beside which a frame of a bar, which the next one replaces, still waits."""

BLOCK = 65_536
"""Bytes of data, which nobody watches as it comes, that are handed over together."""


class GuardedStream:
    """A text stream that raises nothing when it cannot be written.

    What is written to it is written by a thread. ``patient`` says what becomes of it when its reader stops
    reading, ``problem`` whether something did not arrive.

    Args:
        stream: The stream.
        outlet: Where it leads to; None: nowhere, as its descriptor was closed when the process started.
        writer: What writes there.
    """

    def __init__(self, stream: TextIO, outlet: Outlet | None, writer: Writer) -> None:
        self._stream = stream
        self.outlet = outlet
        """Where it leads to; None: nowhere."""
        self._writer = writer
        self.encoding = stream.encoding or "utf-8"
        """The encoding of its text."""
        self.room = SHOWN_ROOM
        """Bytes that may wait, unless it is patient; what comes then is left out."""
        self._patient = True
        self._is_terminal = outlet is not None and stream.isatty()
        self._dropped = False
        """Whether something was written to a stream that leads nowhere."""
        self._tell: Callable[[], None] = lambda: None
        """Called once something is."""
        self._pending = ""
        self._lock = threading.RLock()

    @property
    def problem(self) -> str | None:
        """Why something could not be written, as a phrase; None if all was."""
        if self.outlet is None:
            return "it is closed" if self._dropped else None
        return self.outlet.problem

    @property
    def reader_gone(self) -> bool:
        """Whether that is because the reader of a pipe is gone, as with ``| head``."""
        return self.outlet is not None and self.outlet.reader_gone

    @property
    def patient(self) -> bool:
        """Whether it carries data, for whose reader a command waits; else it shows what a command does."""
        return self._patient

    @patient.setter
    def patient(self, patient: bool) -> None:
        self._patient = patient
        if self.outlet is not None:
            self.outlet.tolerant = not patient

    @property
    def buffer(self) -> _Bytes:
        """The stream's bytes, for what it is no text."""
        return _Bytes(self)

    def write(self, text: str) -> int:
        """Write text."""
        with self._lock:
            self._pending += text
            at_once = not self._patient or self._is_terminal
            if (at_once and self._pending.endswith("\n")) or len(self._pending) > BLOCK:
                self._hand_over()
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def write_line(self, line: str, room: int | None = None) -> None:
        """Write a line that is left out if more bytes would wait with it than it is worth.

        Args:
            line: The line, without its end.
            room: The bytes; None: as many as of any line.
        """
        with self._lock:
            self._hand_over()
            self._put(self.encode(f"{line}\n"), self.room if room is None else room)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes behind the text so far."""
        with self._lock:
            self._hand_over()
            self._put(data, self.room)

    def flush(self) -> None:
        """Have what was written shown; if the stream is patient, wait until it is."""
        with self._lock:
            self._hand_over()
        if self._patient:
            self._writer.drain(None)

    def finish(self, patience: float | None, since: float = 0.0) -> None:
        """Wait until everything is written, or give it up.

        Args:
            patience: How long to wait for a reader that takes nothing, in seconds; None: for as long as it
                lasts.
            since: When this wait began, by ``time.monotonic()``, if something else was waited for before.
        """
        with self._lock:
            self._hand_over()
        if not self._writer.drain(patience, since) and self.outlet is not None:
            self.outlet.give_up(STUCK)

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call a function once something cannot be written, or now if that is so already.

        Args:
            tell: The function; it is called once, on any thread.
        """
        if self.outlet is not None:
            self.outlet.when_lost(tell)
        elif self._dropped:
            tell()
        else:
            self._tell = tell

    def end(self) -> None:
        """Have whoever writes from now on write at once, as when the process is about to exit."""
        self._writer.close()

    def isatty(self) -> bool:
        """Return whether it leads to a terminal, or did when it could be written."""
        return self._is_terminal

    def close(self) -> None:
        """Write what was written so far. The stream stays open for what may follow."""
        self.flush()

    def encode(self, text: str) -> bytes:
        """Return text as bytes, with escapes for characters that the encoding lacks."""
        try:
            return text.encode(self.encoding, getattr(self._stream, "errors", None) or "strict")
        except UnicodeEncodeError:
            return text.encode(self.encoding, "backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _hand_over(self) -> None:
        text, self._pending = self._pending, ""
        if text:
            frame = text.startswith("\r") and "\n" not in text
            self._put(self.encode(text), FRAME_ROOM if frame else self.room, counted=not frame)

    def _put(self, data: bytes, room: int, *, counted: bool = True) -> None:
        if self.outlet is not None:
            allowed = None if self._patient else room
            self._writer.put(self.outlet, data, allowed, counted=counted)
        elif not self._dropped:
            self._dropped = True
            self._tell()


class _Bytes:
    """The binary side of a guarded stream."""

    def __init__(self, stream: GuardedStream) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        self._stream.write_bytes(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
