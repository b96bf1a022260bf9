"""An attempt in a process of its own, so that what it does to that process hurts nobody else.

When a worker dies while it paints, the picture may be to blame, or the machine, or somebody who killed it.
Counting deaths cannot tell these apart: where machines come and go, an innocent picture loses two workers,
too. So the next worker that gets the task has it painted by a process beside its own. When that dies and the
worker lives, it was the picture. When the worker dies, it was not.

``python -m cluster.apart FD`` is that process; FD is its end of the pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from cluster.messages import Assignment, Failure, Outcome, Progress, WorkerSetup

POLL_SECONDS = 0.25

VERDICT_SECONDS = 5.0
"""How long a worker has to outlive a process of its own that died, before it says that the picture did it."""


def paint_apart(
    setup: WorkerSetup,
    name: str,
    assignment: Assignment,
    device_index: int,
    note: Callable[[Sequence[Progress]], None],
    *,
    stopping: Callable[[], bool],
    leaving: Callable[[], bool],
) -> Outcome | Failure:
    """Make an attempt in a process of its own; a Failure when that process dies of it.

    ``note`` gets its progress now and then. ``stopping`` and ``leaving`` are asked for what the worker
    itself was told.
    """
    ours, theirs = Pipe()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.apart", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    told: set[str] = set()
    try:
        ours.send((setup, name, assignment, device_index))
        while True:
            for word, asked in (("stop", stopping), ("leave", leaving)):
                if word not in told and asked():
                    told.add(word)
                    ours.send(word)
            if ours.poll(POLL_SECONDS):
                said = ours.recv()
                if isinstance(said, Outcome):
                    return said
                note(said)
    except (EOFError, OSError):
        failure = _explain_death(process.wait())
        if failure.kind == "poison":
            # Who ends a worker, Ray among them, may end its children first: it is no verdict unless the
            # worker outlives it.
            time.sleep(VERDICT_SECONDS)
        return failure
    finally:
        ours.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _explain_death(status: int) -> Failure:
    if status >= 0:  # it ended by itself, before it came to the picture
        return Failure("bug", f"a process of its own could not be had (exit status {status})")
    how = str(-status)
    with contextlib.suppress(ValueError):
        how = signal.Signals(-status).name
    how += ", perhaps for lack of memory" if -status == signal.SIGKILL else ""
    return Failure(
        "poison",
        f"it kills what paints it: a worker died of it, and then a process of its own ({how})",
    )


def _main(descriptor: int) -> None:
    from cluster.worker import Worker

    pipe: Connection[Any, Any] = Connection(descriptor)
    setup, name, assignment, device_index = pipe.recv()
    worker = Worker(setup, name, first_device=device_index)
    sending = threading.Lock()

    def obey() -> None:
        try:
            while True:
                said = pipe.recv()
                worker.stop() if said == "stop" else worker.leave()
        except (EOFError, OSError):  # the worker is gone, and nobody waits for us any more
            os._exit(1)

    def tell() -> None:
        while True:
            threading.Event().wait(POLL_SECONDS)
            with contextlib.suppress(OSError), sending:
                pipe.send(worker.progress())

    for part in (obey, tell):
        threading.Thread(target=part, daemon=True).start()
    (outcome,) = worker.run([assignment])
    with sending:
        pipe.send(outcome)
    # Not an ordinary exit: the threads above hold the pipe.
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the driver's affair
    _main(int(sys.argv[1]))
