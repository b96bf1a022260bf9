"""``Counting``: how many tasks a long job has, while it is already being rendered."""

from __future__ import annotations

from cluster.events.events import (
    Beat,
    ColumnsUnused,
    Counted,
    Event,
    KnobsWithoutEffect,
    Listener,
    PicturesUnread,
    RowsRead,
    RowsSkipped,
    Started,
)
from cluster.events.searching import Searching
from jobs.inputs.formats import UNREAD_SHOWN
from jobs.tasks.background_reader import Reader
from jobs.tasks.census import Census
from jobs.tasks.row_account import BAD_ROWS_SHOWN

FIRST_READ_SECONDS = 2.0
"""How long a run waits for its job to be read to the end before it starts without the number of tasks."""

POLL_SECONDS = 0.1


class Counting:
    """A listener that passes events on, and adds the job's counts once the job is read.

    Args:
        reader: Reads the job.
        listen: Hears every event.
        searching: Says how far films are looked through.
    """

    def __init__(self, reader: Reader, listen: Listener, searching: Searching) -> None:
        self._reader = reader
        self._listen = listen
        self._searching = searching
        self._told_columns: set[str] = set()
        self._counted = False
        """Whether the listener has heard the counts."""

    def begin(self, name: str, output: str, gallery: str = "") -> Census | None:
        """Announce the run, and wait for the first task.

        Args:
            name: The job's name.
            output: The URL of its output.
            gallery: The address of its gallery.

        Returns:
            The counts; None while the job is still being read.

        Raises:
            JobFileError, StorageError: As the reader's ``check``.
            KeyboardInterrupt: The run is asked to end before there is a task.
        """
        census = self._reader.wait(FIRST_READ_SECONDS)
        known = census or Census(0, 0, 0, 0)
        self._listen(
            Started(
                job=name,
                output=output,
                tasks=known.tasks,
                done=known.done,
                failed=known.failed,
                work_left=known.work_left,
                counting=census is None,
                gallery=gallery,
            )
        )
        if self._reader.without_effect:
            self._listen(KnobsWithoutEffect(knobs=self._reader.without_effect))
        unread = self._reader.unread
        if unread.count:
            self._listen(
                PicturesUnread(pictures=unread.count, first=tuple(unread.first[:UNREAD_SHOWN]))
            )
        self._report_columns()
        if census is not None:
            self._counted = True
            self._report_rows(census)
        # A pool costs seconds and memory: none is opened before there is something to render.
        while self._reader.census is None and not self._reader.has_task:
            self._searching.tell()
            self._searching.check()
            self._reader.wait(POLL_SECONDS)
        self._report()
        return self._reader.census

    def __call__(self, event: Event) -> None:
        if isinstance(event, Beat):
            self._searching.tell()
            self._report()
        self._listen(event)

    def _report(self) -> None:
        census = self._reader.census
        if not self._counted and census is not None:
            self._counted = True
            self._listen(
                Counted(
                    tasks=census.tasks,
                    done=census.done,
                    failed=census.failed,
                    work_left=census.work_left,
                )
            )
            self._report_rows(census)

    def _report_columns(self) -> None:
        """Name the columns without a meaning that were not named yet: lines of JSON may bring more."""
        columns = tuple(c for c in self._reader.unused_columns if c not in self._told_columns)
        if columns:
            self._told_columns.update(columns)
            self._listen(ColumnsUnused(columns=columns))

    def _report_rows(self, census: Census) -> None:
        self._report_columns()
        rows = census.rows
        if rows.rows:
            self._listen(
                RowsRead(
                    rows=rows.rows,
                    used=rows.used,
                    repeated=rows.repeated,
                    left_out=rows.left_out,
                    skipped=rows.bad,
                    notes=tuple(map(str, rows.notes)),
                )
            )
        if rows.bad:
            first = tuple(map(str, self._reader.rows.problems[:BAD_ROWS_SHOWN]))
            self._listen(RowsSkipped(rows=rows.bad, first=first))
