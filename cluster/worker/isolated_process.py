"""The child process that makes one attempt; ``cluster.worker.isolated`` starts it by name."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from cluster.worker.isolated import POLL_SECONDS, Decoding


def main(descriptor: int) -> None:
    """Receive an assignment, make the attempt, send its progress and its outcome, and exit.

    Args:
        descriptor: The file descriptor of the pipe to the worker.
    """
    from cluster.worker.worker import Worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles a terminal's Ctrl-C
    pipe: Connection[Any, Any] = Connection(descriptor)
    setup, name, assignment, device_index = pipe.recv()
    sending = threading.Lock()

    def send(message: object) -> None:
        with contextlib.suppress(OSError), sending:
            pipe.send(message)

    worker = Worker(
        setup, name, first_device=device_index, on_decoding=lambda name: send(Decoding(name))
    )
    send(worker.progress())  # from here on, a death is the picture's

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
            send(worker.progress())

    for part in (take_requests, send_progress):
        threading.Thread(target=part, daemon=True).start()
    (outcome,) = worker.run([assignment])
    with sending:
        pipe.send(outcome)
    # Not an ordinary exit, because the threads above hold the pipe.
    os._exit(0)
