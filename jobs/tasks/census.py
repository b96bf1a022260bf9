"""A job's tasks, counted by what became of them."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import JobFileError, Problem
from jobs.records.statuses import DONE, FAILED
from jobs.tasks.identity import Draft

BAD_ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Census:
    """A job's tasks by what became of them. The same pair twice counts once."""

    tasks: int
    done: int
    failed: int
    """Of earlier runs, and not to be tried again in this one."""
    work_left: int
    """In ``Recipe.work_at`` units."""
    bad_rows: int = 0
    """Of manifests, which are left out."""

    @property
    def left(self) -> int:
        return self.tasks - self.done - self.failed


class BadRows:
    """Rows of manifests that cannot be used: how many, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.fatal = 0
        """So many of entries whose ``on_bad_row`` is fail."""
        self.first: list[Problem] = []

    def add(self, problem: Problem, *, skipped: bool) -> None:
        """Take one."""
        self.count += 1
        self.fatal += not skipped
        if len(self.first) < BAD_ROWS_SHOWN:
            self.first.append(problem)

    def error(self) -> JobFileError:
        """What is said of them when they end a run."""
        hidden = self.count - len(self.first)
        more = f"{hidden:,} more rows cannot be used" if hidden else ""
        advice = "correct them, or leave such rows out with on_bad_row: skip"
        last = f"{more}; {advice}" if more else advice
        return JobFileError([*self.first, Problem("manifest", None, "", last)])


class Counter:
    """Counts tasks one by one."""

    def __init__(self) -> None:
        self._tasks = self._done = self._failed = self._work_left = 0

    def add(self, draft: Draft, code: int) -> None:
        """Count one."""
        self._tasks += 1
        if code == DONE:
            self._done += 1
        elif code == FAILED:
            self._failed += 1
        else:
            self._work_left += draft.kind.work

    def census(self, bad: BadRows) -> Census:
        """What was counted."""
        skipped = bad.count - bad.fatal
        return Census(self._tasks, self._done, self._failed, self._work_left, skipped)
