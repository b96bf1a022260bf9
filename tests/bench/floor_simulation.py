"""A thousand GPUs and a million tasks in simulated time: ``python tests/bench/floor_simulation.py``.

Events are simulated, decisions are not: driver, backlog and failure policy are the real ones, on a clock that
jumps from event to event. What cannot be had here goes in as a number: how long renders, fetching
and storing take, how long a new worker takes to be up, how many are lost, and what the driver's own CPU time
for a task is, which ``tests/bench/floor.py dispatch`` measures.

Printed are the makespan against the ideal (all device time, shared out evenly, nothing lost), what was
rendered for nothing, and how busy the driver was; then, for shorter and shorter renders, where it becomes the
limit.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import cluster.driver.driver  # noqa: E402
from cluster.driver.committer import Commit  # noqa: E402
from cluster.driver.driver import Driver, Limits  # noqa: E402
from cluster.messages import (  # noqa: E402
    Assignment,
    DeviceInfo,
    Failure,
    Outcome,
    Progress,
    WorkerState,
)
from cluster.pools.base import Ended, Lost, WorkerHandle  # noqa: E402
from cluster.pools.ray_member import Member  # noqa: E402
from cluster.pools.roster import Roster  # noqa: E402
from jobs.records.record import AttemptRecord, OutputRecord, TaskRecord  # noqa: E402
from jobs.spec.styles import StylePart  # noqa: E402
from jobs.tasks.task import Task  # noqa: E402
from stylize.recipe import resolve  # noqa: E402


@dataclass(frozen=True)
class World:
    """What goes in."""

    tasks: int
    gpus: int
    render_seconds: float
    """Mean; they spread by a third around it."""
    fetch_seconds: float = 0.5
    store_seconds: float = 0.5
    boot_seconds: float = 60.0
    """From a loss until the worker that takes its place is up."""
    lost_an_hour: float = 0.01
    """The share of workers."""
    driver_seconds: float = 0.001
    """The driver's CPU time for a task."""
    seed: int = 0


@dataclass(eq=False)
class _Call:
    attempt: str
    seconds: float
    ready: float
    """When its pictures are fetched."""
    worker: _Worker
    task: Task
    gone: bool = False


@dataclass(eq=False)
class _Worker:
    member: Member
    calls: OrderedDict[str, _Call] = field(default_factory=OrderedDict)
    queue: list[_Call] = field(default_factory=list)
    painting: _Call | None = None
    since: float = 0.0
    alive: bool = True

    @property
    def handle(self) -> WorkerHandle:
        return self.member.handle


