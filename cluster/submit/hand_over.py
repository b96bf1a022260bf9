"""Submits a job to a cluster: once, however often it is asked to."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cluster.messages import SUBMISSION
from cluster.submit.bundle import Parcel
from cluster.submit.jobs_api import Head
from cluster.submit.submission import LABEL, id_of, numbered, output_of
from jobs.errors import ClusterError, UsageError
from jobs.jobfile.job import Job
from jobs.storage.base import resolve_options
from jobs.storage.scratch import scratch_errors, scratch_folder

AFTER_GRACE_SECONDS = 45
"""Seconds beyond the workers' grace that a stopped run has before Ray kills it: to end and to report it."""


@dataclass(frozen=True)
class Handed:
    """The result of ``hand_over``."""

    id: str
    """The id of the submission."""
    new: bool
    """Whether it was submitted now; otherwise it was pending or running already."""
    same: bool = True
    """Whether the submission was made with the same options, as far as it tells."""


def hand_over(
    head: Head,
    job: Job,
    parcel: Parcel,
    options: Sequence[str],
    asked: str = "",
    environment: Mapping[str, str] | None = None,
) -> Handed:
    """Submit a job, unless it has been submitted already and has not ended.

    Args:
        head: The cluster's head.
        job: The job, or its proofs (``proofs_of``) where they are rendered.
        parcel: The files to send, and the job file's path on the cluster.
        options: Options of ``stylefarm run``.
        asked: A text that is equal for equal options and selections. It is stored with the submission and
            compared with that of an earlier one.
        environment: Variables of the run's environment, beside those that every run has.

    Returns:
        The new submission, or the one that has not ended.

    Raises:
        UsageError: Another job that has not ended works on the same output.
        ClusterError: The cluster cannot be reached, or does not take the submission.
        StorageError: The files cannot be packed on this machine.
    """
    base, output = id_of(job), output_of(job)
    with scratch_folder("the files of a submission") as folder:
        archive = None
        if parcel.files:
            archive = Path(folder) / "parcel.zip"
            with scratch_errors("the files of a submission"):
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
                        f"{submission.id} ({submission.job}) is working on {output} and has not ended; an "
                        "output takes one run at a time, so wait for it or cancel it"
                    )
            submission_id = numbered(base, max((s.number for s in same), default=0) + 1)
            if head.submit(
                submission_id,
                command=_command(parcel, options),
                archive=archive,
                environment={**_environment(submission_id, job), **(environment or {})},
                metadata={**_metadata(job, output), f"{LABEL}asked": asked},
            ):
                return Handed(submission_id, new=True)
            # Ray takes an id only once. Where another client was faster, the next round sees its submission.
            if not any(s.id == submission_id for s in head.submissions()):
                raise ClusterError(
                    f"the cluster refuses {submission_id} as known, but does not list it"
                )


def _command(parcel: Parcel, options: Sequence[str]) -> str:
    program = ["python", "-m", "cluster.cli"] if parcel.has_package else ["stylefarm"]
    words = [*program, "run", parcel.job_file, *options]
    # exec replaces the shell, so that signals reach the run and the exit status is the run's.
    return "exec " + shlex.join([*words, "--address", "auto", "--json", "--brief"])


def _environment(submission: str, job: Job) -> dict[str, str]:
    patience = math.ceil(job.spec.workers.grace) + AFTER_GRACE_SECONDS
    # By default Ray sends SIGKILL three seconds after SIGTERM, too soon for a checkpoint.
    stop = {"RAY_JOB_STOP_WAIT_TIME_S": str(patience)}
    # The job file is read again there.
    return {SUBMISSION: submission, **stop, **job.environment}


def _metadata(job: Job, output: str) -> dict[str, str]:
    labels = {
        "version": version("stylefarm"),
        "job": job.spec.name,
        "output": output,
        # For status and cancel from here, in whatever folder.
        "storage": resolve_options(job.spec.storage, job.base).model_dump_json(exclude_none=True),
    }
    return {f"{LABEL}{key}": value for key, value in labels.items()}
