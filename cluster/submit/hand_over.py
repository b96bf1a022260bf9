"""Handing a job to a cluster."""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cluster.messages import SUBMISSION
from cluster.submit.bundle import Parcel
from cluster.submit.jobs_api import Head
from cluster.submit.submission import LABEL, id_of, numbered, output_of
from jobs.errors import ClusterError, UsageError
from jobs.jobfile.job import Job

AFTER_GRACE_SECONDS = 45
"""How much longer than its workers' grace a run that Ray stops may take: to end, and to tell of it."""


@dataclass(frozen=True)
class Handed:
    """What came of a submission."""

    id: str
    new: bool
    """Whether it was submitted now; else it is pending or running."""
    same: bool = True
    """Whether that one was submitted with the same options."""


def hand_over(
    head: Head, job: Job, parcel: Parcel, options: Sequence[str], asked: str = ""
) -> Handed:
    """Submit a job, unless it is there and has not ended.

    ``options`` are those of ``stylefarm run``; ``asked`` tells what was asked for from other things.
    Raises UsageError when another job works on its output.
    """
    base, output = id_of(job), output_of(job)
    with tempfile.TemporaryDirectory() as folder:
        archive = None
        if parcel.files:
            archive = Path(folder) / "parcel.zip"
            parcel.write(archive)
        while True:
            every = head.submissions()
            same = [s for s in every if s.base == base]
            for submission in same:
                if submission.alive:
                    return Handed(submission.id, new=False, same=submission.asked in (None, asked))
            for submission in every:
                if submission.alive and submission.output == output:
                    raise UsageError(
                        f"{submission.id} ({submission.job}) works on {output} and has not ended; one run "
                        "works on an output at a time, so wait for it or cancel it"
                    )
            submission_id = numbered(base, max((s.number for s in same), default=0) + 1)
            if head.submit(
                submission_id,
                command=_command(parcel, options),
                archive=archive,
                environment=_environment(submission_id, job),
                metadata={**_metadata(job, output), f"{LABEL}asked": asked},
            ):
                return Handed(submission_id, new=True)
            # Somebody was quicker, or Ray has forgotten what it does not take again.
            if not any(s.id == submission_id for s in head.submissions()):
                raise ClusterError(
                    f"the cluster does not take {submission_id}, and does not know it"
                )


def _command(parcel: Parcel, options: Sequence[str]) -> str:
    program = ["python", "-m", "cluster.cli"] if parcel.has_package else ["stylefarm"]
    words = [*program, "run", parcel.job_file, *options]
    # In the shell's place, so that signals and the exit status are the run's own.
    return "exec " + shlex.join([*words, "--address", "auto", "--json", "--brief"])


def _environment(submission: str, job: Job) -> dict[str, str]:
    patience = math.ceil(job.spec.workers.grace) + AFTER_GRACE_SECONDS
    # Ray kills what it has stopped after three seconds, which no checkpoint is stored in.
    return {SUBMISSION: submission, "RAY_JOB_STOP_WAIT_TIME_S": str(patience)}


def _metadata(job: Job, output: str) -> dict[str, str]:
    labels = {
        "version": version("stylefarm"),
        "job": job.spec.name,
        "output": output,
        "storage": job.spec.storage.model_dump_json(exclude_none=True),
    }
    return {f"{LABEL}{key}": value for key, value in labels.items()}
