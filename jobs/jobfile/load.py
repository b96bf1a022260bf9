"""The public entry point ``load_job``: a job file, read and dated."""

from __future__ import annotations

from pathlib import Path

from jobs.jobfile import dated_output
from jobs.jobfile.job import Job
from jobs.jobfile.parse import read_job


def load_job(path: str | Path, at: str | None = None) -> Job:
    """Read a job file, with ``{date}`` and ``{time}`` in its output replaced.

    Pictures, manifests and weights are not looked up; that is ``jobs.tasks.todo.Agenda``.

    Args:
        path: The job file.
        at: The moment that ``{date}`` and ``{time}`` stand for, an ISO 8601 date or date and time; None: now.

    Returns:
        The job.

    Raises:
        JobFileError: The file cannot be used; the error has every problem in it.
        UsageError: ``at`` is no moment.
    """
    return dated_output.dated_at(read_job(path), at)
