"""Where attempts run: the protocol, and the pool that runs them in this very process.

``InlinePool`` is a real backend (``--pool inline``): one worker, no Ray, everything else the same. It
is what to use under a debugger, and on a machine where Ray cannot run.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from cluster.messages import Failure, Outcome, Progress, WorkerSetup
from cluster.worker import Worker, worker_name
from jobs.tasks import Task

PREFETCH = 1
"""Attempts waiting at a worker beside the one that paints: enough to hide fetching and storing."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose worker is gone."""

    task: Task
    attempt: str
    failure: Failure
    worker: str
    painting: bool = True
    """Whether it held the device; one that only waited has no part in its worker's death."""


class Pool(Protocol):
    """Workers that take attempts. Used by one thread, the driver's."""

    @property
    def free_slots(self) -> int:
        """How many more attempts can be submitted now."""

    @property
    def workers(self) -> int:
        """How many workers are up."""

    def submit(self, task: Task, attempt: str) -> None:
        """Start an attempt. Only when there is a free slot."""

    def wait(self, timeout: float) -> list[Outcome | Lost]:
        """What ended since the last call; waits up to ``timeout`` seconds for something.

        Raises ClusterError when there is no way to go on.
        """

    def progress(self) -> list[Progress]:
        """Where the running attempts stand, as last heard. Never waits."""

    def drain(self) -> None:
        """Let painting attempts finish; the others come back as stopped."""

    def close(self) -> None:
        """Release everything, now; running attempts are abandoned."""


class InlinePool:
    """One worker in this process, its attempts in threads."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._worker = Worker(setup, worker_name("inline"))
        self._threads = ThreadPoolExecutor(1 + PREFETCH, thread_name_prefix="worker")
        self._ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._running = 0

    @property
    def free_slots(self) -> int:
        return 1 + PREFETCH - self._running

    @property
    def workers(self) -> int:
        return 1

    def submit(self, task: Task, attempt: str) -> None:
        self._running += 1
        self._threads.submit(lambda: self._ended.put(self._worker.run(task, attempt)))

    def wait(self, timeout: float) -> list[Outcome | Lost]:
        ended: list[Outcome | Lost] = []
        try:
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        self._running -= len(ended)
        return ended

    def progress(self) -> list[Progress]:
        return self._worker.progress()

    def drain(self) -> None:
        self._worker.drain()

    def close(self) -> None:
        self._worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
