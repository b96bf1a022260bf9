"""A job's status, from its cluster and from its output.

The output outlives the cluster, and a cluster that was restarted does not know its earlier submissions. So
both are read, and either is enough.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cluster.events.events import Finished, Live
from cluster.events.json_lines import from_json
from cluster.events.live import has_ended, read_live
from cluster.open_job import open_agenda
from jobs.errors import ClusterError, ExitStatus, StorageError, StylefarmError, printable
from jobs.jobfile.job import Job, open_output
from jobs.parallel import parallel_map
from jobs.proofs.proofs import proofs_of
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.open import open_storage
from jobs.tasks.todo import Agenda
from jobs.videos.record import video_keys
from jobs.videos.state import video_states

if TYPE_CHECKING:
    from cluster.submit.jobs_api import Head
    from cluster.submit.submission import Submission

LAST_LINES = 40
"""Lines at the end of a log that are searched for the latest status."""

MAX_LOG_REQUESTS = 8
"""Logs that are read at the same time."""

NO_SUCH_COMMAND = 127
"""The exit status of a shell that does not find a command."""


REASONS = frozenset(
    ("complete", "limit", "interrupted", "preempted", "stopped", "max_failures", "max_gpu_hours")
)
"""Why a run ends that is not broken off by an error, which would be a sentence."""


@dataclass(frozen=True, slots=True)
class NoVideoYet:
    """A video that the job asks for and that is not there."""

    video: str
    """The key that it will have in the output."""
    name: str
    """Its name before ``-<id>``."""
    reason: str
    """The rest of a sentence, as in the event ``no_video``."""
    failed: bool
    """Whether something has failed; else the next run can make it."""


@dataclass(frozen=True)
class JobStatus:
    """The status of a job. None is what is not known."""

    id: str | None
    """The submission's id; None for a run that was not submitted."""
    job: str
    """The job's name."""
    output: str
    state: str
    """pending, running, succeeded, failed or stopped for a submission; from the output alone: running, ended,
    or lost, which is a run that was killed (``has_ended``)."""
    started: float | None = None
    """Seconds since the epoch."""
    seconds: float | None = None
    """Seconds that it has run, or ran."""
    tasks: int | None = None
    """Tasks of the whole job."""
    done: int | None = None
    failed: int | None = None
    left: int | None = None
    live: Live | None = None
    """The latest summary of a run that has not ended."""
    reason: str | None = None
    """Why it failed or ended."""
    videos: tuple[str, ...] | None = None
    """The keys of the videos that are there; None while a run lasts, which makes them at its end."""
    videos_missing: tuple[NoVideoYet, ...] | None = None
    """Those that the job asks for and that are not there; None also where the job is not known."""
    proof: bool = False
    """Whether this is about the job's proofs, because no picture was rendered yet."""

    @property
    def exit_status(self) -> int:
        """The exit status of ``stylefarm status``: 1 where the job, or a task or video of it, failed."""
        some = self.failed or any(video.failed for video in self.videos_missing or ())
        broken = self.reason is not None and self.reason not in REASONS
        return 1 if self.state == "failed" or (self.state == "ended" and (some or broken)) else 0

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end, and has noticed."""
        return self.live is not None and self.live.state == "stopping"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of ``status --json``."""
        values = {**asdict(self), "stopping": self.stopping}
        del values["live"]
        for name in ("workers", "pending", "waits", "busy", "steps_per_second", "eta", "updated"):
            values[name] = None if self.live is None else getattr(self.live, name)
        return values

    def with_live(self, live: Live) -> JobStatus:
        """Return the status with the numbers that the run itself reports."""
        return replace(
            self,
            tasks=live.tasks,
            done=live.done,
            failed=live.failed,
            left=live.left,
            live=live if self.state in ("pending", "running", "lost") else None,
        )


def run_status(status: JobStatus) -> ExitStatus:
    """Return the exit status of the run that ended so, as far as its output tells."""
    if status.reason in ("interrupted", "preempted", "stopped"):
        return ExitStatus.INTERRUPTED
    well = status.state == "ended" and status.reason in (None, "complete", "limit")
    return ExitStatus.DONE if well and not status.failed else ExitStatus.FAILED


def of_submission(
    head: Head, submission: Submission, storage: Storage | None = None, job: Job | None = None
) -> JobStatus:
    """Return the status of a submission.

    The output is read first: it is quick to read and most recent. The log is read where the output cannot be
    read or is that of another run.

    Args:
        head: The cluster's head.
        submission: The submission, as the head knows it.
        storage: Its output; None opens the one that the submission names.
        job: The job, which says which videos it asks for; None: it is not known here.
    """
    status = _bare(submission)
    live = None
    # A user with access to the cluster may have none to the output.
    with contextlib.suppress(StorageError):
        storage = storage or open_storage(submission.output, submission.storage)
        live = read_live(storage)
    lines: Sequence[str] = ()
    if live is not None and live.submission == submission.id:
        status = status.with_live(live)
    elif submission.state != "pending":
        lines = _last_lines(head, submission)
        status = _with_log(status, lines)
    if submission.state == "failed":
        lines = lines or _last_lines(head, submission)
        status = replace(status, reason=failure_reason(submission, lines, status.failed))
    if storage is None or status.state in ("pending", "running"):
        return status
    # What the job names may be out of reach from here, as the output may be.
    with contextlib.suppress(StylefarmError):
        status = replace(status, videos=tuple(video_keys(storage)))
        if job is not None:
            with contextlib.closing(open_agenda(job, _look_no_further)) as agenda:
                status = _with_videos(status, agenda, storage)
    return status


