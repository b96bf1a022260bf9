"""When a schedule is due: pure arithmetic on moments, without a clock.

``cron`` names times on the wall clock of a zone. When the zone's clock changes in spring and autumn:

* a time that is skipped, because the clock is put forward over it, is due once, at the moment of the change;
* a time that comes twice, because the clock is put back, is due once, the first time;
* ``*`` for the hour (or all 24 of them) means every hour that exists, not a time of the day: an hour that
  comes twice is due twice, and one that is skipped is not made up for.

``every`` counts from 1970-01-01 00:00 UTC, so its ticks are the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache

from jobs.cron import Cron, parse_cron
from jobs.spec.schedule import Schedule
from jobs.time_zones import find_zone

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_DAYS = 366 * 9
"""Days to search: a 29th of February may be eight years after the last, across a century."""


def next_tick(schedule: Schedule, after: datetime) -> datetime:
    """Return the first tick later than a moment.

    Args:
        schedule: A valid schedule, with ``cron`` or ``every``.
        after: An aware moment, in any zone.

    Returns:
        The tick, in UTC.
    """
    if schedule.every is not None:
        step = timedelta(seconds=schedule.every)
        return EPOCH + ((after - EPOCH) // step + 1) * step
    assert schedule.cron is not None
    return _next_of_cron(parse_cron(schedule.cron), find_zone(schedule.time_zone), after)


def ticks_between(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield every tick between two moments, in order, in UTC.

    Args:
        schedule: A valid schedule.
        after: The first moment, aware; a tick of this very moment is left out.
        until: The last moment, aware; a tick of this very moment is included.
    """
    tick = next_tick(schedule, after)
    while tick <= until:
        yield tick
        tick = next_tick(schedule, tick)


def _next_of_cron(cron: Cron, zone: tzinfo, after: datetime) -> datetime:
    # Begin a day early: a clock that is put back over midnight shows the earlier day again.
    day = after.astimezone(zone).date() - timedelta(days=1)
    best: datetime | None = None
    for _ in range(MAX_DAYS):
        first = next((moment for moment in _moments(cron, zone, day) if moment > after), None)
        if best is not None:
            # The next day may begin before this one has ended for the second time.
            return best if first is None else min(best, first)
        best = first
        day += timedelta(days=1)
    if best is None:
        raise AssertionError("parse_cron has let a day pass that never comes")
    return best


@lru_cache(maxsize=64)
def _moments(cron: Cron, zone: tzinfo, day: date) -> tuple[datetime, ...]:
    """Return the moments at which a cron expression is due by one day's date, in order and once each."""
    if not cron.has(day):
        return ()
    moments: set[datetime] = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            wall = datetime.combine(day, time(hour, minute))
            if cron.every_hour:
                moments.update(_every_occurrence(wall, zone))
            else:
                moments.add(_first_occurrence(wall, zone))
    return tuple(sorted(moments))


def _every_occurrence(wall: datetime, zone: tzinfo) -> Iterator[datetime]:
    for fold in (0, 1):
        moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if _wall(moment, zone) == wall:
            yield moment


def _first_occurrence(wall: datetime, zone: tzinfo) -> datetime:
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(first, zone) == wall:
        return first
    # In a gap, fold 0 uses the offset before the gap and gives a moment after it; fold 1 is the reverse.
    before, behind = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first
    new = behind.astimezone(zone).utcoffset()
    while behind - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(behind - before).total_seconds() // 2)
        if middle.astimezone(zone).utcoffset() == new:
            behind = middle
        else:
            before = middle
    return behind


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)
