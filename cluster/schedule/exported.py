"""What schedules for Kubernetes and for systemd share: a name, and one cron expression."""

from __future__ import annotations

import re

from jobs.cron import Cron, parse_cron
from jobs.errors import UsageError
from jobs.spec.schedule import Schedule

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


LONGEST_NAME = 52
"""Of a CronJob: its Jobs get eleven characters more, of the 63 that there may be."""


def slug(name: str, longest: int) -> str:
    """A name as Kubernetes and systemd take it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:longest].strip("-") or "job"
