"""A job's tasks, counted by status."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.records.statuses import DONE, FAILED
from jobs.tasks.identity import Draft
from jobs.tasks.row_account import RowAccount, RowCounts


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
    rows: RowCounts = RowCounts()  # noqa: RUF009 - immutable
    """The rows of its manifests."""

    @property
    def left(self) -> int:
        """Tasks to do."""
        return self.tasks - self.done - self.failed


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
            self._work_left += draft.work

    def census(self, rows: RowAccount) -> Census:
        """Return the counts so far."""
        return Census(self._tasks, self._done, self._failed, self._work_left, rows.counts())
