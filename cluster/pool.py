"""Where attempts run: the protocol, and the pool that runs them in this very process.

``InlinePool`` is a real backend (``--pool inline``): one worker, no Ray, everything else the same. It
is what to use under a debugger, and on a machine where Ray cannot run.
"""

from __future__ import annotations

import queue
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from cluster.messages import (
    Assignment,
    DeviceInfo,
    Failure,
    Outcome,
    Progress,
    StationState,
    WorkerSetup,
)
from cluster.worker.worker import Worker, worker_name

PREFETCH = 2
"""Calls at a worker beside the one that paints: one is ready when it ends, while another stores."""


@dataclass(eq=False)
class Station:
    """A worker that is up, as the driver sees it."""

    key: str
    """Unique in a run, and never used again."""
    name: str
    node: str
    """Ray's id of its machine."""
    device: DeviceInfo
    host: str = ""
    """That machine's name."""
    memory_bytes: int | None = None
    """What of the device's memory is its share; None where it is not told, or the machine's own."""
    lanes: int = 1
    """Its devices."""
    calls: int = 0
    """Under way."""
    styles: OrderedDict[object, None] = field(default_factory=OrderedDict)
    """Those it was given last, for ``cluster.backlog``."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that a worker has ended."""

    outcome: Outcome
    station: Station


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that is gone, with what it had."""

    station: Station
    failure: Failure
    """Its kind is worker, stalled, unavailable or preempted."""
    attempts: tuple[str, ...] = ()
    painting: frozenset[str] = frozenset()
    """Those of them that held a device; those that only waited had no part in it."""


class Pool(Protocol):
    """Workers that take attempts. Used by one thread, the driver's."""

    @property
    def workers(self) -> int:
        """How many workers are up."""

    @property
    def pending(self) -> int:
        """How many were asked for and are not up."""

    @property
    def growing(self) -> bool:
        """Whether workers are on their way that will soon be up."""

    @property
    def gpu_hours(self) -> float:
        """For how long devices have been held by workers that were up, all together."""

    def open_stations(self) -> Iterator[Station]:
        """Workers that can take a call, the least busy first. One may be submitted to meanwhile."""

    def memory_classes(self) -> Sequence[int]:
        """The sizes of memory that workers have, ascending, each once."""

    def nodes(self) -> set[str]:
        """Where there are workers."""

    def want(self, tasks: int | None) -> None:
        """So many tasks are not done yet (None: nobody knows): no more workers than that are needed."""

    def submit(self, station: Station, assignments: Sequence[Assignment]) -> None:
        """Start attempts, in one call. Only at a station that is open."""

    def recall(self, most: int) -> None:
        """Have as many calls sent back as idle workers could take, that wait at others, at most ``most``."""

    def wait(self, timeout: float) -> list[Ended | Lost]:
        """What ended since the last call; waits up to ``timeout`` seconds for something.

        Raises ClusterError when there is no way to go on.
        """

    def wake(self) -> None:
        """Have ``wait`` return now. Any thread may call it."""

    def replace(self, station: Station, reason: str) -> None:
        """A worker is of no use: it comes back as lost, and another takes its place."""

    def avoid(self, node: str) -> None:
        """Place no more workers there."""

    def progress(self) -> list[Progress]:
        """Where the running attempts stand, as last heard. Never waits."""

    def states(self) -> list[StationState]:
        """What the workers are like, as last heard. Never waits."""

    def drain(self) -> None:
        """Let painting attempts finish; the others come back as stopped."""

    def leave(self) -> None:
        """Everything is taken away: painting attempts store a checkpoint, and all come back."""

    def close(self) -> None:
        """Release everything, now; running attempts are abandoned."""


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


class BusyShare:
    """The share of its time for which a worker has held its devices, over the last while."""

    SECONDS = 30.0

    def __init__(self, lanes: int = 1) -> None:
        self._lanes = lanes
        self._marks: list[tuple[float, float]] = []

    def __call__(self, busy_seconds: float) -> float | None:
        """Take what was heard; the share, once it can be told."""
        now = time.monotonic()
        self._marks.append((now, busy_seconds))
        while len(self._marks) > 2 and now - self._marks[1][0] >= self.SECONDS:
            self._marks.pop(0)
        then, before = self._marks[0]
        seconds = now - then
        if seconds <= 0:
            return None
        return max(0.0, min(1.0, (busy_seconds - before) / seconds / self._lanes))
