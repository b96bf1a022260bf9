"""Cron expressions in the words of systemd's timers (systemd.time(7), "calendar events")."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.cron import Cron, parse_cron
from jobs.errors import UsageError
from jobs.spec.schedule import Schedule

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")

HOUR, DAY = 3600, 86400


def cron_of(schedule: Schedule) -> tuple[Cron, str]:
    """What a schedule comes to as a cron expression, and in which time zone.

    Raises UsageError for an ``every`` that no clock shows: 45 minutes are at another minute every hour.
    """
    if schedule.cron is not None:
        return parse_cron(schedule.cron), schedule.time_zone
    seconds = schedule.every or 0.0
    if seconds >= 60 and seconds % 60 == 0 and HOUR % seconds == 0:
        return parse_cron(
            f"*/{int(seconds // 60)} * * * *" if seconds < HOUR else "0 * * * *"
        ), "UTC"
    if seconds % HOUR == 0 and DAY % seconds == 0:
        return parse_cron(f"0 */{int(seconds // HOUR)} * * *" if seconds < DAY else "@daily"), "UTC"
    raise UsageError(
        f"schedule.every is {seconds:g} s, which only stylefarm schedule itself keeps: to export it, give "
        "minutes that an hour is divided by, hours that a day is divided by, or cron:"
    )


def on_calendar(cron: Cron, time_zone: str) -> list[str]:
    """The calendar events that come to a cron expression: one, or two where it names days of the month and
    days of the week, of which either is enough."""
    month = _numbers(cron.months, 1, 12)
    time = f"{_numbers(cron.hours, 0, 23)}:{_numbers(cron.minutes, 0, 59)}:00 {time_zone}"
    month_day = _numbers(cron.days, 1, 31)
    week = "" if len(cron.weekdays) == len(DAYS) else f"{_week(cron.weekdays)} "
    if cron.any_day or cron.any_weekday:
        return [f"{week}*-{month}-{month_day} {time}"]
    if not week or month_day == "*":  # all of the one, so the other adds nothing
        return [f"*-{month}-* {time}"]
    return [f"*-{month}-{month_day} {time}", f"{week}*-{month}-* {time}"]


def _week(days: Sequence[int]) -> str:
    # Their week begins on Monday.
    return ",".join(DAYS[day] for day in sorted(days, key=lambda day: (day - 1) % 7))


def _numbers(values: Sequence[int], low: int, high: int) -> str:
    if len(values) == high - low + 1:
        return "*"
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    texts = []
    for run in runs:
        if len(run) > 2:
            texts.append(f"{run[0]:02}..{run[-1]:02}")
        else:
            texts += [f"{value:02}" for value in run]
    return ",".join(texts)
