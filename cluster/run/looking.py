"""``Looking``: look at a job's pictures while a run prepares, and say what is missing before it renders.

Masks on this disk are looked at while the pool opens. The others are told by the workers that read them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from cluster.events.events import (
    Beat,
    Event,
    Listener,
    MasksDoubtful,
    PagesLeftOut,
    PicturesMissing,
)
from jobs.errors import JobFileError, Problem
from jobs.preflight.preflight import Findings, Preflight
from jobs.records.statuses import Ledger
from jobs.tasks.todo import Agenda

LOOK_SECONDS = 1.0
"""How long a run looks for missing pictures, and at most waits for that, in seconds."""

SHOWN = 10
"""Missing pictures, or doubtful masks, that an event or an error names."""

MOST_TOLD = 50
"""Doubtful masks that a run tells, and pictures with further pages: where every task has one, more say
nothing new."""


class Looking:
    """Looks at a job's pictures on a thread of its own, from when it is made.

    While the run renders it is a listener, which passes events on, adds what it has found, and tells each
    doubtful mask, and each picture with further pages, once.

    Args:
        agenda: All tasks of the job.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._preflight = Preflight(agenda)
        self._findings: Findings | None = None
        self._listen: Listener = lambda event: None
        self._doubts: queue.SimpleQueue[str] = queue.SimpleQueue()
        """What the thread has found out about masks."""
        self._told: set[str] = set()
        """Sentences about masks that were told."""
        self._pages_told: set[str] = set()
        self._unreadable = agenda.unreadable
        """What is found out about films on whichever thread looks for their cuts."""
        self._unreadable_told = 0
        self._closed = threading.Event()
        threading.Thread(
            target=self._preflight.search, args=(LOOK_SECONDS,), name="look", daemon=True
        ).start()

    def judge(
        self,
        agenda: Agenda,
        ledger: Callable[[], Ledger],
        *,
        retry_failed: bool,
        refuse: bool,
    ) -> None:
        """Take what was found, as far as it concerns the tasks that the run renders.

        Args:
            agenda: The tasks of the run.
            ledger: Returns the tasks that have a record.
            retry_failed: Whether failed tasks are rendered again.
            refuse: Whether to raise if no task can be rendered.

        Raises:
            JobFileError: No task can be rendered.
        """
        self._preflight.wait(LOOK_SECONDS)
        found = self._findings = self._preflight.judge(agenda, ledger, retry_failed)
        if refuse and found.hopeless:
            problems = [picture.problem for picture in found.missing[:SHOWN]]
            rest = Problem(agenda.job.file, None, "", f"{found.scope}; {found.hopelessness}")
            raise JobFileError([*problems, rest])

    @property
    def missing(self) -> frozenset[str]:
        """The addresses of the pictures that cannot be used, as far as they are found."""
        return self._preflight.missing

    def tell(self, listen: Listener) -> None:
        """Say what is missing, and begin to look at masks.

        Args:
            listen: Hears what was found, now and later.
        """
        self._listen = listen
        self._tell_unreadable()
        found = self._findings
        if found is None:
            return
        if found.masks:
            threading.Thread(
                target=self._look_at, args=(found.masks,), name="look at masks", daemon=True
            ).start()
        if found.missing:
            listen(
                PicturesMissing(
                    pictures=len(found.missing),
                    looked_at=found.pictures,
                    complete=found.complete,
                    first=tuple(str(picture.problem) for picture in found.missing[:SHOWN]),
                )
            )

    def __call__(self, event: Event) -> None:
        self._tell_unreadable()
        if isinstance(event, Beat):
            self.tell_doubts()
        match event:
            case MasksDoubtful():
                self._tell(event.first)
            case PagesLeftOut():
                if new := _new(event.first, self._pages_told):
                    self._listen(PagesLeftOut(pictures=len(new), first=tuple(new[:SHOWN])))
            case _:
                self._listen(event)

    def _tell_unreadable(self) -> None:
        """Say which frames cannot be read, of each film once: before the first of them fails."""
        for film in self._unreadable[self._unreadable_told :]:
            self._unreadable_told += 1
            self._listen(
                PicturesMissing(
                    pictures=film.count,
                    looked_at=film.frames,
                    complete=True,
                    first=(str(film.problem),),
                )
            )

    def tell_doubts(self) -> None:
        """Say what was found out about masks since."""
        found = []
        while not self._doubts.empty():
            found.append(self._doubts.get())
        self._tell(found)

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()

    def _tell(self, doubts: Sequence[str]) -> None:
        if new := _new(doubts, self._told):
            self._listen(MasksDoubtful(masks=len(new), first=tuple(new[:SHOWN])))

    def _look_at(self, masks: Sequence[str]) -> None:
        for doubt in self._preflight.doubts(masks, self._closed.is_set):
            self._doubts.put(doubt)


def _new(sentences: Sequence[str], told: set[str]) -> list[str]:
    """Return the sentences that were not told yet, as far as they are not too many, and add them to these."""
    new = [one for one in dict.fromkeys(sentences) if one not in told][: MOST_TOLD - len(told)]
    told.update(new)
    return new
