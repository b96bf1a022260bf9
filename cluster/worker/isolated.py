"""``paint_isolated``: one attempt in a child process, so that a picture that kills it harms no other.

When a worker dies while it decodes or paints, the cause is the picture, the machine, or a signal from
outside. Counting deaths cannot tell these apart: where machines come and go, a harmless picture loses two
workers, too. So the next worker that gets the task decodes and paints it in a child process. When the child
dies and the worker lives, the picture is to blame; when the worker dies as well, it is not.

``cluster.worker.isolated_process`` is the child's side. This module starts it by name and does not import it,
because it imports the worker, which imports this module.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe

from cluster.messages import Assignment, Failure, Outcome, Progress, WorkerSetup

POLL_SECONDS = 0.25
"""The interval between two messages or requests, in seconds."""

_CHILD = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from cluster.worker.isolated_process import main; main(int(sys.argv[1]))"
)
"""The child's code. It drops the current folder, which may have a ``cluster`` of its own, from the path."""

START_SECONDS = 300.0
"""For how long a child process that starts need not give a sign of life, in seconds. A cold disk takes a
minute to give it torch."""

VERDICT_SECONDS = 5.0
"""How long a worker must outlive its child process before the picture is blamed for the death, in seconds."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """The child's message that it begins, or has ended, to decode a picture."""

    name: str | None
    """What the picture is, as ``Renderer.decode`` gets it; None: no picture is being decoded."""


def paint_isolated(
    setup: WorkerSetup,
    name: str,
    assignment: Assignment,
    device_index: int,
    note: Callable[[Sequence[Progress]], None],
    *,
    decoding: Callable[[str | None], None],
    unblamed: Callable[[], None],
    stopping: Callable[[], bool],
    preempted: Callable[[], bool],
) -> Outcome | Failure:
    """Make an attempt in a child process.

    Args:
        setup: The settings of the job's workers.
        name: The worker's name.
        assignment: The task and the attempt's id.
        device_index: The index of the device, among those that this process sees.
        note: Takes the progress of the child's attempt, every ``POLL_SECONDS``.
        decoding: Takes what the child decodes, and None when it has decoded it.
        unblamed: Called every ``POLL_SECONDS`` while it is not the picture's fault that nothing is painted:
            the child starts, or has died.
        stopping: Returns whether the worker was stopped; the child is then stopped, too.
        preempted: Returns whether the worker was preempted; the child is then preempted, too.

    Returns:
        The child's outcome, or a failure when the child died: ``bug`` if it did so before it had begun, else
        ``poison``.
    """
    pipe, child_pipe = Pipe()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(child_pipe.fileno())],
        pass_fds=[child_pipe.fileno()],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    child_pipe.close()
    sent: set[str] = set()
    begun = False
    start_until = time.monotonic() + START_SECONDS
    decoded: str | None = None
    try:
        pipe.send((setup, name, assignment, device_index))
        while True:
            for request, asked in (("stop", stopping), ("preempt", preempted)):
                if request not in sent and asked():
                    sent.add(request)
                    pipe.send(request)
            if not begun and time.monotonic() < start_until:
                unblamed()
            if pipe.poll(POLL_SECONDS):
                message = pipe.recv()
                begun = True
                if isinstance(message, Outcome):
                    return message
                if isinstance(message, Decoding):
                    decoded = message.name
                    decoding(decoded)
                else:
                    note(message)
    except (EOFError, OSError):
        failure = _explain_death(process.wait(), begun, decoded)
        if failure.kind == "poison":
            # Whatever ends a worker, Ray included, may end its children first. So the picture is blamed only
            # if the worker outlives the child.
            verdict = time.monotonic() + VERDICT_SECONDS
            while time.monotonic() < verdict:
                unblamed()
                time.sleep(POLL_SECONDS)
        return failure
    finally:
        pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _explain_death(status: int, begun: bool, decoded: str | None) -> Failure:
    """Return the failure of an attempt whose process died.

    Args:
        status: Its exit status; negative: the signal that killed it.
        begun: Whether it had begun the attempt.
        decoded: What it was decoding; None: nothing.
    """
    how = f"exit status {status}"
    if status < 0:
        how = str(-status)
        with contextlib.suppress(ValueError):
            how = signal.Signals(-status).name
        how += ", perhaps for lack of memory" if -status == signal.SIGKILL else ""
    elif not begun:
        return Failure("bug", f"no separate process could be started ({how})")
    what = "it kills the process that paints it"
    if decoded is not None:
        what = f"{decoded} kills the process that decodes it"
    return Failure("poison", f"{what}: first a worker, then a separate process ({how})")
