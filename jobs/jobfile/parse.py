"""From a job file to a Job, or to every problem in it with file, line and field.

``jobs.jobfile.yaml_source`` turns YAML into values. Here the models of ``jobs.spec`` validate them, and the
models' errors become sentences.
"""

from __future__ import annotations

import errno
import mimetypes
import re
from pathlib import Path

from pydantic import ValidationError

from jobs.errors import AddressError, JobFileError, Problem
from jobs.jobfile.job import Job
from jobs.jobfile.messages import problems_of
from jobs.jobfile.recipes import recipe_problems
from jobs.jobfile.videos import video_problems
from jobs.jobfile.yaml_source import BYTE_LIMIT, Source, read_yaml
from jobs.manifests.manifest import is_manifest
from jobs.spec.job import JobSpec
from jobs.spec.values import as_given
from jobs.storage.addresses import check_address
from jobs.storage.base import resolve_options


def read_job(path: str | Path) -> Job:
    """Read a job file as it is written: ``{date}`` and ``{time}`` in its output stay.

    Args:
        path: The job file. Its folder is the base of relative paths, its stem the default of ``name``.

    Returns:
        The job.

    Raises:
        JobFileError: The file cannot be read or used; the error has every problem in it.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(BYTE_LIMIT + 1)
    except OSError as error:
        raise JobFileError([Problem(str(path), None, "", _unreadable(file, error))]) from error
    try:
        return parse_job(data, str(path), file.parent.absolute(), default_name=file.stem)
    except JobFileError:
        other = _other_kind(file)
        if other is None:
            raise
        raise JobFileError([Problem(str(path), None, "", other)]) from None


def _unreadable(file: Path, error: OSError) -> str:
    """Return the sentence about a job file that cannot be opened."""
    if error.errno == errno.EISDIR:
        return f"is a folder: name the job file in it, such as {file / 'job.yaml'}"
    if error.errno == errno.ENOENT and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(file)):
        return "is not a path: a job file is read from a disk, so copy it here first"
    return f"cannot be read ({error.strerror or error})"


def _other_kind(file: Path) -> str | None:
    """Return the sentence about a file that is no job file, by its name; None: it may well be one."""
    if is_manifest(file.name):
        return f"is a manifest, which a job file names: pairs: [{{manifest: {file.name}}}]"
    if (mimetypes.guess_type(file.name)[0] or "").startswith("image/"):
        return (
            f"is a picture, which a job file names: pairs: [{{content: {file.name}, style: ...}}]"
        )
    return None


def _no_mapping(values: object) -> str:
    if isinstance(values, list):
        return "a job file is a mapping: begin it with output:, and put this list below pairs:"
    return "a job file is a mapping: name:, output:, pairs: ..."


def parse_job(data: bytes, file: str, base: Path, default_name: str = "job") -> Job:
    """Parse the bytes of a job file.

    Args:
        data: UTF-8 encoded YAML; any bytes are safe.
        file: The file's name in problems.
        base: The absolute folder that relative paths start at.
        default_name: The job's name, where the file gives none.

    Returns:
        The job.

    Raises:
        JobFileError: The bytes are no job file; the error has every problem in it. No other exception is
            raised, whatever the bytes.
    """
    source = read_yaml(data, file)
    problems = list(source.problems)
    values = source.values
    if not isinstance(values, dict):
        problems.append(source.problem((), _no_mapping(values)))
        raise JobFileError(problems)
    values = as_given(values, JobSpec)
    spec = None
    try:
        spec = JobSpec.model_validate({"name": default_name, **values})
    except ValidationError as error:
        problems += problems_of(source, error)
    problems += recipe_problems(source, values)
    problems += video_problems(source, values)
    if isinstance(values.get("pairs"), list) and not values["pairs"]:
        problems.append(source.problem(("pairs",), "is empty; name at least one content and style"))
    if spec is not None:
        problems += _address_problems(source, spec, base)
    if problems or spec is None:
        raise JobFileError(sorted(set(problems), key=lambda p: (p.line or 0, p.field)))
    return Job(spec, file, base, source)


def _address_problems(source: Source, spec: JobSpec, base: Path) -> list[Problem]:
    """Return the addresses that mean nothing on this machine, such as ~user of an unknown user."""
    problems = []
    try:
        check_address(spec.output, base)
    except AddressError as error:
        problems.append(source.problem(("output",), str(error).rstrip(".")))
    try:
        resolve_options(spec.storage, base)
    except AddressError as error:
        problems.append(source.problem(("storage", "ca_bundle"), str(error).rstrip(".")))
    return problems
