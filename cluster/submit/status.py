"""How a submitted job stands: what its cluster says of it, and what its output does.

The output outlives the cluster, and a cluster that was started anew knows nothing of what it did before. So
each is asked, and either is enough.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cluster.events.events import Finished, Live
from cluster.events.json_lines import from_json
from cluster.events.live import QUIET_SECONDS, read_live
from cluster.open_job import open_agenda
from jobs.errors import ClusterError, StorageError, StylefarmError, printable
from jobs.jobfile.job import Job
from jobs.parallel import parallel_map
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.open import open_storage

if TYPE_CHECKING:
    from cluster.submit.jobs_api import Head
    from cluster.submit.submission import Submission

LAST_LINES = 40
"""Of a log, among which the last word on how the run stands is found."""

MAX_LOG_REQUESTS = 8

NO_SUCH_COMMAND = 127


@dataclass(frozen=True)
class JobStatus:
    """How a job stands; None is what is not known."""

    id: str | None
    job: str
    output: str
    state: str
    """Of a submission: pending, running, succeeded, failed or stopped. Where only the output is known:
    running, ended, or lost, of a run that has not been heard of."""
    started: float | None = None
    """Seconds since the epoch."""
    seconds: float | None = None
    """For which it has run, or did."""
    tasks: int | None = None
    done: int | None = None
    failed: int | None = None
    left: int | None = None
    live: Live | None = None
    """The last word of a run that has not ended."""
    reason: str | None = None
    """Why it failed or ended."""

    @property
    def exit_status(self) -> int:
        """Of ``stylefarm status``: 1 where the job, or some of its tasks, failed."""
        return 1 if self.state == "failed" or (self.state == "ended" and self.failed) else 0

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end, and has heard it."""
        return self.live is not None and self.live.state == "stopping"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        values = {**asdict(self), "stopping": self.stopping}
        del values["live"]
        for name in ("workers", "pending", "busy", "steps_per_second", "eta", "updated"):
            values[name] = None if self.live is None else getattr(self.live, name)
        return values

    def with_live(self, live: Live) -> JobStatus:
        """The same, with what the run says of itself."""
        return replace(
            self,
            tasks=live.tasks,
            done=live.done,
            failed=live.failed,
            left=live.left,
            live=live if self.state in ("pending", "running", "lost") else None,
        )


# --- asking ----------------------------------------------------------------------------------------


def of_submission(head: Head, submission: Submission, storage: Storage | None = None) -> JobStatus:
    """How a submission stands. Its output is asked first, which is quick and has the newest."""
    status = _bare(submission)
    live = None
    # Whoever may see the cluster need not see the output.
    with contextlib.suppress(StorageError):
        live = read_live(storage or open_storage(submission.output, submission.storage))
    lines: Sequence[str] = ()
    if live is not None and live.submission == submission.id:
        status = status.with_live(live)
    elif submission.state != "pending":
        lines = _last_lines(head, submission)
        status = _with_log(status, lines)
    if submission.state == "failed":
        lines = lines or _last_lines(head, submission)
        status = replace(status, reason=failure_reason(submission, lines, status.failed))
    return status


def of_all(head: Head, submissions: Sequence[Submission]) -> list[JobStatus]:
    """How each stands by its own log, so that no output is waited for."""

    def status_from_log(submission: Submission) -> JobStatus:
        if submission.state == "pending":
            return _bare(submission)
        return _with_log(_bare(submission), _last_lines(head, submission))

    return list(parallel_map(status_from_log, submissions, MAX_LOG_REQUESTS))


def of_output(job: Job, storage: Storage) -> JobStatus | None:
    """How a job stands by its output alone; None where nothing was rendered yet. Raises StorageError."""
    live = read_live(storage)
    if live is None:
        if storage.stat(keys.JOB) is None:
            return None
        unsubmitted = JobStatus(id=None, job=job.spec.name, output=storage.url, state="ended")
        return _counted(unsubmitted, job, storage)
    now = time.time()
    state = "ended" if live.state == "ended" else "running"
    if state == "running" and now - live.updated > QUIET_SECONDS:
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


def _counted(status: JobStatus, job: Job, storage: Storage) -> JobStatus:
    """With its tasks counted: what a run that was killed said last may be old."""
    ledger = Records(storage).ledger()
    try:
        census = open_agenda(job).census(ledger)
    except StylefarmError:  # its pictures are elsewhere, perhaps
        return replace(status, done=ledger.count("done"), failed=ledger.count("failed"))
    return replace(
        status, tasks=census.tasks, done=census.done, failed=census.failed, left=census.left
    )


def _last_lines(head: Head, submission: Submission) -> Sequence[str]:
    """The end of its log; nothing where the log is gone, as with a head that was started anew."""
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
    """Why a submission failed, in a sentence."""
    if submission.exit_code == 1 and failed:
        return f"some tasks failed; stylefarm report {submission.output} says why"
    if submission.exit_code == NO_SUCH_COMMAND:
        return (
            "the cluster's head has no such command; install stylefarm there and start Ray where it is on "
            "the PATH, or submit with --ship-package"
        )
    messages = [line for line in lines if line.strip() and not line.startswith("{")]
    if submission.exit_code is not None and messages:
        return printable(messages[-1].strip())
    return printable(" ".join(submission.message.split())[:300])
