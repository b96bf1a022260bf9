"""When schedules are due, over years with both changes of the clock, against a count of every minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.ticks import next_tick, ticks_between
from jobs.spec import Schedule

UTC = timezone.utc
MINUTE = timedelta(minutes=1)
ROME, YORK, HOWE = "Europe/Rome", "America/New_York", "Australia/Lord_Howe"
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def schedule(cron: str, zone: str = "UTC") -> Schedule:
    return Schedule.model_validate({"cron": cron, "time_zone": zone})


def walls(zone: str) -> Iterator[tuple[datetime, datetime, bool]]:
    """Every minute of the year, what the clock on the wall says then, and whether it says so again."""
    there, moment = ZoneInfo(zone), BEGIN
    while moment < END:
        wall = moment.astimezone(there)
        yield moment, wall.replace(tzinfo=None, fold=0), bool(wall.fold)
        moment += MINUTE


def gaps(zone: str) -> dict[datetime, datetime]:
    """Times that the clock never shows -> the moment at which it is put forward over them."""
    found, before = {}, None
    for moment, wall, _ in walls(zone):
        if before is not None and wall > before + MINUTE:
            skipped = before + MINUTE
            while skipped < wall:
                found[skipped] = moment
                skipped += MINUTE
        before = wall
    return found


def counted(zone: str, hour: int | None, minute: int) -> list[datetime]:
    """The ticks of ``minute hour * * *`` (or of each hour), found by looking at the clock all year."""
    found = set()
    for moment, wall, again in walls(zone):
        if wall.minute == minute and (hour is None or (wall.hour == hour and not again)):
            found.add(moment)
    if hour is not None:
        for wall, moment in gaps(zone).items():
            if (wall.hour, wall.minute) == (hour, minute):
                found.add(moment)
    return sorted(found)


@pytest.mark.parametrize("zone", [ROME, YORK, HOWE])
@pytest.mark.parametrize(
    ("hour", "minute"), [(0, 0), (1, 30), (2, 0), (2, 15), (2, 30), (3, 0), (12, 5), (None, 10)]
)
def test_a_year_has_the_ticks_that_a_look_at_the_clock_finds(zone, hour, minute):
    asked = schedule(f"{minute} {'*' if hour is None else hour} * * *", zone)

    ticks = list(ticks_between(asked, BEGIN - MINUTE, END - MINUTE))

    assert ticks == counted(zone, hour, minute)
    if hour is not None:
        assert len(ticks) in (365, 366)  # a year in UTC may hold one more of theirs


def test_the_clock_is_put_forward_and_back():
    night = schedule("30 2 * * *", ROME)
    # 29 March 2026: from 02:00 to 03:00 at 01:00 UTC; 25 October: from 03:00 to 02:00 at 01:00 UTC.
    assert next_tick(night, datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(
        2026, 3, 29, 1, tzinfo=UTC
    )
    assert next_tick(night, datetime(2026, 3, 29, 1, tzinfo=UTC)) == datetime(
        2026, 3, 30, 0, 30, tzinfo=UTC
    )
    assert next_tick(night, datetime(2026, 10, 24, 12, tzinfo=UTC)) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    assert next_tick(night, datetime(2026, 10, 25, 0, 30, tzinfo=UTC)) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


def test_each_hour_that_there_is_has_its_tick():
    hourly = schedule("0 * * * *", ROME)
    ticks = list(ticks_between(hourly, BEGIN - MINUTE, END - MINUTE))

    assert ticks == [BEGIN + timedelta(hours=k) for k in range(365 * 24)]


def test_either_day_is_enough_as_it_is_to_cron():
    friday_or_13th = schedule("0 0 13 * fri")
    ticks = list(ticks_between(friday_or_13th, BEGIN - MINUTE, END))

    assert all(t.day == 13 or t.weekday() == 4 for t in ticks)
    assert sum(t.day == 13 for t in ticks) == 12
    assert sum(t.weekday() == 4 for t in ticks) == 53


def test_a_rare_day_is_found():
    assert next_tick(schedule("0 0 29 2 *"), BEGIN) == datetime(2028, 2, 29, tzinfo=UTC)


def test_every_counts_the_same_after_a_restart():
    often = Schedule.model_validate({"every": "90s"})
    first = next_tick(often, datetime(2026, 5, 1, 10, 0, 0, 1, tzinfo=UTC))

    assert first.timestamp() % 90 == 0
    assert next_tick(often, first) - first == timedelta(seconds=90)
    assert next_tick(often, first - timedelta(milliseconds=1)) == first


FIELD = st.one_of(
    st.just("*"),
    st.integers(2, 20).map("*/{}".format),
    st.lists(st.integers(1, 12), min_size=1, max_size=3).map(lambda v: ",".join(map(str, v))),
    st.tuples(st.integers(1, 6), st.integers(6, 12)).map(lambda v: f"{v[0]}-{v[1]}"),
)


@settings(max_examples=150, deadline=None)
@given(
    fields=st.tuples(
        FIELD, FIELD, FIELD, FIELD, st.sampled_from(["*", "1-5", "sun", "mon,wed", "7"])
    ),
    zone=st.sampled_from([ROME, YORK, HOWE, "UTC", "Asia/Kathmandu"]),
    after=st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)),
)
def test_the_next_tick_is_the_first_of_those_after(fields, zone, after):
    asked = schedule(" ".join(fields), zone)

    tick = next_tick(asked, after)

    assert tick > after
    assert tick.second == tick.microsecond == 0
    # Nothing is between: asked from anywhere before it, it is the same.
    assert next_tick(asked, after + (tick - after) / 2) == tick
    assert next_tick(asked, tick - timedelta(microseconds=1)) == tick
