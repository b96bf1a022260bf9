"""The command ``python -m cluster.due JOB``: whether a tick of a job's schedule is due.

It is for timers that make up for missed ticks however late they are: systemd runs it as ``ExecCondition``.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone

from cluster.display.standard import only_shown
from cluster.schedule.ticks import next_tick
from jobs.errors import StylefarmError
from jobs.jobfile.dated_output import schedule_of
from jobs.jobfile.parse import read_job
from jobs.spec.schedule import Schedule

HELP = """\
Usage: python -m cluster.due JOB

Check whether a tick of a job's schedule is due now, or was due within its starting_deadline.
Exported systemd units run it as ExecCondition, before the job.

Exit status:
  0  a tick is due, the schedule has no starting_deadline, or the job file cannot be used, which
     the command that follows then reports
  1  no tick is due, so nothing is to be rendered now
  2  the command line is wrong
"""

SLACK = timedelta(seconds=60)
"""How late a timer may be though nothing is wrong."""


def is_due(schedule: Schedule, now: datetime) -> bool:
    """Return whether a tick was due by ``now`` that is not older than the deadline; without one, True."""
    if schedule.starting_deadline is None:
        return True
    oldest = now - timedelta(seconds=schedule.starting_deadline) - SLACK
    return next_tick(schedule, oldest) <= now


def main() -> None:
    """Run the command and exit with a status of ``HELP``, whether or not what it says can be written."""
    with only_shown("the check"):
        status = _check()
    sys.exit(status)


def _check() -> int:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(HELP, end="", file=sys.stdout if len(sys.argv) == 2 else sys.stderr)
        return 0 if len(sys.argv) == 2 else 2
    try:
        due = is_due(schedule_of(read_job(sys.argv[1])), datetime.now(timezone.utc))
    except StylefarmError as error:
        print(error, file=sys.stderr)
        # For systemd 1 to 254 mean "not now", which would hide the error: the run itself reports it.
        return 0
    if not due:
        print("missed: no tick was due within starting_deadline, so nothing is rendered now")
    return 0 if due else 1


if __name__ == "__main__":
    main()
