"""A job file, read and dated."""

from __future__ import annotations

from pathlib import Path

from jobs.jobfile import dated_output
from jobs.jobfile.job import Job
from jobs.jobfile.parse import read_job


def load_job(path: str | Path, at: str | None = None) -> Job:
    """Read a job file; its output, where it is dated, is that of the moment ``at``, or of now.

    Raises JobFileError with every problem in it, and UsageError when ``at`` is no moment.
    """
    return dated_output.dated_at(read_job(path), at)
