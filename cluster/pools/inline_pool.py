"""``InlinePool``: a pool of one worker in this process, without Ray."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from cluster.messages import (
    Assignment,
    Outcome,
    Progress,
    Wishes,
    WorkerSetup,
    WorkerState,
)
from cluster.pools.base import PREFETCH, Ended, Lost, WorkerHandle
from cluster.pools.busy_share import BusyShare
from cluster.worker.worker import Worker, worker_name


class InlinePool:
    """A ``cluster.pools.base.Pool`` of one worker, whose calls run in threads of this process.

    Args:
        setup: The settings of the job's workers.
        wishes: Returns what is asked of the run meanwhile. A run that is paused paints to the end what it has
            begun.
    """

    pending = 0
    growing = False

    def __init__(self, setup: WorkerSetup, wishes: Callable[[], Wishes] = Wishes) -> None:
        self._wishes = wishes
        self._worker = Worker(setup, worker_name("inline"))
        worker = self._worker
        self._handle = WorkerHandle(
            key="inline-0",
            name=worker.name,
            node=worker.node,
            device=worker.device,
            host=worker.node,
        )
        self._threads = ThreadPoolExecutor(1 + PREFETCH, thread_name_prefix="worker")
        self._ended: queue.SimpleQueue[tuple[int, list[Outcome]] | None] = queue.SimpleQueue()
        """The outcomes of calls, by number; None wakes ``wait``."""
        self._calls = 0
        self._began = time.monotonic()
        self._busy = BusyShare()

    @property
    def workers(self) -> int:
        return 1

    @property
    def share(self) -> int | None:
        return None

    @property
    def wanted(self) -> int:
        return 1

    @property
    def given_back(self) -> int:
        return 0

    @property
    def waits(self) -> str:
        wishes = self._wishes()
        return f"paused by {wishes.by}" if wishes.paused else ""

    @property
    def gpu_hours(self) -> float:
        return (time.monotonic() - self._began) / 3600

    def open_workers(self) -> Iterator[WorkerHandle]:
        if self._wishes().paused:
            return
        for _ in range(1 + PREFETCH - len(self._handle.calls)):
            yield self._handle

    def memory_classes(self) -> Sequence[int]:
        return ()

    def nodes(self) -> set[str]:
        return {self._handle.node}

    def want(self, tasks: int | None) -> None:
        pass

    def submit(self, worker: WorkerHandle, assignments: Sequence[Assignment]) -> None:
        self._calls += 1
        call = self._calls
        worker.calls[call] = tuple(a.attempt_id for a in assignments)
        self._threads.submit(lambda: self._ended.put((call, self._worker.run(assignments))))

    def recall(self, most: int) -> None:
        pass

    def wait(self, timeout: float) -> list[Ended | Lost]:
        ended: list[Ended | Lost] = []
        try:
            item = self._ended.get(block=timeout > 0, timeout=timeout or None)
            while True:
                if item is not None:
                    call, outcomes = item
                    del self._handle.calls[call]
                    ended += [Ended(outcome, self._handle) for outcome in outcomes]
                item = self._ended.get_nowait()
        except queue.Empty:
            pass
        return ended

    def wake(self) -> None:
        self._ended.put(None)

    def replace(self, worker: WorkerHandle, reason: str) -> None:
        pass  # the worker is this process, which cannot be replaced

    def avoid(self, node: str) -> None:
        pass

    def progress(self) -> list[Progress]:
        return self._worker.progress()

    def states(self) -> list[WorkerState]:
        worker = self._handle
        seconds = self._worker.report().busy_seconds
        return [
            WorkerState(
                name=worker.name,
                node=worker.node,
                device=worker.device.name,
                busy=self._busy(seconds),
                busy_seconds=seconds,
                calls=len(worker.calls),
                host=worker.host,
            )
        ]

    def drain(self) -> None:
        self._worker.drain()

    def preempt(self) -> None:
        self._worker.preempt()

    def close(self) -> None:
        self._worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
