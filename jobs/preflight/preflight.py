"""``Preflight``: what shows of a job's pictures before any is rendered.

A misspelt painting fails every task that uses it, and should not do so at night. So ``plan``, ``doctor`` and
the start of a run look whether the pictures are there, and whether the masks can be meant.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.errors import JobFileError, Problem
from jobs.inputs.addresses import display, is_web
from jobs.inputs.reader import Inputs
from jobs.preflight.masks import doubtful_masks
from jobs.preflight.missing import MissingSearch
from jobs.preflight.names import names_of, pictures_of, sample_of
from jobs.records.statuses import ABSENT, Ledger
from jobs.tasks.identity import Draft
from jobs.tasks.row_account import RowAccount
from jobs.tasks.todo import Agenda

MOST_MASKS = 100
"""Masks that are looked at."""


@dataclass(frozen=True, slots=True)
class MissingPicture:
    """A picture that is missing or cannot be used, and that tasks to do need."""

    uri: str
    """Its address, without secrets."""
    tasks: int
    """Tasks to do that need it, among those that were looked at."""
    near: str | None
    """The picture or folder that is probably meant; None: none is near."""
    problem: Problem
    """Where the job names it, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about a job's pictures."""

    pictures: int
    """Pictures that were looked at."""
    complete: bool
    """Whether these are all pictures of the job."""
    tasks: int
    """Tasks to do that were searched for those that need a missing picture, and for masks; 0 if no picture is
    missing and there are no masks."""
    all_tasks: bool
    """Whether these are all tasks to do."""
    missing: tuple[MissingPicture, ...]
    """Pictures that cannot be used, the one that most tasks need first."""
    doomed: int
    """Tasks that need one of these."""
    unreachable: tuple[str, ...]
    """Why pictures of a store could not be looked at."""
    masks: tuple[str, ...]
    """The first ``MOST_MASKS`` masks of tasks to do, as far as they are on this disk."""
    unreadable: tuple[Problem, ...] = ()
    """The films with frames that cannot be read, as far as cuts were looked for in them."""
    doubts: tuple[str, ...] = ()
    """Sentences about those of them that are doubtful, once they were looked at."""

    @property
    def hopeless(self) -> bool:
        """Whether it is certain that no task can be rendered."""
        return self.all_tasks and 0 < self.tasks == self.doomed

    @property
    def hopelessness(self) -> str:
        """The sentence about a job of which no task can be rendered."""
        each = (
            "the task that is not done needs"
            if self.tasks == 1
            else f"each of the {self.tasks:,} tasks that are not done needs"
        )
        return f"nothing can be rendered: {each} a picture that cannot be used"

    @property
    def scope(self) -> str:
        """What was looked at: "3 of 1,000 pictures looked at are missing"."""
        rest = "" if self.complete else "; others were not looked at"
        return f"{len(self.missing):,} of {self.pictures:,} pictures looked at cannot be used{rest}"

    def to_json(self) -> dict[str, Any]:
        """Return all of it, for ``plan --json``."""
        return {
            "pictures": self.pictures,
            "complete": self.complete,
            "tasks": self.tasks,
            "all_tasks": self.all_tasks,
            "doomed": self.doomed,
            "missing": [
                {"uri": m.uri, "tasks": m.tasks, "near": m.near, "problem": str(m.problem)}
                for m in self.missing
            ],
            "unreachable": list(self.unreachable),
            "unreadable_frames": [str(problem) for problem in self.unreadable],
            "masks": len(self.masks),
            "doubtful_masks": list(self.doubts),
        }


class Preflight:
    """Looks at a job's pictures: ``search`` first, on any thread, then ``judge``.

    Args:
        agenda: All tasks of the job, of which the first rows of manifests are read here.
    """

    def __init__(self, agenda: Agenda) -> None:
        job = agenda.job
        self._names = names_of(agenda)
        self._inputs = Inputs(
            job.base, job.spec.storage, allow_private=job.spec.inputs.allow_private
        )
        self._search = MissingSearch(self._inputs, self._names.places)
        self._searched = threading.Event()

    def search(self, seconds: float) -> None:
        """Look for missing pictures, for about so long."""
        try:
            self._search.run(deadline(seconds))
        finally:
            self._searched.set()

    def wait(self, seconds: float) -> None:
        """Wait for ``search`` to end on another thread, at most so long."""
        self._searched.wait(seconds)

    @property
    def missing(self) -> frozenset[str]:
        """The addresses of the pictures that cannot be used, as far as they are found."""
        return frozenset(dict(self._search.missing))

    def judge(self, agenda: Agenda, ledger: Callable[[], Ledger], retry_failed: bool) -> Findings:
        """Return what the search has found so far, as far as it concerns tasks that are to do.

        Args:
            agenda: The tasks: all of the job's, or a view of them.
            ledger: Returns the tasks that have a record; called only if something was found.
            retry_failed: Whether failed tasks are to do.
        """
        search, names = self._search, self._names
        missing = dict(search.missing)
        users: Counter[str] = Counter()
        masks: dict[str, None] = {}
        tasks = doomed = 0
        all_tasks = names.all_tasks and names.all_rows
        if missing or names.masks:
            drafts = sample_of(agenda).drafts(ledger(), RowAccount(), retry_failed)
            try:
                for draft, code in drafts:
                    if code == ABSENT:
                        tasks += 1
                        needed = {uri for uri in pictures_of(draft) if uri in missing}
                        users.update(needed)
                        doomed += bool(needed)
                        if len(masks) < MOST_MASKS:
                            masks.update(dict.fromkeys(_masks_here(draft)))
            except JobFileError:  # reading the job to its end reports it
                all_tasks = False
        found = [
            self._missing(uri, why, users[uri], all_tasks)
            for uri, why in missing.items()
            if users[uri] or not names.all_tasks
        ]
        return Findings(
            pictures=search.looked_at,
            complete=names.complete and search.looked_at == len(names.places),
            tasks=tasks,
            all_tasks=all_tasks,
            missing=tuple(sorted(found, key=lambda one: -one.tasks)),
            doomed=doomed,
            unreachable=tuple(search.unreachable),
            masks=tuple(masks)[:MOST_MASKS],
            unreadable=tuple(frames.problem for frames in agenda.unreadable),
        )

    def doubts(self, masks: Sequence[str], stop: Callable[[], bool]) -> Iterator[str]:
        """Yield a sentence about each of some masks that is doubtful, until ``stop`` returns True."""
        return doubtful_masks(self._inputs, masks, stop)

    def _missing(self, uri: str, why: str, tasks: int, exact: bool) -> MissingPicture:
        near = self._search.near.get(uri)
        text = why.rstrip(".") + ("" if near is None else f"; is {near} meant?")
        if tasks:
            needed = "1 task needs it" if tasks == 1 else f"{tasks:,} tasks need it"
            text += f"{'' if text.endswith('?') else ';'} {'' if exact else 'at least '}{needed}"
        place = self._names.places[uri]
        return MissingPicture(display(uri), tasks, near, place(text))


def _masks_here(draft: Draft) -> Iterator[str]:
    """Yield the masks of a task that are on this disk, if they are there."""
    for part in draft.styles:
        if part.mask is not None and not (part.mask.startswith("s3://") or is_web(part.mask)):
            yield part.mask


def deadline(seconds: float) -> Callable[[], bool]:
    """Return a function that returns whether so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
