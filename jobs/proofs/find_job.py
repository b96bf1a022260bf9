"""From an output, or a job file, to the job and its two storages: pictures and proofs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from jobs.errors import ObjectNotFoundError, UsageError
from jobs.jobfile import dated_output
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.jobfile.parse import read_job
from jobs.proofs.proofs import proofs_of
from jobs.storage import keys
from jobs.storage.base import Storage, StorageOptions
from jobs.storage.open import open_storage


def storages_of(output: str, endpoint_url: str | None) -> tuple[Storage, Storage]:
    """Return the storages of a job's pictures and of its proofs.

    Args:
        output: An output's address, or a job file.
        endpoint_url: The S3 endpoint of an output; a job file names its own. None: AWS.

    Raises:
        UsageError: The endpoint is no address of a server.
        JobFileError: The job file cannot be used.
        StorageError: The output is an address of no known storage.
    """
    _check_endpoint(output, endpoint_url)
    if is_job_file(output):
        job = load_job(output)
        return open_output(job), open_output(proofs_of(job))
    try:
        options = StorageOptions(endpoint_url=endpoint_url)
    except ValidationError:
        raise UsageError(
            f"--endpoint-url {endpoint_url} is not an address: give one such as http://minio:9000"
        ) from None
    below = f"{output.rstrip('/')}/{keys.PROOFS}"
    return open_storage(output, options), open_storage(below, options)


def job_of(output: str, endpoint_url: str | None) -> Job:
    """Return the job of an output: its file is read again, from the path that the output's job.json names.

    Args:
        output: An output's address, or the job file.
        endpoint_url: The S3 endpoint of an output; a job file names its own. None: AWS.

    Raises:
        UsageError: No job has rendered to the output, or its file is not on this machine, or renders to
            another output now; or the endpoint is no address of a server.
        JobFileError: The job file cannot be used.
        StorageError: The output cannot be read.
    """
    _check_endpoint(output, endpoint_url)
    if is_job_file(output):
        return load_job(output)
    pictures, proofs = storages_of(output, endpoint_url)
    file = next((file for file in map(_file_of, (proofs, pictures)) if file is not None), None)
    instead = "name the job file instead: stylefarm promote job.yaml --select ..."
    if file is None:
        raise UsageError(
            f"no job has rendered to {pictures.url} yet; is that its output? Proofs are made with "
            "stylefarm run job.yaml --proof"
        )
    if not os.path.isfile(file):  # noqa: PTH113 - False also where this user may not look
        raise UsageError(f"the job of {pictures.url} is {file}, which is not here; {instead}")
    job = _dated_as(read_job(file), pictures.url)
    now = open_output(job)
    if now.url.rstrip("/") != pictures.url.rstrip("/"):
        raise UsageError(f"{file} now renders to {now.url}, not to {pictures.url}; {instead}")
    return job


def _check_endpoint(output: str, endpoint_url: str | None) -> None:
    """Raise UsageError where ``--endpoint-url`` would have no effect."""
    if endpoint_url is None or output.startswith("s3://"):
        return
    why = "which names its own" if is_job_file(output) else "which is not on s3://"
    raise UsageError(f"--endpoint-url would have no effect on {output}, {why}: leave it out")


def _dated_as(job: Job, url: str) -> Job:
    """Return a job with the output ``url``, where that is one of the outputs of its template."""
    if not dated_output.is_dated(job):
        return job
    written = open_output(job).url
    if not dated_output.pattern_of(written.rstrip("/")).fullmatch(url.rstrip("/")):
        return dated_output.dated(job, dated_output.now())
    spec = job.spec.model_copy(update={"output": url})
    return replace(job, spec=spec, template=job.output_template)


def is_job_file(name: str) -> bool:
    """Return whether a name on the command line means a job file rather than an output or a submission's id.

    A name that ends in .yaml or .yml means one also where no such file exists, so that a misspelt name is
    reported as that.
    """
    if "://" in name or os.path.isdir(name):  # noqa: PTH112 - False also where this user may not look
        return False
    return os.path.isfile(name) or Path(name).suffix in (".yaml", ".yml")  # noqa: PTH113


def _file_of(storage: Storage) -> str | None:
    try:
        return str(json.loads(storage.get(keys.JOB))["file"])
    except (ObjectNotFoundError, ValueError, TypeError, KeyError):
        return None