class Clock:
    """Simulated seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SimulatedPool:
    """A ``cluster.pools.base.Pool`` whose workers are a list of events to come."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self._random = random.Random(world.seed)
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = itertools.count()
        self._workers: dict[str, _Worker] = {}
        self._roster = Roster(0.0, clock)
        self._numbers = itertools.count()
        self._dealt = 0
        """Tasks handed out or taken back since the clock was last charged for it."""
        self._left: int | None = None
        self.driver_busy = 0.0
        self.device_seconds = 0.0
        """Of renders that were finished."""
        self.wasted_seconds = 0.0
        """Of those that were not."""
        self.lost = 0
        for _ in range(world.gpus):
            self._at(0.0, "up", None)

    # -- what the driver asks -----------------------------------------------------------------------

    pending = 0
    growing = False
    share = None
    wanted = 0
    given_back = 0
    waits = ""

    @property
    def workers(self) -> int:
        return len(self._workers)

    @property
    def gpu_hours(self) -> float:
        return 0.0

    def open_workers(self) -> Iterator[WorkerHandle]:
        return (member.handle for member in self._roster.open_members())

    def memory_classes(self) -> Sequence[int]:
        return ()

    def nodes(self) -> set[str]:
        return {"one"}

    def progress(self) -> list[Progress]:
        return []

    def states(self) -> list[WorkerState]:
        return []

    # -- what it does -------------------------------------------------------------------------------

    def want(self, tasks: int | None) -> None:
        self._left = tasks

    def submit(self, handle: WorkerHandle, assignments: Sequence[Assignment]) -> None:
        worker = self._workers[handle.key]
        for assignment in assignments:
            self._dealt += 1
            spread = self._random.uniform(2 / 3, 4 / 3)
            call = _Call(
                assignment.attempt_id,
                self._world.render_seconds * spread * self.part_of(assignment.task),
                self._clock.now + self.fetch_of(assignment.task),
                worker,
                assignment.task,
            )
            worker.calls[call.attempt] = call
            worker.queue.append(call)
            self._at(call.ready, "paint", worker)
        self._update(worker)

    def fetch_of(self, task: Task) -> float:
        """How long it takes to fetch a task's pictures, in seconds, when it is handed out now."""
        return self._world.fetch_seconds

    def part_of(self, task: Task) -> float:
        """How long a task takes, of what others take."""
        return 1.0

    def recall(self, most: int) -> None:
        for worker in sorted(self._workers.values(), key=lambda w: -len(w.calls)):
            while most > 0 and worker.queue and worker.painting is not None:
                call = worker.queue.pop()
                most -= 1
                failure = Failure("recalled", "another worker was free")
                self._at(self._clock.now, "out", (call, failure))

    def wait(self, timeout: float) -> list[Ended | Lost]:
        # What the driver did since it was last here took its time.
        charge = self._dealt * self._world.driver_seconds / 2
        self._dealt = 0
        self.driver_busy += charge
        self._clock.now += charge
        until = self._clock.now + timeout
        ended: list[Ended | Lost] = []
        while self._events and self._events[0][0] <= (self._clock.now if ended else until):
            at, _, kind, what = heapq.heappop(self._events)
            self._clock.now = max(self._clock.now, at)
            ended += getattr(self, f"_{kind}")(what)
        if not ended:
            self._clock.now = max(self._clock.now, until)
        self._dealt += len(ended)
        return ended

    def wake(self) -> None:
        pass

    def replace(self, handle: WorkerHandle, reason: str) -> None:
        pass

    def avoid(self, node: str) -> None:
        pass

    def drain(self) -> None:
        pass

    def preempt(self) -> None:
        pass

    def close(self) -> None:
        pass

    # -- what happens -------------------------------------------------------------------------------

    def _at(self, when: float, kind: str, what: Any) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, what))

    def _up(self, _: None) -> list[Ended | Lost]:
        if self._left == 0:
            return []
        number = next(self._numbers)
        key = str(number)
        handle = WorkerHandle(key, f"gpu-{key}", "one", DeviceInfo("simulated"))
        worker = _Worker(Member(number, None, handle))
        self._workers[key] = worker
        self._roster.add(worker.member)
        self._roster.mark_up(worker.member)
        if self._world.lost_an_hour:
            rate = self._world.lost_an_hour / 3600
            self._at(self._clock.now + self._random.expovariate(rate), "die", worker)
        return []

    def _paint(self, worker: _Worker) -> list[Ended | Lost]:
        """It may be able to begin the next."""
        if worker.alive and worker.painting is None and worker.queue:
            call = worker.queue[0]
            if call.ready <= self._clock.now + 1e-9:
                worker.queue.pop(0)
                worker.painting, worker.since = call, self._clock.now
                self._at(self._clock.now + call.seconds, "painted", call)
        return []

    def _painted(self, call: _Call) -> list[Ended | Lost]:
        if call.gone:
            return []
        self.device_seconds += call.seconds
        call.worker.painting = None
        self._at(self._clock.now + self._world.store_seconds, "out", (call, None))
        return self._paint(call.worker)

    def _out(self, what: tuple[_Call, Failure | None]) -> list[Ended | Lost]:
        call, failure = what
        if call.gone:
            return []
        worker = call.worker
        del worker.calls[call.attempt]
        self._update(worker)
        made = AttemptRecord.model_construct(id=call.attempt, worker=worker.handle.name)
        record = None if failure is not None else _record(made, call.task)
        return [Ended(Outcome(made, record, failure), worker.handle)]

    def _die(self, worker: _Worker) -> list[Ended | Lost]:
        if self._left == 0:
            return []
        self.lost += 1
        worker.alive = False
        del self._workers[worker.handle.key]
        self._roster.remove(worker.member)
        painting = frozenset([worker.painting.attempt] if worker.painting else [])
        if worker.painting:
            self.wasted_seconds += self._clock.now - worker.since
        for call in worker.calls.values():
            call.gone = True
        self._at(self._clock.now + self._world.boot_seconds, "up", None)
        return [Lost(worker.handle, Failure("worker", "it died"), tuple(worker.calls), painting)]

    def _update(self, worker: _Worker) -> None:
        worker.handle.calls = {k: (call,) for k, call in enumerate(worker.calls)}
        self._roster.update(worker.member)


