"""A day of a shared floor, in simulated time: ``python tests/bench/sharing.py [--gpus 1000] [--jobs 200]``.

Jobs arrive at random (Poisson), of heavy-tailed sizes (Pareto), in four priorities. The shares are those of
the real ``FloorManager``; what is simulated is the painting: pictures of two minutes on a GPU, eight seconds
until a worker is up, and five until one that is given back has stored its checkpoint. Beside it, on the same
jobs:

    first come    as before there were shares: a run takes every GPU that it finds, and keeps it to its end
    ideal         the same rule without any delay, with GPUs that can be divided at will (processor sharing)

Printed are the mean slowdown of each priority (time in the system, divided by that on an empty floor), the
ratio to the ideal, the longest wait for a first worker, and what the manager costs.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cluster.floor.asking import Ask
from cluster.floor.manager import FloorManager, Supply

PICTURE_SECONDS = 120.0
START_SECONDS = 8.0
LEAVE_SECONDS = 5.0
STEP = 10.0
"""Seconds of simulated time between two looks."""
PER_NODE = 8
PRIORITIES = (25, 50, 75, 100)
SHARES = (0.3, 0.5, 0.15, 0.05)
"""Of the jobs, by priority."""


@dataclass
class Job:
    """A job of so many pictures."""

    name: str
    came: float
    pictures: int
    priority: int
    left: float = field(init=False)
    """GPU seconds that are left."""
    first: float | None = None
    """When its first worker was up."""
    ended: float | None = None
    share: int = 0
    up: list[float] = field(default_factory=list)
    """When each of its workers is up."""
    leaving: list[float] = field(default_factory=list)
    """When each GPU that it gives back is free."""

    def __post_init__(self) -> None:
        self.left = self.pictures * PICTURE_SECONDS

    @property
    def width(self) -> int:
        """Workers that it could use."""
        return max(0, min(self.pictures, -int(-self.left // PICTURE_SECONDS)))

    def alone(self, gpus: int) -> float:
        """Seconds that it takes on an empty floor."""
        rounds = -(-self.pictures // gpus)
        return START_SECONDS + rounds * PICTURE_SECONDS


def make_jobs(count: int, gpus: int, load: float, seed: int) -> list[Job]:
    """Jobs of a day that keep so much of the floor busy."""
    dice = random.Random(seed)
    sizes = [dice.paretovariate(1.1) for _ in range(count)]
    sizes = [min(size, 200.0) for size in sizes]
    scale = load * gpus * 86400 / PICTURE_SECONDS / sum(sizes)
    came = sorted(dice.uniform(0, 86400) for _ in range(count))
    levels = dice.choices(PRIORITIES, SHARES, k=count)
    return [
        Job(f"job{k:03}", at, max(1, round(size * scale)), level)
        for k, (at, size, level) in enumerate(zip(came, sizes, levels, strict=True))
    ]


def shared(jobs: Sequence[Job], gpus: int) -> float:
    """Let the manager share the floor out; return its CPU seconds for each simulated second."""
    now = 0.0
    manager = FloorManager(clock=lambda: now)
    nodes = [f"node{k:03}" for k in range(gpus // PER_NODE)]
    supply = [Supply(n, n, {"GPU": float(PER_NODE)}, {}) for n in nodes]
    free_at: dict[str, list[float]] = {node: [] for node in nodes}
    held: dict[str, dict[str, int]] = {job.name: {} for job in jobs}
    alive: list[Job] = []
    coming = list(jobs)
    cost = 0.0
    manager.see(supply)
    while coming or alive:
        now += STEP
        while coming and coming[0].came <= now:
            alive.append(coming.pop(0))
        began = time.process_time()
        for job in alive:
            share = manager.ask(
                Ask(
                    job.name,
                    job.name,
                    "",
                    "",
                    job.width,
                    1.0,
                    priority=job.priority,
                    held=held[job.name],
                    up=held[job.name],
                )
            )
            if share is not None:
                _follow(job, share.workers, held[job.name], free_at, now)
        cost += time.process_time() - began
        for job in list(alive):
            _paint(job, now)
            if job.ended is not None:
                alive.remove(job)
                manager.leave(job.name)
                held[job.name].clear()
    return cost / now


def _follow(
    job: Job, share: object, held: dict[str, int], free_at: dict[str, list[float]], now: float
) -> None:
    """Give back what is beyond the share, and start what is missing on GPUs that are free by then."""
    wanted = dict(share)  # type: ignore[call-overload]
    for node, count in list(held.items()):
        for _ in range(count - wanted.get(node, 0)):
            held[node] -= 1
            job.up.sort()
            job.up.pop()
            heapq.heappush(free_at[node], now + LEAVE_SECONDS)
        if not held[node]:
            del held[node]
    for node, count in wanted.items():
        for _ in range(count - held.get(node, 0)):
            ready = heapq.heappop(free_at[node]) if free_at[node] else now
            held[node] = held.get(node, 0) + 1
            job.up.append(max(now, ready) + START_SECONDS)


def _paint(job: Job, now: float) -> None:
    """Paint for one step."""
    busy = sum(min(STEP, max(0.0, now - up)) for up in job.up)
    if busy and job.first is None:
        job.first = now
    job.left -= busy
    if job.left <= 0:
        job.ended = now


def first_come(jobs: Sequence[Job], gpus: int) -> None:
    """Each run takes every GPU that it finds and can use, in the order in which they came."""
    now, coming, alive = 0.0, list(jobs), list[Job]()
    while coming or alive:
        now += STEP
        while coming and coming[0].came <= now:
            alive.append(coming.pop(0))
        free = gpus - sum(len(job.up) for job in alive)
        for job in alive:
            del job.up[job.width :]
            more = min(free, job.width - len(job.up))
            job.up += [now + START_SECONDS] * more
            free -= more
        for job in list(alive):
            _paint(job, now)
            if job.ended is not None:
                alive.remove(job)


def ideal(jobs: Sequence[Job], gpus: int) -> None:
    """By priority, then in equal parts, of GPUs that can be divided and change hands at once."""
    now, coming, alive = 0.0, list(jobs), list[Job]()
    while coming or alive:
        now += STEP
        while coming and coming[0].came <= now:
            alive.append(coming.pop(0))
        room = float(gpus)
        parts = {job.name: min(1.0, room / max(1, len(alive)), job.width) for job in alive}
        room -= sum(parts.values())
        for priority in sorted({job.priority for job in alive}, reverse=True):
            peers = sorted((j for j in alive if j.priority == priority), key=lambda j: j.width)
            for rank, job in enumerate(peers):
                part = min(job.width, parts[job.name] + room / (len(peers) - rank))
                room -= part - parts[job.name]
                parts[job.name] = part
        for job in list(alive):
            job.left -= parts[job.name] * min(STEP, now - job.came)
            if job.first is None and parts[job.name]:
                job.first = now
            if job.left <= 0:
                job.ended = now + START_SECONDS  # everybody's first worker must start
                alive.remove(job)


def slowdowns(jobs: Sequence[Job], gpus: int) -> dict[int, float]:
    """The mean of each priority; 0 stands for all."""
    found: dict[int, list[float]] = {0: []}
    for job in jobs:
        assert job.ended is not None
        value = (job.ended - job.came) / job.alone(gpus)
        found[0].append(value)
        found.setdefault(job.priority, []).append(value)
    return {priority: statistics.mean(values) for priority, values in sorted(found.items())}


def main() -> None:
    """Simulate the day in all three ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--load", type=float, default=0.8, help="part of the floor that is busy")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    ways: dict[str, Callable[[Sequence[Job], int], object]] = {
        "first come": first_come,
        "shared": shared,
        "ideal": ideal,
    }
    means: dict[str, dict[int, float]] = {}
    for name, way in ways.items():
        jobs = make_jobs(given.jobs, given.gpus, given.load, given.seed)
        cost = way(jobs, given.gpus)
        means[name] = slowdowns(jobs, given.gpus)
        waits = [(job.first or 0.0) - job.came for job in jobs]
        line = ", ".join(f"{p or 'all'}: {mean:.2f}" for p, mean in means[name].items())
        print(f"{name:10}  slowdown {line}; longest wait {max(waits):.0f} s", flush=True)
        if isinstance(cost, float):
            print(f"{'':10}  the manager takes {100 * cost:.2f}% of a core (target 2%)")
    for priority in means["ideal"]:
        ratio = means["shared"][priority] / means["ideal"][priority]
        print(f"{priority or 'all'}: {ratio:.3f} of the ideal (target 1.2)")


if __name__ == "__main__":
    main()
