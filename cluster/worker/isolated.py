"""One attempt in a process of its own, so that a picture that kills its process harms no other.

When a worker dies while it paints, the picture may be to blame, or the machine, or whoever killed the
worker. Counting deaths cannot tell these apart: where machines come and go, an innocent picture loses two
workers, too. So the next worker that gets the task has a process beside its own paint it. When that process
dies and the worker lives, the picture is to blame; when the worker dies, it is not.

``cluster.worker.isolated_process`` is that process. Only its name is used here, because it imports the
worker, which imports this file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pipe

from cluster.messages import Assignment, Failure, Outcome, Progress, WorkerSetup

POLL_SECONDS = 0.25

VERDICT_SECONDS = 5.0
"""How long a worker has to outlive a process of its own that died, before it says that the picture did it."""


def paint_isolated(
    setup: WorkerSetup,
    name: str,
    assignment: Assignment,
    device_index: int,
    note: Callable[[Sequence[Progress]], None],
    *,
    stopping: Callable[[], bool],
    preempted: Callable[[], bool],
) -> Outcome | Failure:
    """Make an attempt in a process of its own; a Failure when that process dies of it.

    ``note`` gets its progress now and then. ``stopping`` and ``preempted`` are asked for what the worker
    itself was told.
    """
    pipe, child_pipe = Pipe()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.worker.isolated_process", str(child_pipe.fileno())],
        pass_fds=[child_pipe.fileno()],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    child_pipe.close()
    sent: set[str] = set()
    try:
        pipe.send((setup, name, assignment, device_index))
        while True:
            for request, asked in (("stop", stopping), ("preempt", preempted)):
                if request not in sent and asked():
                    sent.add(request)
                    pipe.send(request)
            if pipe.poll(POLL_SECONDS):
                message = pipe.recv()
                if isinstance(message, Outcome):
                    return message
                note(message)
    except (EOFError, OSError):
        failure = _explain_death(process.wait())
        if failure.kind == "poison":
            # Who ends a worker, Ray among them, may end its children first: it is no verdict unless the
            # worker outlives it.
            time.sleep(VERDICT_SECONDS)
        return failure
    finally:
        pipe.close()
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
