"""Which ticks are due now: the one that is run, and those that were missed. Pure; no clock, no files.

One rule serves the moment of a tick, a service that was down, and a machine that slept: of everything due
since it was last looked, the latest is run if it is not older than ``starting_deadline``, and all the others
were missed. So it is with Kubernetes' CronJob.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.schedule.ticks import next_tick, ticks_between
from jobs.spec.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Missed:
    """Ticks in a row that are not run."""

    first: datetime
    last: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now."""

    run: datetime | None
    """The tick to run."""
    missed: Missed | None
    seen: datetime
    """Up to here everything is accounted for."""


def due(schedule: Schedule, seen: datetime, now: datetime) -> Due:
    """What is due by ``now`` of what comes after ``seen``."""
    latest: datetime | None = None
    missed: Missed | None = None
    for tick in ticks_between(schedule, seen, now):
        missed = _extended(missed, latest)
        latest = tick
    if latest is None:
        return Due(run=None, missed=None, seen=seen)
    deadline = schedule.starting_deadline
    if deadline is not None and now - latest > timedelta(seconds=deadline):
        return Due(run=None, missed=_extended(missed, latest), seen=latest)
    return Due(run=latest, missed=missed, seen=latest)


def _extended(missed: Missed | None, tick: datetime | None) -> Missed | None:
    if tick is None:
        return missed
    if missed is None:
        return Missed(first=tick, last=tick, count=1)
    return Missed(first=missed.first, last=tick, count=missed.count + 1)


def upcoming(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    """The next ticks."""
    ticks = []
    for _ in range(count):
        now = next_tick(schedule, now)
        ticks.append(now)
    return ticks
