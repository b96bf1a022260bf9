"""How a submitted job stands: what its cluster says of it, and what its output does.

The output outlives the cluster, and a cluster that was started anew knows nothing of what it did before. So
each is asked, and either is enough.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
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

ASKERS = 8

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

    def heard(self, live: Live) -> JobStatus:
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


def of_submission(head: Head, found: Submission, storage: Storage | None = None) -> JobStatus:
    """How a submission stands. Its output is asked first, which is quick and has the newest."""
    stands = _bare(found)
    live = None
    # Whoever may see the cluster need not see the output.
    with contextlib.suppress(StorageError):
        live = read_live(storage or open_storage(found.output, found.storage))
    lines: Sequence[str] = ()
    if live is not None and live.submission == found.id:
        stands = stands.heard(live)
    elif found.state != "pending":
        lines = _last_lines(head, found)
        stands = _with_log(stands, lines)
    if found.state == "failed":
        lines = lines or _last_lines(head, found)
        stands = replace(stands, reason=why(found, lines, stands.failed))
    return stands


def of_all(head: Head, submissions: Sequence[Submission]) -> list[JobStatus]:
    """How each stands by its own log, so that no output is waited for."""

    def look(found: Submission) -> JobStatus:
        if found.state == "pending":
            return _bare(found)
        return _with_log(_bare(found), _last_lines(head, found))

    return list(parallel_map(look, submissions, ASKERS))


def of_output(job: Job, storage: Storage) -> JobStatus | None:
    """How a job stands by its output alone; None where nothing was rendered yet. Raises StorageError."""
    live = read_live(storage)
    if live is None:
        if storage.stat(keys.JOB) is None:
            return None
        return _counted(JobStatus(None, job.spec.name, storage.url, "ended"), job, storage)
    now = time.time()
    state = "ended" if live.state == "ended" else "running"
    if state == "running" and now - live.updated > QUIET_SECONDS:
        state = "lost"
    until = now if state == "running" else live.updated
    stands = JobStatus(
        live.submission,
        live.job,
        storage.url,
        state,
        live.started,
        until - live.started,
        reason=live.reason,
    ).heard(live)
    return stands if state == "running" else _counted(stands, job, storage)


def _counted(stands: JobStatus, job: Job, storage: Storage) -> JobStatus:
    """With its tasks counted: what a run that was killed said last may be old."""
    ledger = Records(storage).ledger()
    try:
        census = open_agenda(job).census(ledger)
    except StylefarmError:  # its pictures are elsewhere, perhaps
        return replace(stands, done=ledger.count("done"), failed=ledger.count("failed"))
    return replace(
        stands, tasks=census.tasks, done=census.done, failed=census.failed, left=census.left
    )


def _last_lines(head: Head, found: Submission) -> Sequence[str]:
    """The end of its log; nothing where the log is gone, as with a head that was started anew."""
    with contextlib.suppress(ClusterError):
        return head.last_lines(found.id, LAST_LINES)
    return ()


def _bare(found: Submission) -> JobStatus:
    until = found.ended or time.time()
    seconds = None if found.started is None else max(0.0, until - found.started)
    return JobStatus(found.id, found.job, found.output, found.state, found.started, seconds)


def _with_log(stands: JobStatus, lines: Sequence[str]) -> JobStatus:
    for line in lines:
        event = from_json(line)
        if isinstance(event, Live):
            stands = stands.heard(event)
        elif isinstance(event, Finished) and stands.tasks is None:
            stands = replace(stands, done=event.done, failed=event.failed, left=event.left)
    return stands


def why(found: Submission, lines: Sequence[str], failed: int | None) -> str:
    """Why a submission failed, in a sentence."""
    if found.exit_code == 1 and failed:
        return f"some tasks failed; stylefarm report {found.output} says why"
    if found.exit_code == NO_SUCH_COMMAND:
        return (
            "the cluster's head has no such command; install stylefarm there and start Ray where it is on "
            "the PATH, or submit with --ship-package"
        )
    said = [line for line in lines if line.strip() and not line.startswith("{")]
    if found.exit_code is not None and said:
        return printable(said[-1].strip())
    return printable(" ".join(found.message.split())[:300])


# --- telling ---------------------------------------------------------------------------------------


def span_text(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
