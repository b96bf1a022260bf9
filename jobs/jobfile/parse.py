"""From a job file to a Job, or to every problem in it with file, line and field.

``jobs.jobfile.yaml_source`` turns YAML into values. Here the models of ``jobs.spec`` validate them, and the
models' errors become sentences.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from jobs.errors import JobFileError, Problem
from jobs.jobfile.job import Job
from jobs.jobfile.messages import problems_of
from jobs.jobfile.recipes import recipe_problems
from jobs.jobfile.yaml_source import BYTE_LIMIT, read_yaml
from jobs.spec.job import JobSpec


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
        message = f"cannot be read ({error.strerror or error})"
        raise JobFileError([Problem(str(path), None, "", message)]) from error
    return parse_job(data, str(path), file.parent.absolute(), default_name=file.stem)


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
        problems.append(source.problem((), "a job file is a mapping: name:, output:, pairs: ..."))
        raise JobFileError(problems)
    # A section with nothing in it, perhaps because all its lines are commented out, counts as not given.
    values = {key: value for key, value in values.items() if value is not None}
    spec = None
    try:
        spec = JobSpec.model_validate({"name": default_name, **values})
    except ValidationError as error:
        problems += problems_of(source, error)
    problems += recipe_problems(source, values)
    if isinstance(values.get("pairs"), list) and not values["pairs"]:
        problems.append(source.problem(("pairs",), "is empty; name at least one content and style"))
    if problems or spec is None:
        raise JobFileError(sorted(set(problems), key=lambda p: (p.line or 0, p.field)))
    return Job(spec, file, base, source)
