"""The pool that runs attempts in this very process: a real backend, without Ray."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from cluster.messages import (
    Assignment,
    Outcome,
    Progress,
    StationState,
    WorkerSetup,
)
from cluster.pools.base import PREFETCH, Ended, Lost, Station
from cluster.pools.busy_share import BusyShare
from cluster.worker.worker import Worker, worker_name


class InlinePool:
    """One worker in this process, its calls in threads."""

    pending = 0
    growing = False

    def __init__(self, setup: WorkerSetup) -> None:
        self._worker = Worker(setup, worker_name("inline"))
        worker = self._worker
        self._station = Station("inline-0", worker.name, worker.node, worker.device, worker.node)
        self._threads = ThreadPoolExecutor(1 + PREFETCH, thread_name_prefix="worker")
        self._ended: queue.SimpleQueue[list[Outcome]] = queue.SimpleQueue()
        self._began = time.monotonic()
        self._busy = BusyShare()

    @property
    def workers(self) -> int:
        return 1

    @property
    def gpu_hours(self) -> float:
        return (time.monotonic() - self._began) / 3600

    def open_stations(self) -> Iterator[Station]:
        for _ in range(1 + PREFETCH - self._station.calls):
            yield self._station

    def memory_classes(self) -> Sequence[int]:
        return ()

    def nodes(self) -> set[str]:
        return {self._station.node}

    def want(self, tasks: int | None) -> None:
        pass

    def submit(self, station: Station, assignments: Sequence[Assignment]) -> None:
        station.calls += 1
        self._threads.submit(lambda: self._ended.put(self._worker.run(assignments)))

    def recall(self, most: int) -> None:
        pass

    def wait(self, timeout: float) -> list[Ended | Lost]:
        calls: list[list[Outcome]] = []
        try:
            calls.append(self._ended.get(block=timeout > 0, timeout=timeout or None))
            while True:
                calls.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        self._station.calls -= sum(1 for outcomes in calls if outcomes)
        return [Ended(outcome, self._station) for outcomes in calls for outcome in outcomes]

    def wake(self) -> None:
        self._ended.put([])

    def replace(self, station: Station, reason: str) -> None:
        pass  # it is this very process

    def avoid(self, node: str) -> None:
        pass

    def progress(self) -> list[Progress]:
        return self._worker.progress()

    def states(self) -> list[StationState]:
        station = self._station
        seconds = self._worker.report().busy_seconds
        share = self._busy(seconds)
        device = station.device.name
        return [StationState(station.name, station.node, device, share, seconds, station.calls)]

    def drain(self) -> None:
        self._worker.drain()

    def leave(self) -> None:
        self._worker.leave()

    def close(self) -> None:
        self._worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
