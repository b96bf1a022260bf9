"""A job file that was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.errors import Problem
from jobs.jobfile.yaml_source import FieldPath, Source
from jobs.spec.job import JobSpec
from jobs.storage.base import Storage
from jobs.storage.open import open_storage


@dataclass(frozen=True)
class Job:
    """A job file that was read: what it says, and where each of its fields stands."""

    spec: JobSpec
    file: str
    base: Path
    """The folder that its relative paths are relative to; absolute."""
    source: Source

    def problem(self, path: FieldPath, message: str) -> Problem:
        """Something wrong at a field, found after loading (a glob that matches nothing, say)."""
        return self.source.problem(path, message)


def open_output(job: Job) -> Storage:
    """The storage of a job's output. Raises StorageError when its address means none."""
    return open_storage(job.spec.output, job.spec.storage, base=job.base)
