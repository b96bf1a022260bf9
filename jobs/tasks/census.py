"""A job's tasks, counted by status."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import JobFileError, Problem
from jobs.records.statuses import DONE, FAILED
from jobs.tasks.identity import Draft

BAD_ROWS_SHOWN = 20
"""Rows that an error names."""


@dataclass(frozen=True, slots=True)
class Census:
    """A job's tasks by status. A task that the job names twice counts once."""

    tasks: int
    """All tasks of the job."""
    done: int
    """Tasks that are done."""
    failed: int
    """Tasks that failed in earlier runs and are not retried in this one."""
    work_left: int
    """Work of the tasks to do, in units of ``Recipe.work_at`` (steps times pixels)."""
    bad_rows: int = 0
    """Rows of manifests that are left out."""

    @property
    def left(self) -> int:
        """Tasks to do."""
        return self.tasks - self.done - self.failed


class BadRows:
    """Rows of manifests that cannot be used: their number, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        """Rows that cannot be used."""
        self.fatal = 0
        """Rows among them that end the run: those of entries whose ``on_bad_row`` is fail."""
        self.first: list[Problem] = []
        """The first ``BAD_ROWS_SHOWN`` rows."""

    def add(self, problem: Problem, *, skipped: bool) -> None:
        """Count a row. ``skipped``: its entry leaves bad rows out."""
        self.count += 1
        self.fatal += not skipped
        if len(self.first) < BAD_ROWS_SHOWN:
            self.first.append(problem)

    def error(self) -> JobFileError:
        """Return the error for rows that end a run."""
        hidden = self.count - len(self.first)
        more = f"{hidden:,} more rows cannot be used" if hidden else ""
        advice = (
            f"correct {'the' if more else 'these'} rows, or leave them out with on_bad_row: skip"
        )
        last = f"{more}; {advice}" if more else advice
        return JobFileError([*self.first, Problem("manifest", None, "", last)])


class Counter:
    """Counts tasks one by one."""

    def __init__(self) -> None:
        self._tasks = self._done = self._failed = self._work_left = 0

    def add(self, draft: Draft, code: int) -> None:
        """Count a task; ``code`` is its status in ``jobs.records.statuses``."""
        self._tasks += 1
        if code == DONE:
            self._done += 1
        elif code == FAILED:
            self._failed += 1
        else:
            self._work_left += draft.kind.work

    def census(self, bad: BadRows) -> Census:
        """Return the counts so far."""
        skipped = bad.count - bad.fatal
        return Census(self._tasks, self._done, self._failed, self._work_left, skipped)
