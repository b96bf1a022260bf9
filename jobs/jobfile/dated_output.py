"""When a job is rendered, and where to: ``s3://renders/{date}`` -> ``s3://renders/2026-11-25`` by one moment.

The moment is that of the tick, wherever and however late its run begins; of a run that somebody begins by
hand it is now, or what ``--at`` says.
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


def schedule_of(job: Job) -> Schedule:
    """The schedule of a job. Raises JobFileError when it has none."""
    if job.spec.schedule is None:
        problem = job.problem(("schedule",), 'is not given; e.g. schedule: {cron: "0 2 * * *"}')
        raise JobFileError([problem])
    return job.spec.schedule


def wall_text(job: Job, moment: datetime) -> str:
    """A moment as the clock of the job's schedule shows it."""
    return moment.astimezone(zone_of(job)).strftime("%Y-%m-%d %H:%M:%S %Z")


def zone_of(job: Job) -> tzinfo:
    """The zone of its schedule; without one, UTC."""
    schedule = job.spec.schedule
    return find_zone("UTC" if schedule is None else schedule.time_zone)


def is_dated(job: Job) -> bool:
    """Whether its output is another one at another time."""
    return "{" in job.spec.output


def dated(job: Job, when: datetime) -> Job:
    """The job with its output as it is at ``when`` (aware)."""
    if not is_dated(job):
        return job
    there = when.astimezone(zone_of(job))
    # Of an hour that comes twice, the second is told apart.
    again = there.strftime("%z") if there.fold else ""
    output = job.spec.output.replace("{date}", there.strftime("%Y-%m-%d"))
    output = output.replace("{time}", there.strftime("%H-%M-%S") + again)
    return replace(job, spec=job.spec.model_copy(update={"output": output}))


def dated_at(job: Job, at: str | None) -> Job:
    """The same at the moment that ``--at`` says, or now. Raises UsageError when that is no moment."""
    return dated(job, read_moment(at, zone_of(job)) if at else now())


def pattern_of(output: str) -> re.Pattern[str]:
    """What every output of a template looks like."""
    parts = re.split(r"\{(date|time)\}", output)
    return re.compile(
        "".join(_FIELDS[part] if k % 2 else re.escape(part) for k, part in enumerate(parts))
    )


def read_moment(text: str, zone: tzinfo) -> datetime:
    """What ``--at`` says: a date, or a date and time in ISO 8601, in ``zone`` where it names none. Raises
    UsageError."""
    written = text.strip()
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", written):
            return datetime.combine(date.fromisoformat(written), time(), zone)
        # Python 3.10 knows no Z.
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", written))
    except ValueError:
        raise UsageError(
            f"--at {text} is no moment: give a date such as 2026-11-25, or 2026-11-25T02:00"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def now() -> datetime:
    """This moment."""
    return datetime.now(timezone.utc)
