"""``follow_on``: a submission that begins when another job has ended well."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from cluster.events.live import read_live
from cluster.run.predecessor import EARLIER_RUN, Predecessor, predecessor_named
from cluster.submit.jobs_api import Head
from cluster.submit.submission import Submission, id_of
from jobs.errors import UsageError
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.proofs.find_job import is_job_file
from jobs.storage.base import resolve_options
from jobs.storage.open import open_storage


@dataclass(frozen=True, slots=True)
class Chained:
    """How a submitted run finds the job after which it begins."""

    output: str
    """That job's output: a URL or an absolute path."""
    environment: dict[str, str]
    """Variables of the run's environment."""


def follow_on(head: Head, name: str, job: Job) -> Chained:
    """Return how a submitted run finds the job after which it begins; refuse what can never begin.

    Args:
        head: The cluster's head.
        name: The other job: the id of its submission, its job file, or its output.
        job: The job that is to wait, or its proofs.

    Raises:
        UsageError: There is no such job or output; it waits for this one; or it is on another S3 server.
        ChainBrokenError: It has ended, and not well.
        ClusterError: The cluster cannot be reached.
        StorageError: An output cannot be read.
    """
    submission = _submission_of(head, name)
    if is_job_file(name) or submission is None:
        predecessor = predecessor_named(name, job)
    else:
        storage = open_storage(submission.output, submission.storage)
        predecessor = Predecessor(submission.job, storage, submission.storage)
    if submission is not None and submission.alive:
        live = read_live(predecessor.storage)
        if live is not None and live.submission != submission.id:
            predecessor = replace(predecessor, earlier=live.run)
    _check_reach(predecessor, job)
    predecessor.check_chain(open_output(job))
    predecessor.standing()
    return Chained(predecessor.storage.url, {EARLIER_RUN: predecessor.earlier or ""})


def _submission_of(head: Head, name: str) -> Submission | None:
    """Return the latest submission that a name means; None: it means an output, or a job that has none.

    Raises:
        UsageError: It looks like an id, and the cluster knows no such submission.
    """
    if is_job_file(name):
        base = id_of(load_job(name))
        same = [s for s in head.submissions() if s.base == base]
        return max(same, key=lambda s: s.number, default=None)
    if "/" in name or os.path.isdir(name):  # noqa: PTH112 - False also where this user may not look
        return None
    return head.find(name)


def _check_reach(predecessor: Predecessor, job: Job) -> None:
    """Raise UsageError where the run will not find the output: it looks where its own output is."""
    if not predecessor.storage.url.startswith("s3://"):
        return
    here = resolve_options(job.spec.storage, job.base)
    if predecessor.options.endpoint_url != here.endpoint_url:
        there = predecessor.options.endpoint_url or "AWS"
        raise UsageError(
            f"--after: {predecessor.storage.url} is on {there}, and this job's storage is on "
            f"{here.endpoint_url or 'AWS'}: both must be on one S3 server"
        )
