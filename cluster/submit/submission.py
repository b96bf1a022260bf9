"""``Submission``: a job that was handed to a cluster, its id and its end; and where the cluster is.

An id is made from the job, so that the same job is not submitted twice while it runs. Ray takes an id only
once, so a job that has ended and is submitted again, to resume it, gets a number appended to its id.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from jobs.errors import ClusterError, ExitStatus, UsageError
from jobs.jobfile import dated_output
from jobs.jobfile.job import Job
from jobs.storage.base import StorageOptions, local_path

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that may hold the dashboard's address."""

LABEL = "stylefarm_"
"""Prefix of the keys that describe a submission in Ray's metadata."""

State = Literal["pending", "running", "succeeded", "failed", "stopped"]


def id_of(job: Job) -> str:
    """Return the id of a job's first submission, such as ``stylefarm-harbour-1a2b3c4d``."""
    # The schedule says when a job is rendered, and nothing about the pictures.
    written = job.spec.model_dump(mode="json", exclude={"schedule"})
    resolved = {**written, "output": output_of(job)}
    text = json.dumps(resolved, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name = re.sub(r"[^a-z0-9]+", "-", job.spec.name.lower())[:40].strip("-") or "job"
    return f"stylefarm-{name}-{digest}"


def output_of(job: Job) -> str:
    """Return where a job's results go: an ``s3://`` URL or an absolute path."""
    output = job.spec.output
    return output if output.startswith("s3://") else str(local_path(output, job.base))


def numbered(base: str, number: int) -> str:
    """Return the id of the submission number ``number``, >= 1, of a job."""
    return base if number == 1 else f"{base}-{number}"


def split_id(submission: str) -> tuple[str, int]:
    """Return the base of an id and its number; a text of another form is all base, with the number 1."""
    # A digest may consist of digits alone, but it has eight of them.
    match = re.fullmatch(r"(stylefarm-.*-[0-9a-f]{8})-(\d{1,6})", submission)
    return (match[1], int(match[2])) if match else (submission, 1)


@dataclass(frozen=True)
class Submission:
    """A job that was handed to a cluster, as its head knows it."""

    id: str
    job: str
    """The job's name."""
    output: str
    storage: StorageOptions
    state: State
    started: float | None
    """Seconds since the epoch."""
    ended: float | None
    """Seconds since the epoch."""
    exit_code: int | None
    """The run's exit status; None until it has ended, and where Ray does not know it."""
    message: str
    """Ray's description of the state."""
    asked: str | None = None
    """A text that is equal for equal options and selections; None where it is not recorded."""

    @property
    def base(self) -> str:
        return split_id(self.id)[0]

    @property
    def number(self) -> int:
        return split_id(self.id)[1]

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("pending", "running")

    @property
    def exit_status(self) -> int:
        """The run's exit status; 3 where the cluster lost the run or never started it."""
        if self.state == "stopped":
            return ExitStatus.INTERRUPTED
        if self.exit_code is not None:
            return self.exit_code if 0 <= self.exit_code < 256 else 1
        return 0 if self.state == "succeeded" else ClusterError.exit_status


def submission_of(details: Any) -> Submission | None:
    """Return the submission that Ray's details of a job describe; None if stylefarm did not submit it."""
    labels = {
        key.removeprefix(LABEL): value
        for key, value in (details.metadata or {}).items()
        if key.startswith(LABEL)
    }
    if details.submission_id is None or not {"job", "output"} <= labels.keys():
        return None
    state = str(details.status).lower()
    if state == "failed" and details.driver_exit_code == ExitStatus.INTERRUPTED:
        state = "stopped"  # a run that ended because it was asked to
    try:
        storage = StorageOptions.model_validate_json(labels.get("storage", "{}"))
    except ValueError:  # written by a version with more options
        storage = StorageOptions.model_validate({})
    return Submission(
        id=details.submission_id,
        job=labels["job"],
        output=labels["output"],
        storage=storage,
        state=state,  # type: ignore[arg-type]
        started=None if details.start_time is None else details.start_time / 1000,
        ended=None if details.end_time is None else details.end_time / 1000,
        exit_code=details.driver_exit_code,
        message=details.message or "",
        asked=labels.get("asked"),
    )


def forerunners(job: Job, submissions: Iterable[Submission]) -> list[Submission]:
    """Return the earlier submissions of a job that have not ended.

    They are found by the job's name and by its output, at whatever moment. Ids do not tell: each tick of a
    dated output has another id, and so has a job file that was edited meanwhile.

    Args:
        job: The job as ``read_job`` returns it, with ``{date}`` and ``{time}`` in its output.
        submissions: All submissions of the cluster.
    """
    outputs = dated_output.pattern_of(output_of(job))
    return [
        submission
        for submission in submissions
        if submission.alive
        and submission.job == job.spec.name
        and outputs.fullmatch(submission.output)
    ]


def find_address(given: str | None) -> str | None:
    """Return the address of a cluster's dashboard; None where nothing names one.

    Args:
        given: The value of ``--address``; None looks in the environment (``ADDRESSES``).

    Raises:
        UsageError: ``given`` is not an HTTP address.
    """
    if given is not None and not _is_http(given):
        raise UsageError(
            f"--address {given} is not the address of a cluster's dashboard, such as http://head:8265"
        )
    candidates = (given, *(os.environ.get(name) for name in ADDRESSES))
    url = next((address for address in candidates if address and _is_http(address)), None)
    return url and url.rstrip("/")


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://")) and bool(urlsplit(address).hostname)
