"""The run of one tick, in a process of its own.

Whatever becomes of the run, the service continues. Whatever becomes of the service, the run continues, and
the next service recognises its process.
"""

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
from typing import BinaryIO

import psutil

from cluster.events.events import Finished, TaskFailed
from cluster.events.json_lines import from_json
from cluster.schedule.history import TickOutcome
from cluster.signals import held_back
from jobs.errors import ExitStatus
from jobs.jobfile.dated_output import schedule_of
from jobs.jobfile.job import Job

LET_FINISH, STOP = signal.SIGINT, signal.SIGTERM
"""The signal that lets a run commit what it paints, and the one that has it store checkpoints."""

STOP_SECONDS = 60.0
"""Seconds beyond its workers' grace that a run has to stop."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a job is rendered at a tick: by ``stylefarm run`` from here, or by ``stylefarm submit``.

    The service and the exported files use the same command.
    """

    address: str | None = None
    """A dashboard to submit to, or a Ray cluster to run on; None: run on this machine."""
    options: Sequence[str] = ()
    """Further options of ``run``, or of ``submit``."""

    @property
    def submits(self) -> bool:
        """Whether ``address`` is a dashboard, so that jobs are submitted to it."""
        return self.address is not None and self.address.startswith(("http://", "https://"))

    def words(
        self,
        job: Job,
        planned: datetime | None = None,
        *,
        program: Sequence[str] = (sys.executable, "-m", "cluster.cli"),
        file: str | None = None,
    ) -> list[str]:
        """Return the command line.

        Args:
            job: The job, which has a schedule.
            planned: When the service's tick is due, which adds ``--at`` and ``--json``; None for an export.
            program: The words that call ``stylefarm``.
            file: The job file's path in the command; None: where it is, absolute.

        Raises:
            JobFileError: The job has no schedule.
        """
        schedule = schedule_of(job)
        words = [*program, "submit" if self.submits else "run"]
        words.append(file or str(Path(job.file).absolute()))
        words += [] if self.address is None else ["--address", self.address]
        words += ["--follow"] if self.submits else []
        # The end of the process stops a run from here, but not a submission on a cluster.
        replaces = self.submits and schedule.concurrency_policy == "replace"
        words += ["--replace"] if replaces else []
        words += ["--if-changed"] if schedule.if_changed else []
        # Somebody may be rendering the job by hand just then: the tick comes after that.
        deadline = schedule.starting_deadline
        words += ["--wait", "forever" if deadline is None else f"{deadline:g}s"]
        if planned is not None:
            words += ["--at", planned.isoformat(), "--json"]
            words += [] if self.submits else ["--brief"]
        return [*words, *self.options]


@dataclass(frozen=True, slots=True)
class Mark:
    """What the next service recognises a run by. It is kept on disk as JSON."""

    planned: str
    """When the tick was due; ISO 8601 in UTC."""
    started: str
    """When the run was started; ISO 8601 in UTC."""
    log: str
    """The path of the run's log."""
    pid: int = 0
    """The process id; 0 while the process is being started."""
    born: float = 0.0
    """When the process was created, in seconds since the epoch: process ids are used again."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, as its log tells."""

    done: int | None = None
    """Pictures that the run rendered; None if the log does not tell."""
    failed: int | None = None
    """Pictures that failed in the run; None if the log does not tell."""
    left: int | None = None
    """Pictures of the whole job that are left; None if the log does not tell."""
    reason: str | None = None
    """Why not all is done: the last failure, the reason of ``finished``, or the last line of other output."""
    complete: bool = False
    """Whether the run came to its end, rather than being stopped."""


class TickRun:
    """A process that renders for a tick.

    Args:
        mark: What the next service recognises it by.
        planned: When the tick was due.
        process: The child process; None where an earlier service started it.
    """

    def __init__(
        self, mark: Mark, planned: datetime, process: subprocess.Popen[bytes] | None
    ) -> None:
        self.mark = mark
        self.planned = planned
        self._process = process
        self.unlogged: str | None = None
        """Why nothing of it is logged, as a phrase; None: it is logged."""
        self.stopped_for: TickOutcome | None = None
        """The outcome for which it was asked to stop; None: it was not asked."""

    @classmethod
    def start(cls, command: Sequence[str], planned: datetime, mark: Mark, folder: Path) -> TickRun:
        """Start a run.

        Args:
            command: The command line.
            planned: When the tick is due.
            mark: The mark, without its process. Its log gets standard output and standard error; where it
                cannot be written, the run has no log.
            folder: The working directory.

        Raises:
            OSError: The process cannot be started.
        """
        log, unlogged = Path(mark.log), None
        with contextlib.ExitStack() as stack:
            file: BinaryIO | int = subprocess.DEVNULL
            try:
                log.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(log.open("ab"))
            except OSError as error:
                unlogged = (
                    f"without a log, because {log} cannot be written ({error.strerror or error})"
                )
            stack.enter_context(held_back())
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=folder,
                # Ctrl-C in the service's terminal is for the service alone, which passes it on.
                start_new_session=True,
            )
        born = psutil.Process(process.pid).create_time()
        run = cls(replace(mark, pid=process.pid, born=born), planned, process)
        run.unlogged = unlogged
        return run

    @classmethod
    def adopt(cls, mark: Mark, planned: datetime) -> TickRun | None:
        """Return a run that an earlier service started, if it is still in progress; else None."""
        run = cls(mark, planned, None)
        return run if run.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        if self._process is not None:
            return self._process.poll() is None
        return self._find() is not None

    def wait(self) -> int | None:
        """Wait for the end. Return the exit status; None where an earlier service started the run."""
        if self._process is not None:
            return self._process.wait()
        while self._find() is not None:
            time.sleep(0.2)
        return None

    def ask_to_stop(self, number: int, why: TickOutcome) -> None:
        """Ask the run to stop, by a signal.

        Args:
            number: ``LET_FINISH`` or ``STOP``.
            why: The outcome if it stops before its end. The first request decides.
        """
        self.stopped_for = self.stopped_for or why
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.mark.pid, number)

    def kill(self) -> None:
        """Kill the process and all its descendants."""
        process = self._find()
        if process is None:
            return
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def outcome(self, exit_status: int | None, result: Result) -> TickOutcome:
        """Return what became of the tick. An exit status of None means that it is unknown."""
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
            # A zombie has ended, although its parent has not waited for it yet.
            over = process.status() == psutil.STATUS_ZOMBIE
            return None if over or abs(process.create_time() - self.mark.born) > 0.05 else process
        except (psutil.Error, ValueError):
            return None


def read_result(log: Path) -> Result:
    """Return how a run ended, as its log tells.

    The log's event ``finished`` tells it. Without one, the last line that is no event is the reason.
    """
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
    # A run that was asked to stop may have come to its end all the same.
    complete = finished.left == 0 or finished.reason not in ("interrupted", "preempted")
    reason = failure if finished.reason == "complete" else failure or finished.reason
    return Result(
        done=finished.done,
        failed=finished.failed,
        left=finished.left,
        reason=reason,
        complete=complete,
    )
