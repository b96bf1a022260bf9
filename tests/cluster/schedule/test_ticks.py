"""When schedules are due, over years with both changes of the clock, against a count of every minute."""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.schedule.ticks import next_tick, ticks_between
from jobs.spec.schedule import Schedule

UTC = timezone.utc
MINUTE = timedelta(minutes=1)
ROME, YORK, HOWE = "Europe/Rome", "America/New_York", "Australia/Lord_Howe"
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def schedule(cron: str, zone: str = "UTC") -> Schedule:
    return Schedule.model_validate({"cron": cron, "time_zone": zone})


@cache
def walls(zone: str) -> array[int]:
    """Of every minute of the year the minute of the day that the clock on the wall shows; negative where it
    shows it for the second time."""
    there, moment, shown = ZoneInfo(zone), BEGIN, array("h")
    while moment < END:
        wall = moment.astimezone(there)
        minute = 60 * wall.hour + wall.minute
        shown.append(-minute - 1 if wall.fold else minute)
        moment += MINUTE
    return shown


def counted(zone: str, hour: int | None, minute: int) -> list[datetime]:
    """The ticks of ``minute hour * * *`` (or of each hour), found by looking at the clock all year."""
    ticks, before = [], None
    for k, shown in enumerate(walls(zone)):
        wall = shown if shown >= 0 else -shown - 1
        if hour is None:
            due = wall % 60 == minute
        else:
            due = shown == 60 * hour + minute
            # Put forward over it: it is due now.
            due = due or (before is not None and before < 60 * hour + minute < wall)
        if due:
            ticks.append(BEGIN + k * MINUTE)
        before = wall
    return ticks


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


@settings(max_examples=150)
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
