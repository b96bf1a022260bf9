"""What is known of a job that was handed to a cluster: its id, how it ended, where the cluster is.

An id is made from the job, so that the same job is not submitted twice while it runs. Ray knows an id for
ever, so what has ended and is submitted again, to go on, gets a number behind it.
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
"""Variables that say where the cluster is."""

LABEL = "stylefarm_"
"""Begins what a submission says of itself in Ray's metadata."""

State = Literal["pending", "running", "succeeded", "failed", "stopped"]


def id_of(job: Job) -> str:
    """The id under which a job is submitted first: ``stylefarm-harbour-1a2b3c4d``."""
    # When a job is rendered is no part of what it is.
    written = job.spec.model_dump(mode="json", exclude={"schedule"})
    resolved = {**written, "output": output_of(job)}
    text = json.dumps(resolved, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name = re.sub(r"[^a-z0-9]+", "-", job.spec.name.lower())[:40].strip("-") or "job"
    return f"stylefarm-{name}-{digest}"


def output_of(job: Job) -> str:
    """Where a job's results go, however it was written."""
    output = job.spec.output
    return output if output.startswith("s3://") else str(local_path(output, job.base))


def numbered(base: str, number: int) -> str:
    """The id of a job's submission number ``number``, from 1."""
    return base if number == 1 else f"{base}-{number}"


def split_id(submission: str) -> tuple[str, int]:
    """The base of an id and its number. Anything else than an id of ours is a base."""
    # A digest may have digits alone, but it has eight.
    match = re.fullmatch(r"(stylefarm-.*-[0-9a-f]{8})-(\d{1,6})", submission)
    return (match[1], int(match[2])) if match else (submission, 1)


@dataclass(frozen=True)
class Submission:
    """A job that was handed to a cluster, as its head knows it."""

    id: str
    job: str
    output: str
    storage: StorageOptions
    state: State
    started: float | None
    """Seconds since the epoch."""
    ended: float | None
    exit_code: int | None
    message: str
    asked: str | None = None
    """What tells it from other things that could be asked of the same job."""

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
        """That of the run; 3 where the cluster lost it or never began it."""
        if self.state == "stopped":
            return ExitStatus.INTERRUPTED
        if self.exit_code is not None:
            return self.exit_code if 0 <= self.exit_code < 256 else 1
        return 0 if self.state == "succeeded" else ClusterError.exit_status


def submission_of(details: Any) -> Submission | None:
    """What Ray says of a job; None when it is none of ours."""
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
    except ValueError:  # of a version that knows more
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
    """What was submitted of a job before and has not ended: under its name, to an output that is its own at
    one moment or another. ``job`` is as ``read_job`` has it.

    Its id does not tell: each tick of a dated output has another, and so has a job that was edited meanwhile.
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
    """The address of a cluster's dashboard, from the command line or the environment; None where neither
    says it. Raises UsageError."""
    if given is not None and not _is_http(given):
        raise UsageError(
            f"--address {given} is not the address of a cluster's dashboard, such as http://head:8265"
        )
    candidates = (given, *(os.environ.get(name) for name in ADDRESSES))
    url = next((address for address in candidates if address and _is_http(address)), None)
    return url and url.rstrip("/")


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://")) and bool(urlsplit(address).hostname)