def of_all(head: Head, submissions: Sequence[Submission]) -> list[JobStatus]:
    """Return the status of each submission, from its log: a listing waits for no output."""

    def status_from_log(submission: Submission) -> JobStatus:
        if submission.state == "pending":
            return _bare(submission)
        return _with_log(_bare(submission), _last_lines(head, submission))

    return list(parallel_map(status_from_log, submissions, MAX_LOG_REQUESTS))


def of_job(job: Job) -> JobStatus | None:
    """Return a job's status from its output, or that of its proofs where these are all that was rendered.

    Returns:
        The status; None where nothing has been rendered yet.

    Raises:
        StorageError: The output cannot be read.
    """
    status = of_output(job, open_output(job))
    if status is not None:
        return status
    proofs = of_output(job, open_output(proofs_of(job)))
    return None if proofs is None else replace(proofs, proof=True)


def of_output(job: Job, storage: Storage) -> JobStatus | None:
    """Return a job's status from its output alone; None where nothing has been rendered yet.

    Args:
        job: The job.
        storage: The output, or that of the job's proofs.

    Raises:
        StorageError: The output cannot be read.
    """
    live = read_live(storage)
    if live is None:
        if storage.stat(keys.JOB) is None:
            return None
        unsubmitted = JobStatus(id=None, job=job.spec.name, output=storage.url, state="ended")
        return _counted(unsubmitted, job, storage)
    now = time.time()
    state = "ended" if live.state == "ended" else "running"
    if state == "running" and has_ended(storage, live):
        state = "lost"
    until = now if state == "running" else live.updated
    status = JobStatus(
        id=live.submission,
        job=live.job,
        output=storage.url,
        state=state,
        started=live.started,
        seconds=until - live.started,
        reason=live.reason,
    ).with_live(live)
    return status if state == "running" else _counted(status, job, storage)


class _UnsearchedError(StylefarmError):
    """Tasks can be counted only when a film is looked through for cuts."""


def _look_no_further(film: str, looked_at: int, frames: int) -> None:
    """Keep a film from being looked through, which a run may do for minutes and a status does not."""
    raise _UnsearchedError(film)


def _counted(status: JobStatus, job: Job, storage: Storage) -> JobStatus:
    """Return the status with its tasks counted: the last summary of a killed run may be old."""
    ledger = Records(storage).ledger()
    try:
        with contextlib.closing(open_agenda(job, _look_no_further)) as agenda:
            census = agenda.census(ledger)
            status = _with_videos(status, agenda, storage)
    except StylefarmError:  # its pictures may be out of reach, or cuts not be looked for yet
        return replace(
            status,
            done=ledger.count("done"),
            failed=ledger.count("failed"),
            videos=tuple(video_keys(storage)),
        )
    return replace(
        status, tasks=census.tasks, done=census.done, failed=census.failed, left=census.left
    )


def _with_videos(status: JobStatus, agenda: Agenda, storage: Storage) -> JobStatus:
    """Return the status with the videos that the job asks for. Raises as ``video_states``."""
    there: list[str] = []
    missing: list[NoVideoYet] = []
    for video in video_states(agenda, storage):
        if video.unmade is None:
            there.append(video.key)
        else:
            why = video.unmade
            missing.append(NoVideoYet(video.key, video.name, why.reason, why.has_failed))
    return replace(status, videos=tuple(there), videos_missing=tuple(missing))


def _last_lines(head: Head, submission: Submission) -> Sequence[str]:
    """Return the end of a log; nothing where the log is gone, as after a restart of the head."""
    with contextlib.suppress(ClusterError):
        return head.last_lines(submission.id, LAST_LINES)
    return ()


def _bare(submission: Submission) -> JobStatus:
    until = submission.ended or time.time()
    seconds = None if submission.started is None else max(0.0, until - submission.started)
    return JobStatus(
        id=submission.id,
        job=submission.job,
        output=submission.output,
        state=submission.state,
        started=submission.started,
        seconds=seconds,
    )


def _with_log(status: JobStatus, lines: Sequence[str]) -> JobStatus:
    for line in lines:
        event = from_json(line)
        if isinstance(event, Live):
            status = status.with_live(event)
        elif isinstance(event, Finished) and status.tasks is None:
            status = replace(status, done=event.done, failed=event.failed, left=event.left)
    return status


def failure_reason(submission: Submission, lines: Sequence[str], failed: int | None) -> str:
    """Return why a submission failed, in a sentence.

    Args:
        submission: The submission that failed.
        lines: The end of its log.
        failed: How many of its tasks failed; None if unknown.
    """
    if submission.exit_code == 1 and failed:
        return f"some tasks failed; stylefarm report {submission.output} says why"
    if submission.exit_code == NO_SUCH_COMMAND:
        return (
            "the cluster's head has no command stylefarm; install it there and start Ray where it is on the "
            "PATH, or submit with --ship-package"
        )
    messages = [line for line in lines if line.strip() and not line.startswith("{")]
    if submission.exit_code is not None and messages:
        return printable(messages[-1].strip())
    return printable(" ".join(submission.message.split())[:300])
