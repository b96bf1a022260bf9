"""``Writer``: writes what shows on a thread of its own, so that no work waits for who reads it.

A write may last for as long as its reader likes: a terminal is stopped with Ctrl-S, nobody empties a pipe. So
whoever shows something hands it to a writer, which keeps what waits, up to a bound, and leaves out the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

AT_ONCE = 4096
"""Bytes that a pipe or a terminal is given at once; a pipe that has room at all has room for these."""

TOGETHER = 65_536
"""Bytes up to which what waits is written together."""

WAITING_DATA = 262_144
"""Bytes that may wait of what nothing may be left out of; whoever writes more waits for the reader."""

STUCK_SECONDS = 1.0
"""How long a reader may take nothing before other writers to the same descriptors are kept from it, too."""

BRIEF_SECONDS = 0.5
"""The least time for which a reader may take nothing before it is given up, in seconds."""

STUCK = "nobody reads it"
"""The problem of an outlet whose reader was given up."""

PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.ENOBUFS})
"""Errors that pass: a full disk gets room again."""


def left_out(lines: int) -> str:
    """Return the line that stands where lines were left out.

    Args:
        lines: How many.
    """
    return f"[{lines:,} {'line was' if lines == 1 else 'lines were'} left out here]\n"


class Outlet:
    """Where a standard stream leads to: a file, a pipe or a terminal, by a descriptor of its own.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.problem: str | None = None
        """Why something could not be written; None if all was."""
        self.reader_gone = False
        """Whether that is because the reader of a pipe is gone, as with ``| head``."""
        self.gone = False
        """Whether nothing more is written."""
        self.tolerant = False
        """Whether lines may be left out: an error that passes is no end then, and no reader is waited for."""
        self.hurried = False
        """Whether a reader that takes nothing is given up after ``STUCK_SECONDS``."""
        self.notice: Callable[[int], str] = left_out
        """Makes the line that stands where so many lines were left out."""
        self.gap: int | None = None
        """Lines that are left out where the queue has a gap; None: it has none."""
        self._tell: Callable[[], None] = lambda: None
        """Called once something could not be written."""
        self._unwritten = 0
        """Lines that were left out and are not yet told."""
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._amid_line = False
        self._numbers: tuple[int, ...] = ()
        self._muted = False
        self._lock = threading.RLock()
        self.place: tuple[int, int] | None = None
        """The device and the inode of what it leads to; None: it has no descriptor."""
        self._descriptor: int | None = None
        self._at_once: int | None = None
        """Bytes to give it at once; None: as many as there are."""
        with contextlib.suppress(OSError, ValueError):  # some streams have no descriptor
            number = stream.fileno()
            self._descriptor = os.dup(number)
            self._numbers = (number,)
            status = os.fstat(number)
            self.place = status.st_dev, status.st_ino
            # One write of a whole line is never mixed with what other processes append to the same file.
            if not stat.S_ISREG(status.st_mode):
                self._at_once = AT_ONCE

    def lead(self, *numbers: int) -> None:
        """Have these descriptors, by which other code writes, lead to the same place as this outlet."""
        with self._lock:
            self._numbers = numbers
            self._point()

    def write(self, data: bytes, moved: Callable[[], None]) -> None:
        """Write bytes and wait for that. Where they cannot be written, they are left out.

        Args:
            data: The bytes; empty: only the notice of what was left out before.
            moved: Called whenever some were taken.
        """
        if self.gone:
            return
        told = self._unwritten
        view = memoryview((self._notice(told) if told else b"") + data)
        try:
            while view and not self.gone:
                taken = self._write(view)
                if taken:
                    self._amid_line = view[taken - 1] != ord("\n")
                    moved()
                view = view[taken:]
        except (OSError, ValueError) as error:
            self._fail(error)
        rest = bytes(view[-len(data) :]) if data else b""
        self._unwritten += rest.count(b"\n")
        if len(view) <= len(data):
            self._unwritten -= told
        self.mute(False)

    def give_up(self, problem: str) -> None:
        """Write nothing more, and let other code's output go nowhere.

        Args:
            problem: The reason, as a phrase.
        """
        self.gone = True
        self.mute(True)
        self._lose(problem)

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call a function once something cannot be written, or now if that is so already.

        Args:
            tell: The function; it is called once, on any thread.
        """
        with self._lock:
            self._tell = tell
            lost = self.problem is not None
        if lost:
            tell()

    def close_gap(self) -> None:
        """Note that the queue's gap has been reached, so that the notice of it is written next."""
        self._unwritten += self.gap or 0
        self.gap = None

    def _write(self, view: memoryview) -> int:
        if self._descriptor is None:
            self._stream.write(bytes(view).decode(self._stream.encoding or "utf-8", "replace"))
            self._stream.flush()
            return len(view)
        if self._at_once is not None:
            # One cannot be shared with a thread, nor with a process that is forked.
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            while not poll.poll(STUCK_SECONDS * 1000):
                if self.hurried:
                    self.give_up(STUCK)
                if self.gone:
                    return 0
                self.mute(self.tolerant)
            self.mute(False)
        try:
            return os.write(self._descriptor, view[: self._at_once])
        except BlockingIOError:  # another process has made it non-blocking
            time.sleep(0.01)
            return 0

    def _notice(self, lines: int) -> bytes:
        # A terminal has the bar in this line, which is drawn again below.
        begin = "\r\x1b[2K" if self._is_terminal else "\n" if self._amid_line else ""
        return (begin + self.notice(lines)).encode("ascii", "backslashreplace")

    def _fail(self, error: Exception) -> None:
        self.reader_gone = isinstance(error, BrokenPipeError)
        problem = getattr(error, "strerror", None) or str(error)
        if not self.tolerant or getattr(error, "errno", None) not in PASSING:
            self.give_up(problem)
        else:
            self._lose(problem)

    def _lose(self, problem: str) -> None:
        with self._lock:
            first = self.problem is None
            self.problem = self.problem or problem
            tell = self._tell
        if first:
            with contextlib.suppress(Exception):  # nothing may end the thread
                tell()

    def mute(self, muted: bool) -> None:
        """Let what other code writes go nowhere, so that it is not held up and raises no errors.

        Args:
            muted: Whether it goes nowhere from now on; once the outlet is given up, it always does.
        """
        with self._lock:
            if muted != self._muted and (muted or not self.gone):
                self._muted = muted
                self._point()

    def _point(self) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            source = os.open(os.devnull, os.O_WRONLY) if self._muted else self._descriptor
            for number in self._numbers:
                os.dup2(source, number)
            if self._muted:
                os.close(source)


