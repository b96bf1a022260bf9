"""Standard output and standard error in every state that they can be in, and commands that meet them so."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support import forked
from tests.support.farm import ROOT, command

Process = subprocess.Popen[bytes] | forked.Forked

STATES = ("normal", "closed", "full", "broken", "vanished", "non-blocking", "slow")
"""What a reader reads at once; closed when the process starts; a full disk; a pipe without a reader; a
terminal that is gone; a pipe that does not block, as some parents leave it; a reader that pauses."""

LOST = ("closed", "full", "broken", "vanished")
"""The states in which nothing arrives."""

PROBLEMS = {
    "closed": "it is closed",
    "full": "No space left on device",
    "broken": "Broken pipe",
    "vanished": "Input/output error",
    "stuck": "nobody reads it",
}
"""How they are told."""

PAUSE_SECONDS = 1.5
"""How long a slow reader reads nothing."""

EARLIER = b"#" * 4096
"""What fills a pipe that nobody reads."""


class Stream:
    """A standard stream in a state: what to give to the process, and what came out.

    Besides ``STATES``, it may be "stuck": nobody reads until the process is over; "held": nobody reads until
    ``go_on``; "stopped": a terminal that was stopped with Ctrl-S, until ``go_on``; or "terminal": one that
    nothing befalls.
    """

    def __init__(self, state: str) -> None:
        self.state = state
        self.descriptor: int | None = None
        """For the process; None: closed."""
        self._reader: int | None = None
        self._got = bytearray()
        self._thread: threading.Thread | None = None
        if state == "closed":
            return
        if state == "full":
            self.descriptor = os.open("/dev/full", os.O_WRONLY)
        elif state in ("vanished", "stopped", "terminal"):
            self._reader, self.descriptor = pty.openpty()
            if state == "vanished":
                os.close(self._reader)
                self._reader = None
            else:
                if state == "stopped":
                    termios.tcflow(self.descriptor, termios.TCOOFF)
                self._begin_to_read()
        else:
            self._reader, self.descriptor = os.pipe()
            if state == "broken":
                os.close(self._reader)
                self._reader = None
                return
            if state in ("slow", "stuck", "held"):
                # As full as it gets, so that nothing more can be written.
                fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, len(EARLIER))
                os.write(self.descriptor, EARLIER)
            os.set_blocking(self.descriptor, state != "non-blocking")
            if state not in ("stuck", "held"):
                self._begin_to_read()

    def go_on(self) -> None:
        """Begin to read; as Ctrl-Q at a terminal."""
        if self.state == "stopped":
            assert self.descriptor is not None
            termios.tcflow(self.descriptor, termios.TCOON)
        else:
            self._begin_to_read()

    def release(self) -> None:
        """Leave the stream to the process alone, so that it ends with it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def so_far(self) -> str:
        """What has come out by now."""
        return self._got.decode(errors="ignore")

    def text(self) -> str | None:
        """What came out, once the process is over; None: that cannot be known."""
        self.release()
        if self._reader is None:
            return None
        if self._thread is None:  # what is left in the pipe that nobody has read
            self._read()
        else:
            self._thread.join()
        os.close(self._reader)
        return self._got.removeprefix(EARLIER).decode()

    def _begin_to_read(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._reader is not None
        if self.state == "slow":
            time.sleep(PAUSE_SECONDS)
        with contextlib.suppress(OSError):  # EIO: a terminal whose last user is gone
            while part := os.read(self._reader, 65_536 if self.state == "normal" else 512):
                self._got += part
                time.sleep(0.001 if self.state in ("slow", "non-blocking") else 0)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said; None: that cannot be known."""

    status: int
    out: str | None
    err: str | None

    def complaints(self) -> list[str]:
        """What no user should see."""
        return [
            line
            for text in (self.out, self.err)
            for line in (text or "").splitlines()
            if re.search(
                r"Traceback|Exception ignored|Fatal Python|Error in sys|Logging error", line
            )
        ]


@contextlib.contextmanager
def started(
    words: list[str], out: Stream, err: Stream, *, folder: Path, **env: str
) -> Iterator[Process]:
    """A process with these streams."""
    closed = [n for n, stream in ((1, out), (2, err)) if stream.descriptor is None]
    before: Callable[[], None] | None = None
    if closed:
        before = lambda: [os.close(number) for number in closed] and None  # noqa: E731
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=out.descriptor,
        stderr=err.descriptor,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **env},
        preexec_fn=before,
    )
    with _ended(process, out, err):
        yield process


@contextlib.contextmanager
def begun(
    words: list[str],
    out: Stream,
    err: Stream,
    *,
    folder: Path,
    settings: forked.Settings = MappingProxyType({}),
    **env: str,
) -> Iterator[Process]:
    """The same, in a fork of a process that has imported the command, where that shows as much; with
    ``settings`` as ``forked.begin`` has them."""
    closed = out.descriptor is None or err.descriptor is None
    early = any(name.startswith(forked.READ_EARLY) for name in env)
    if closed or early or sys.platform != "linux":
        with started(command(*words, settings=settings), out, err, folder=folder, **env) as process:
            yield process
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **env}
    assert out.descriptor is not None
    assert err.descriptor is not None
    fork = forked.begin(
        words,
        out.descriptor,
        err.descriptor,
        folder=folder,
        environment=environment,
        settings=settings,
    )
    with _ended(fork, out, err):
        yield fork


@contextlib.contextmanager
def _ended(process: Process, *streams: Stream) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()
        for stream in streams:
            stream.release()


def run(
    words: list[str],
    out: str = "normal",
    err: str = "normal",
    *,
    folder: Path,
    meanwhile: Callable[[Process], None] = lambda _: None,
    env: Mapping[str, str] | None = None,
    seconds: float = 150,
    begin: Callable[..., contextlib.AbstractContextManager[Process]] = started,
) -> Ended:
    """Run a command whose streams are in these states.

    Args:
        words: The whole command; with ``begun``, what follows its name.
        out: The state of standard output.
        err: That of standard error.
        folder: Where it begins.
        meanwhile: Called while it runs.
        env: What its environment has besides that of this process.
        seconds: How long it may take.
        begin: ``started`` or ``begun``.

    Raises:
        subprocess.TimeoutExpired: It does not end.
    """
    streams = Stream(out), Stream(err)
    try:
        with begin(words, *streams, folder=folder, **(env or {})) as process:
            meanwhile(process)
            status = process.wait(seconds)
    finally:
        said = [stream.text() for stream in streams]
    return Ended(status, *said)
