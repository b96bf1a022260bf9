"""``doubtful_masks``: look at masks for one that is probably not the one that is meant.

Masks are read in child processes, because a decoder may end its process, or never end.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from jobs.errors import InputError, StorageError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map
from stylize.errors import PictureError

MOST_PIXELS = 25_000_000
"""Pixels of a mask that is looked at: larger ones take seconds, and are told when they are painted with."""

MOST_SECONDS = 30.0
"""How long one mask is looked at, in seconds."""

POLL_SECONDS = 0.1
"""The interval between two looks whether to stop, in seconds."""

PROCESSES = 2

_CHILD = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from jobs.preflight.mask_process import main; main(int(sys.argv[1]))"
)
"""The child's code. It drops the current folder, which may have a ``jobs`` of its own, from the path."""


def doubtful_masks(
    inputs: Inputs,
    uris: Sequence[str],
    stop: Callable[[], bool],
    look: str = f"{__name__}:doubt_of",
) -> Iterator[str]:
    """Yield a sentence about every mask that is doubtful: "masks/sky.png is black everywhere, ...".

    Masks that cannot be read are passed over: their tasks fail with the reason.

    Args:
        inputs: Reads the masks.
        uris: Their addresses.
        stop: Returns whether to stop looking.
        look: ``module:function`` of what looks at a mask, as ``doubt_of`` does.
    """
    processes: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    made = [_Process(inputs, look) for _ in range(min(PROCESSES, len(uris)))]
    for process in made:
        processes.put(process)

    def doubt(uri: str) -> str | None:
        process = processes.get()
        try:
            return None if stop() else process.look(uri, stop)
        finally:
            processes.put(process)

    try:
        for uri, sentence in zip(uris, parallel_map(doubt, uris, PROCESSES), strict=True):
            if sentence is not None:
                yield about_mask(uri, sentence)
    finally:
        for process in made:
            process.close()


def doubt_of(inputs: Inputs, uri: str, most_pixels: int) -> str | None:
    """Return why a mask is doubtful; None: it is not, or cannot be looked at.

    Args:
        inputs: Reads the mask.
        uri: Its address.
        most_pixels: Pixels up to which it is looked at.
    """
    # Here, because Pillow is slow to import.
    from stylize.pictures.mask import read_mask
    from stylize.pictures.reading.open import pixels_in

    try:
        data = inputs.read(uri).data
        if (pixels_in(data) or 0) > most_pixels:
            return None
        return read_mask(data).doubt
    except (InputError, StorageError, PictureError, MemoryError):
        return None


def about_mask(uri: str, doubt: str) -> str:
    """Return the sentence about a doubtful mask, from its address and its ``Mask.doubt``."""
    return f"{display(uri)} {doubt}"


class _Process:
    """A child process that looks at masks, and another one when it has died. One thread at a time uses it.

    Args:
        inputs: Reads the masks.
        look: ``module:function`` of what looks at a mask.
    """

    def __init__(self, inputs: Inputs, look: str) -> None:
        self._inputs = inputs
        self._look = look
        self._running: tuple[subprocess.Popen[bytes], Connection[Any, Any]] | None = None

    def look(self, uri: str, stop: Callable[[], bool]) -> str | None:
        """Return why a mask is doubtful; None: it is not, or it was not looked at."""
        began = False
        try:
            if self._running is None:
                self._running = self._start()
                self._answer(stop)
            began = True
            self._running[1].send((uri, MOST_PIXELS))
            answer: str | None = self._answer(stop)
            return answer
        except TimeoutError:
            self.close()
            return None if stop() else f"was not read in {MOST_SECONDS:.0f} s"
        except (EOFError, OSError):
            how = self.close()
            return f"ends the process that reads it ({how})" if began else None

    def close(self) -> str:
        """End the process; return how it had ended by then, if it had."""
        if self._running is None:
            return ""
        process, pipe = self._running
        self._running = None
        pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
        process.kill()
        status = process.wait()
        if status >= 0:
            return f"exit status {status}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
        return str(-status)

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection[Any, Any]]:
        pipe, child_pipe = Pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(child_pipe.fileno())],
            pass_fds=[child_pipe.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        child_pipe.close()
        pipe.send((self._look, self._inputs))
        return process, pipe

    def _answer(self, stop: Callable[[], bool]) -> Any:
        """Return what the process answers. Raises TimeoutError once it takes too long, or is to stop."""
        assert self._running is not None
        until = time.monotonic() + MOST_SECONDS
        pipe = self._running[1]
        while not pipe.poll(POLL_SECONDS):
            if stop() or time.monotonic() > until:
                raise TimeoutError
        return pipe.recv()
