"""A run of one tick: a process of its own, so that whatever becomes of it, the clock goes on; and whatever
becomes of the clock, the run goes on, and is known again by its process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psutil

from cluster.events.events import Finished, TaskFailed
from cluster.events.json_lines import from_json
from cluster.schedule.history import TickOutcome
from cluster.signals import held_back
from jobs.errors import ExitStatus
from jobs.jobfile.dated_output import schedule_of
from jobs.jobfile.job import Job

LET_FINISH, STOP = signal.SIGINT, signal.SIGTERM
"""What lets a run commit what it paints, and what has it store checkpoints."""

STOP_SECONDS = 60.0
"""What a run that is to stop has beyond its workers' grace."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a job is rendered at a tick: run from here or, where ``address`` is a cluster's dashboard,
    submitted to it. Whoever keeps the clock uses the same words."""

    address: str | None = None
    options: Sequence[str] = ()
    """More of ``run``, or of ``submit``."""

    @property
    def submits(self) -> bool:
        return self.address is not None and self.address.startswith(("http://", "https://"))

    def words(
        self,
        job: Job,
        planned: datetime | None = None,
        *,
        program: Sequence[str] = (sys.executable, "-m", "cluster.cli"),
        file: str | None = None,
    ) -> list[str]:
        """The command line; with ``planned`` that of a tick of our own, which tells events."""
        schedule = schedule_of(job)
        words = [*program, "submit" if self.submits else "run"]
        words.append(file or str(Path(job.file).absolute()))
        words += [] if self.address is None else ["--address", self.address]
        words += ["--follow"] if self.submits else []
        # To go away stops a run from here, but nothing on a cluster.
        replaces = self.submits and schedule.concurrency_policy == "replace"
        words += ["--replace"] if replaces else []
        words += ["--if-changed"] if schedule.if_changed else []
        if planned is not None:
            words += ["--at", planned.isoformat(), "--json"]
            words += [] if self.submits else ["--brief"]
        return [*words, *self.options]


@dataclass(frozen=True, slots=True)
class Mark:
    """By what a run is known again: JSON-simple, kept on disk."""

    planned: str
    started: str
    log: str
    pid: int = 0
    """0 while it is being started."""
    born: float = 0.0
    """When its process was made, for numbers of processes are used again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a log says of how its run ended."""

    done: int | None = None
    failed: int | None = None
    left: int | None = None
    reason: str | None = None
    """Why not all is done: the last failure, or the last that it said."""
    complete: bool = False
    """Whether it came to its end."""


class TickRun:
    """A process that renders, ours or one that an earlier clock started."""

    def __init__(
        self, mark: Mark, planned: datetime, process: subprocess.Popen[bytes] | None
    ) -> None:
        self.mark = mark
        self.planned = planned
        self._process = process
        self.stopped_for: TickOutcome | None = None
        """What it was told to stop for."""

    @classmethod
    def start(cls, command: Sequence[str], planned: datetime, mark: Mark, folder: Path) -> TickRun:
        """Start it. Its log has what it says to whomever."""
        log = Path(mark.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file, held_back():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=folder,
                # Ctrl-C at the clock is for the clock, which passes it on.
                start_new_session=True,
            )
        born = psutil.Process(process.pid).create_time()
        return cls(replace(mark, pid=process.pid, born=born), planned, process)

    @classmethod
    def adopt(cls, mark: Mark, planned: datetime) -> TickRun | None:
        """A run that an earlier clock started, when it is still going on."""
        run = cls(mark, planned, None)
        return run if run.alive else None

    @property
    def alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._find() is not None

    def wait(self) -> int | None:
        """Wait until it has ended. Its exit status; None of one that is not ours."""
        if self._process is not None:
            return self._process.wait()
        while self._find() is not None:
            time.sleep(0.2)
        return None

    def ask_to_stop(self, number: int, why: TickOutcome) -> None:
        """Send it a signal: SIGINT lets what paints be committed, SIGTERM has it store checkpoints."""
        self.stopped_for = self.stopped_for or why
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.mark.pid, number)

    def kill(self) -> None:
        """End it and all that it started, now."""
        process = self._find()
        if process is None:
            return
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def outcome(self, exit_status: int | None, result: Result) -> TickOutcome:
        """How it ended."""
        if self.stopped_for is not None and not result.complete:
            return self.stopped_for
        if exit_status is None:
            if not result.complete:
                return "interrupted"
            return "failed" if result.failed else "done"
        if exit_status == ExitStatus.INTERRUPTED and result.complete:
            return "failed" if result.failed else "done"
        if exit_status == ExitStatus.INTERRUPTED or exit_status < 0:
            return "interrupted"
        return "done" if exit_status == 0 else "failed"

    def _find(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.mark.pid)
            # A zombie is over, whoever has not asked after it yet.
            over = process.status() == psutil.STATUS_ZOMBIE
            return None if over or abs(process.create_time() - self.mark.born) > 0.05 else process
        except (psutil.Error, ValueError):
            return None


def read_result(log: Path) -> Result:
    """What a log says: ``finished`` among the events or, of a run that did not come to that, the last line
    that is no event."""
    message = failure = None
    finished: Finished | None = None
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Result()
    for line in reversed(lines):
        event = from_json(line)
        if isinstance(event, Finished):
            finished = event
        elif isinstance(event, TaskFailed):
            failure = failure or event.error
        elif event is None:
            message = message or (line.strip() or None)
    if finished is None:
        return Result(reason=message)
    # Told to stop, it may have come to its end all the same.
    complete = finished.left == 0 or finished.reason not in ("interrupted", "preempted")
    reason = failure if finished.reason == "complete" else failure or finished.reason
    return Result(
        done=finished.done,
        failed=finished.failed,
        left=finished.left,
        reason=reason,
        complete=complete,
    )
