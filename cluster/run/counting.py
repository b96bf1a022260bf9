"""Counting a long job while it is already being rendered."""

from __future__ import annotations

from cluster.events.events import (
    Beat,
    ColumnsUnused,
    Counted,
    Event,
    Listener,
    RowsSkipped,
    Started,
)
from jobs.tasks.background_reader import Reader
from jobs.tasks.census import Census

FIRST_LOOK_SECONDS = 2.0
"""How long a run waits for its job to be read to the end before it begins without knowing how long it is."""


class Counting:
    """A listener that passes on what it hears, and tells what a long job comes to once it is read."""

    def __init__(self, reader: Reader, listen: Listener) -> None:
        self._reader = reader
        self._listen = listen
        self._told = False

    def begin(self, name: str, output: str) -> Census | None:
        """Say that the run begins; the census, if the job is read to its end by now."""
        census = self._reader.wait(FIRST_LOOK_SECONDS)
        known = census or Census(0, 0, 0, 0)
        self._listen(
            Started(
                name,
                output,
                known.tasks,
                known.done,
                known.failed,
                known.work_left,
                counting=census is None,
            )
        )
        if self._reader.unused_columns:
            self._listen(ColumnsUnused(self._reader.unused_columns))
        if census is not None:
            self._told = True
            self._tell_of_bad_rows(census)
        # A pool costs seconds and memory: none is opened before there is something to render.
        while self._reader.census is None and not self._reader.has_task:
            self._reader.wait(0.1)
        self._tell()
        return self._reader.census

    def __call__(self, event: Event) -> None:
        if isinstance(event, Beat):
            self._tell()
        self._listen(event)

    def _tell(self) -> None:
        census = self._reader.census
        if not self._told and census is not None:
            self._told = True
            self._listen(Counted(census.tasks, census.done, census.failed, census.work_left))
            self._tell_of_bad_rows(census)

    def _tell_of_bad_rows(self, census: Census) -> None:
        if census.bad_rows:
            first = tuple(str(problem) for problem in self._reader.bad.first)
            self._listen(RowsSkipped(census.bad_rows, first))
