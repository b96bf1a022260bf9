"""Which ticks are due now: the one to run, and those that were missed. Pure: no clock, no files.

One rule serves a tick on time, a service that was down and a machine that slept: among all ticks due since
the last check, the latest runs if it is not older than ``starting_deadline``, and the others were missed.
A CronJob of Kubernetes has the same rule.
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
    """What to do about the ticks that are due."""

    run: datetime | None
    """The tick to run now; None: none."""
    missed: Missed | None
    """The ticks to record as missed; None: none."""
    seen: datetime
    """The moment up to which every tick is accounted for."""


def due(schedule: Schedule, seen: datetime, now: datetime) -> Due:
    """Return what to do about the ticks that are due since the last check.

    Args:
        schedule: A valid schedule.
        seen: The moment up to which every tick is accounted for, aware; only later ticks count.
        now: The current moment, aware; a tick of this very moment is due.
    """
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
    """Return the next ticks after a moment, in UTC.

    Args:
        schedule: A valid schedule.
        now: The moment, aware; a tick of this very moment is left out.
        count: The number of ticks, >= 0.
    """
    ticks = []
    for _ in range(count):
        now = next_tick(schedule, now)
        ticks.append(now)
    return ticks