RECIPE = resolve({"size": 64})
STYLE = (StylePart("style.png", 1.0),)
OUTPUT = OutputRecord(key="images/a.png", sha256="0", size=1, width=1, height=1)


def _record(made: AttemptRecord, task: Task) -> TaskRecord:
    return TaskRecord.model_construct(
        id=task.id,
        film=None if task.part is None else task.part.record(),
        name="a",
        status="done",
        output=OUTPUT,
        steps=1,
        attempts=[made],
        seconds={},
        losses={},
    )


class NoCommitter:
    """A ``cluster.driver.committer.Committer`` that keeps nothing, and is done at once: threads know no
    simulated
    time."""

    def __init__(self, *_: object) -> None:
        self._submitted: list[Commit] = []

    @property
    def waiting(self) -> int:
        return len(self._submitted)

    def submit(self, commit: Commit) -> None:
        self._submitted.append(commit)

    def finished(self) -> list[tuple[Commit, None]]:
        done, self._submitted = self._submitted, []
        return [(commit, None) for commit in done]

    def close(self, *, wait: bool = True) -> None:
        pass


@dataclass(frozen=True)
class Result:
    """What came out."""

    makespan: float
    ideal: float
    driver_share: float
    wasted_share: float
    lost: int
    done: int
    real_seconds: float


def simulate(world: World) -> Result:
    """One run."""

    def tasks() -> Iterator[Task]:
        for number in range(world.tasks):
            yield Task(f"{number:016x}", "a", "a.png", STYLE, None, RECIPE, "digest")

    return simulate_run(world, tasks(), SimulatedPool)


def simulate_run(
    world: World, tasks: Iterator[Task], make_pool: Callable[[World, Clock], SimulatedPool]
) -> Result:
    """One run of these tasks."""
    clock = Clock()
    pool = make_pool(world, clock)
    began = time.monotonic()
    cluster.driver.driver.Committer = NoCommitter  # type: ignore[assignment,misc]
    records: Any = None
    driver = Driver(
        tasks, pool, records, lambda event: None, limits=Limits(max_attempts=3), clock=clock
    )
    counts = driver.run()
    return Result(
        makespan=clock.now,
        ideal=pool.device_seconds / world.gpus,
        driver_share=pool.driver_busy / clock.now,
        wasted_share=pool.wasted_seconds / pool.device_seconds,
        lost=pool.lost,
        done=counts.done,
        real_seconds=time.monotonic() - began,
    )


def tell(world: World, result: Result) -> None:
    """Print one run."""
    print(
        f"{world.gpus:5} GPUs {world.tasks:9,} tasks of {world.render_seconds:5g} s  "
        f"makespan {result.makespan / 3600:7.3f} h = {result.makespan / result.ideal:6.3f} x ideal  "
        f"driver busy {result.driver_share:6.1%}  {result.lost:4} workers lost, "
        f"{result.wasted_share:.2%} rendered for nothing  ({result.real_seconds:.0f} s to simulate)",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--render-seconds", type=float, default=30.0)
    parser.add_argument("--lost-an-hour", type=float, default=0.01)
    parser.add_argument("--boot-seconds", type=float, default=60.0)
    parser.add_argument(
        "--driver-ms", type=float, default=1.0, help="as floor.py dispatch measured"
    )
    options = parser.parse_args(arguments)
    world = World(
        options.tasks,
        options.gpus,
        options.render_seconds,
        boot_seconds=options.boot_seconds,
        lost_an_hour=options.lost_an_hour,
        driver_seconds=options.driver_ms / 1000,
    )
    result = simulate(world)
    tell(world, result)
    assert result.done == world.tasks
    print("where the driver becomes the limit:")
    for seconds in (10.0, 3.0, 2.0, 1.0, 0.5):
        shorter = World(
            min(options.tasks, 100_000),
            options.gpus,
            seconds,
            boot_seconds=options.boot_seconds,
            lost_an_hour=options.lost_an_hour,
            driver_seconds=options.driver_ms / 1000,
        )
        tell(shorter, simulate(shorter))
    limit = options.gpus * options.driver_ms / 1000
    print(
        f"One driver hands out {1000 / options.driver_ms:,.0f} tasks a second, so renders shorter than about "
        f"{limit:g} s leave {options.gpus:,} GPUs waiting for it. Then: paint small pictures together "
        "(workers.batch), which makes one call of many; or split the manifest, and run each part with an "
        "output and a driver of its own."
    )


if __name__ == "__main__":
    main()
