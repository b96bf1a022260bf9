"""A job file that was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.errors import Problem
from jobs.jobfile.yaml_source import FieldPath, Source
from jobs.spec.job import JobSpec
from jobs.spec.output import handed_on
from jobs.storage.base import Storage
from jobs.storage.open import open_storage


@dataclass(frozen=True)
class Job:
    """A job file that was read: its values, and the line of each of its fields.

    Made by ``jobs.jobfile.parse``; immutable. Changes are copies, by ``dataclasses.replace``.
    """

    spec: JobSpec
    """The values. Recipes in it are partial mappings; globs are not expanded."""
    file: str
    """The path of the job file, as the user named it."""
    base: Path
    """The folder that relative paths in the file start at; absolute."""
    source: Source
    """The YAML nodes, for the lines of problems."""
    template: str | None = None
    """The output as the file has it, with ``{date}`` and ``{time}``, once ``spec`` has a dated one."""

    @property
    def output_template(self) -> str:
        """The output with its ``{date}`` and ``{time}``."""
        return self.spec.output if self.template is None else self.template

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of a run elsewhere needs, so that the job's output is the same place there."""
        values = self.source.values
        written = values.get("output") if isinstance(values, dict) else None
        return handed_on(written) if isinstance(written, str) else {}

    def problem(self, path: FieldPath, message: str) -> Problem:
        """Return a problem at a field that shows after loading, such as a glob that matches nothing.

        Args:
            path: The field, such as ``("pairs", 0, "content", 2)``.
            message: The rest of the sentence: "x*.jpg matches no picture".
        """
        return self.source.problem(path, message)


def open_output(job: Job) -> Storage:
    """Return the storage of a job's output. Touches neither disk nor network.

    Raises:
        StorageError: ``output`` is an address of no known storage.
    """
    return open_storage(job.spec.output, job.spec.storage, base=job.base)
