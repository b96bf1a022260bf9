"""``python -m cluster.worker.isolated_process FD``: the child process that makes one attempt."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from cluster.worker.isolated import POLL_SECONDS


def main(descriptor: int) -> None:
    """Receive an assignment, make the attempt, send its progress and its outcome, and exit.

    Args:
        descriptor: The file descriptor of the pipe to the worker.
    """
    from cluster.worker.worker import Worker

    pipe: Connection[Any, Any] = Connection(descriptor)
    setup, name, assignment, device_index = pipe.recv()
    worker = Worker(setup, name, first_device=device_index)
    sending = threading.Lock()

    def take_requests() -> None:
        try:
            while True:
                request = pipe.recv()
                worker.stop() if request == "stop" else worker.preempt()
        except (EOFError, OSError):  # the worker is gone, so nothing waits for the outcome
            os._exit(1)

    def send_progress() -> None:
        while True:
            threading.Event().wait(POLL_SECONDS)
            with contextlib.suppress(OSError), sending:
                pipe.send(worker.progress())

    for part in (take_requests, send_progress):
        threading.Thread(target=part, daemon=True).start()
    (outcome,) = worker.run([assignment])
    with sending:
        pipe.send(outcome)
    # Not an ordinary exit, because the threads above hold the pipe.
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles a terminal's Ctrl-C
    main(int(sys.argv[1]))