class Writer:
    """A queue of bytes for one place, and the thread that writes them there in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[tuple[Outlet, bytes | None]] = deque()
        """What waits; None: a gap, where lines are left out."""
        self._waiting = 0
        """The bytes that wait or are being written."""
        self._busy = False
        self._began_at = self._moved_at = 0.0
        """When the last write began, and when something was taken last; by ``time.monotonic()``."""
        self._thread: threading.Thread | None = None
        self._process: int | None = os.getpid()

    def put(self, outlet: Outlet, data: bytes, room: int | None, *, counted: bool = True) -> None:
        """Hand over bytes to be written.

        Args:
            outlet: Where to.
            data: Whole lines, as a rule.
            room: They are left out if as many bytes would wait with them; None: wait for the reader.
            counted: Whether their number is told where they are left out.
        """
        if os.getpid() != self._process:
            self._write_at_once(outlet, data)
            return
        with self._changed:
            if self._busy and outlet.tolerant and self._has_stalled():
                outlet.mute(True)  # a terminal may be stopped amid a write
            if room is None:
                while self._waiting and self._waiting + len(data) > WAITING_DATA:
                    self._changed.wait()
            if outlet.gone:
                return
            if room is not None and self._waiting and self._waiting + len(data) > room:
                if counted:
                    self._leave_out(outlet, data.count(b"\n"))
                return
            if self._has_thread():
                self._queue.append((outlet, data))
                self._waiting += len(data)
                self._changed.notify_all()
                return
        self._write_at_once(outlet, data)

    def close(self) -> None:
        """Have whoever writes from now on write at once, as when the process is about to exit."""
        self._process = None

    def drain(self, patience: float | None, since: float = 0.0) -> bool:
        """Wait until everything is written.

        Args:
            patience: How long to wait while nothing is taken, in seconds; None: for as long as it lasts.
            since: When this wait began, by ``time.monotonic()``, if something else was waited for before.

        Returns:
            Whether everything is written.
        """
        now = time.monotonic()
        began = max(since, now - (patience or 0.0) + BRIEF_SECONDS) if since else now
        with self._changed:
            self._changed.notify_all()  # where a signal has kept ``put`` from it
            while self._queue or self._busy:
                left = None
                if patience is not None:
                    left = max(began, self._moved_at) + patience - time.monotonic()
                    if left <= 0:
                        return False
                self._changed.wait(left)
        return True

    def _leave_out(self, outlet: Outlet, lines: int) -> None:
        if outlet.gap is None:
            outlet.gap = 0
            self._queue.append((outlet, None))
        outlet.gap += lines

    def _write_at_once(self, outlet: Outlet, data: bytes) -> None:
        """Write where there is no thread: it is closed, or this process was forked, or there are too many."""
        outlet.hurried = True
        outlet.write(data, self._note_move)

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="display", daemon=True)
            with contextlib.suppress(RuntimeError):  # the process may have no more threads
                thread.start()
                self._thread = thread
        return self._thread is not None

    def _has_stalled(self) -> bool:
        return time.monotonic() - max(self._began_at, self._moved_at) > STUCK_SECONDS

    def _run(self) -> None:
        data = b""
        while True:
            with self._changed:
                self._waiting -= len(data)
                self._busy = False
                self._changed.notify_all()
                while not self._queue:
                    self._changed.wait()
                self._busy, self._began_at = True, time.monotonic()
                outlet, data = self._next()
            outlet.write(data, self._note_move)

    def _next(self) -> tuple[Outlet, bytes]:
        """Take what is written next: as much as waits for one outlet, up to a gap."""
        outlet, first = self._queue.popleft()
        if first is None:
            outlet.close_gap()
            return outlet, b""
        parts, size = [first], len(first)
        while self._queue:
            following, more = self._queue[0]
            if following is not outlet or more is None or size + len(more) > TOGETHER:
                break
            self._queue.popleft()
            parts.append(more)
            size += len(more)
        return outlet, b"".join(parts)

    def _note_move(self) -> None:
        self._moved_at = time.monotonic()
