"""Outputs that depend on a moment: ``s3://renders/{date}`` -> ``s3://renders/2026-11-25``.

The moment of a scheduled run is its tick, wherever and however late the run begins. The moment of any other
run is now, or the value of ``--at``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, time, timezone, tzinfo

from jobs.errors import JobFileError, UsageError
from jobs.jobfile.job import Job
from jobs.spec.schedule import Schedule
from jobs.time_zones import find_zone

_FIELDS = {"date": r"\d{4}-\d\d-\d\d", "time": r"\d\d-\d\d-\d\d(?:[+-]\d{4})?"}
"""A pattern for the values of each field."""


def schedule_of(job: Job) -> Schedule:
    """Return the schedule of a job. Raises JobFileError when it has none."""
    if job.spec.schedule is None:
        problem = job.problem(("schedule",), 'is not given; e.g. schedule: {cron: "0 2 * * *"}')
        raise JobFileError([problem])
    return job.spec.schedule


def wall_text(job: Job, moment: datetime) -> str:
    """Return a moment (aware) as text, in the zone of the job's schedule."""
    return moment.astimezone(zone_of(job)).strftime("%Y-%m-%d %H:%M:%S %Z")


def zone_of(job: Job) -> tzinfo:
    """Return the time zone of the job's schedule; UTC without a schedule."""
    schedule = job.spec.schedule
    return find_zone("UTC" if schedule is None else schedule.time_zone)


def is_dated(job: Job) -> bool:
    """Return whether the job's output depends on the moment: it has ``{date}`` or ``{time}``."""
    return "{" in job.spec.output


def dated(job: Job, when: datetime) -> Job:
    """Return the job with its output at the moment ``when`` (aware), in the schedule's zone."""
    if not is_dated(job):
        return job
    there = when.astimezone(zone_of(job))
    # An hour that comes twice has two outputs: the second has its offset from UTC.
    again = there.strftime("%z") if there.fold else ""
    output = job.spec.output.replace("{date}", there.strftime("%Y-%m-%d"))
    output = output.replace("{time}", there.strftime("%H-%M-%S") + again)
    spec = job.spec.model_copy(update={"output": output})
    return replace(job, spec=spec, template=job.output_template)


def dated_at(job: Job, at: str | None) -> Job:
    """Return the job with its output at the moment ``at``, the value of ``--at``; None: now.

    Raises UsageError when ``at`` is no moment.
    """
    return dated(job, read_moment(at, zone_of(job)) if at else now())


def pattern_of(output: str) -> re.Pattern[str]:
    """Return a pattern that matches every output of a template such as ``s3://renders/{date}``."""
    parts = re.split(r"\{(date|time)\}", output)
    return re.compile(
        "".join(_FIELDS[part] if k % 2 else re.escape(part) for k, part in enumerate(parts))
    )


def read_moment(text: str, zone: tzinfo) -> datetime:
    """Parse the value of ``--at``.

    Args:
        text: A date, or a date and time in ISO 8601.
        zone: The zone of a text that names none.

    Returns:
        The moment, aware; a date alone means its midnight.

    Raises:
        UsageError: The text is neither.
    """
    written = text.strip()
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", written):
            return datetime.combine(date.fromisoformat(written), time(), zone)
        # Python 3.10 does not parse Z.
        parsed = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", written))
    except ValueError:
        raise UsageError(
            f"--at {text} is not a date or a time: give a date such as 2026-11-25, or 2026-11-25T02:00"
        ) from None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=zone)


def now() -> datetime:
    """Return the current moment, aware, in UTC."""
    return datetime.now(timezone.utc)
