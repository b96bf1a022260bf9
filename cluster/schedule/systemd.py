"""A job's schedule as units of systemd, with calendar events as in systemd.time(7)."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.schedule.exported import LONGEST_NAME, cron_of, slug
from cluster.schedule.tick_process import STOP_SECONDS, Command
from jobs.cron import Cron
from jobs.errors import UsageError
from jobs.jobfile.dated_output import schedule_of
from jobs.jobfile.job import Job

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def on_calendar(cron: Cron, time_zone: str) -> list[str]:
    """Return the calendar events that are due when a cron expression is.

    There are two where the expression names days of the month and days of the week, because either is enough.
    """
    month = _numbers(cron.months, 1, 12)
    time = f"{_numbers(cron.hours, 0, 23)}:{_numbers(cron.minutes, 0, 59)}:00 {time_zone}"
    month_day = _numbers(cron.days, 1, 31)
    week = "" if len(cron.weekdays) == len(DAYS) else f"{_week(cron.weekdays)} "
    if cron.any_day or cron.any_weekday:
        return [f"{week}*-{month}-{month_day} {time}"]
    if not week or month_day == "*":  # one of the two is every day, so the other adds nothing
        return [f"*-{month}-* {time}"]
    return [f"*-{month}-{month_day} {time}", f"{week}*-{month}-* {time}"]


def _week(days: Sequence[int]) -> str:
    # In systemd a week begins on Monday.
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


def systemd(job: Job, command: Command) -> dict[str, str]:
    """Return the texts of the units that render a job, by file name.

    Args:
        job: The job, as ``read_job`` returns it.
        command: How it is rendered.

    Raises:
        JobFileError: The job has no schedule.
        UsageError: systemd cannot express the schedule, or a unit cannot hold a text of the job.
    """
    schedule = schedule_of(job)
    cron, zone = cron_of(schedule)
    name = f"stylefarm-{slug(job.spec.name, LONGEST_NAME)}"
    policy = schedule.concurrency_policy
    file = str(Path(job.file).absolute())
    service = f"{name}@.service" if policy == "allow" else f"{name}.service"
    units = {
        service: _SERVICE.format(
            name=_escaped(job.spec.name),
            folder=_escaped(str(Path(file).parent)),
            environment="".join(
                f"Environment={_quoted(_escaped(f'{name}={value}'))}\n"
                for name, value in job.environment.items()
            ),
            condition=_line([sys.executable, "-m", "cluster.due", file]),
            command=_line(command.words(job)),
            stop=math.ceil(job.spec.workers.grace + STOP_SECONDS),
        )
    }
    started = service
    if policy != "forbid":
        # A timer does nothing while its unit runs, which is "forbid". For the other policies it activates a
        # unit that ends at once and starts the service. MANAGERPID is set where systemd is a user's own.
        what = f"restart {service}"
        if policy == "allow":
            what = f"start {name}@$(date +%s).service"
        started = f"{name}-start.service"
        shell = f"exec systemctl ${{MANAGERPID:+--user}} --no-block {what}"
        units[started] = _STARTER.format(
            name=_escaped(job.spec.name), command=_line(["/bin/sh", "-c", shell])
        )
    units[f"{name}.timer"] = _TIMER.format(
        name=_escaped(job.spec.name),
        unit=started,
        events="\n".join(f"OnCalendar={event}" for event in on_calendar(cron, zone)),
    )
    return {
        unit: _SYSTEMD.format(
            timer=f"{name}.timer", service=service.replace("@", "@*"), files=" ".join(units)
        )
        + text
        for unit, text in units.items()
    }


_SYSTEMD = """\
# One of: {files}
# Put them into ~/.config/systemd/user (or /etc/systemd/system, and omit --user), then:
#
#   systemctl --user daemon-reload && systemctl --user enable --now {timer}
#   systemctl --user list-timers; journalctl --user -u '{service}'
"""


_SERVICE = """\
[Unit]
Description=Render {name} with stylefarm
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
{environment}# Keys for S3 and the like, as NAME=value; the file is optional.
EnvironmentFile=-%h/.config/stylefarm/environment
# A tick that was missed by more than starting_deadline is not made up for.
ExecCondition={condition}
ExecStart={command}
# Running tasks store checkpoints first.
KillMode=mixed
TimeoutStopSec={stop}
# Interrupted; the next start resumes.
SuccessExitStatus=130
"""


_STARTER = """\
[Unit]
Description=Start rendering {name}

[Service]
Type=oneshot
ExecStart={command}
"""


_TIMER = """\
[Unit]
Description=When {name} is rendered

[Timer]
Unit={unit}
# systemd decides what happens in an hour that the clock skips or repeats.
{events}
AccuracySec=1s
# Ticks that were missed while the machine was off are made up for once.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _escaped(text: str) -> str:
    """Return text for a unit file, where % begins a specifier. Raises UsageError."""
    if "\n" in text or "\r" in text:
        raise UsageError(f"{text!r} has a line break, which a systemd unit cannot hold")
    return text.replace("%", "%%")


def _line(words: Sequence[str]) -> str:
    """Return a command line for a unit file, in systemd's quotes, which interpret \\ and $."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    word = _escaped(word).replace("$", "$$")
    return word if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", word) else _quoted(word)


def _quoted(text: str) -> str:
    """Return text in systemd's quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
