"""A job file -> Job, or every problem in it with file, line and field.

``jobs.jobfile.yaml_source`` makes values of the YAML; here they meet the models, and what the models say
becomes
sentences.
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
    """Read a job file as it is written, a dated output undated. Raises JobFileError."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(BYTE_LIMIT + 1)
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
        raise JobFileError([Problem(str(path), None, "", message)]) from error
    return parse_job(data, str(path), file.parent.absolute(), default_name=file.stem)


def parse_job(data: bytes, file: str, base: Path, default_name: str = "job") -> Job:
    """A job from the bytes of its file. Raises JobFileError, and nothing else, whatever they are."""
    source = read_yaml(data, file)
    problems = list(source.problems)
    values = source.values
    if not isinstance(values, dict):
        problems.append(source.problem((), "a job file is a mapping: name:, output:, pairs: ..."))
        raise JobFileError(problems)
    # A section with nothing in it, all its lines commented out perhaps, is one not given.
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
