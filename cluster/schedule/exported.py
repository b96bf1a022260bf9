"""What the exports to Kubernetes and to systemd share: a name, and one cron expression."""

from __future__ import annotations

import re

from jobs.cron import Cron, parse_cron
from jobs.errors import UsageError
from jobs.spec.schedule import Schedule

HOUR, DAY = 3600, 86400


def cron_of(schedule: Schedule) -> tuple[Cron, str]:
    """Return a schedule as a cron expression, and the time zone of that expression.

    Raises:
        UsageError: No cron expression is due at the same times, as with ``every: 45m``, which is at another
            minute every hour.
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
        f"schedule.every is {seconds:g} s, which only stylefarm schedule itself supports: to export it, "
        "give minutes that divide an hour, hours that divide a day, or cron:"
    )


LONGEST_NAME = 52
"""The longest name of a CronJob: Kubernetes appends 11 characters for its Jobs, and allows 63."""


def slug(name: str, longest: int) -> str:
    """Return a name that Kubernetes and systemd accept, of at most ``longest`` characters."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:longest].strip("-") or "job"
