"""A job, read in the background: its tasks are counted, and those to do handed out from the first on.

A manifest of a million rows takes a minute to read, and no GPU should wait for that. So the first pass hands
out the tasks to do that it finds, up to the size of a queue, while it counts. Tasks that it finds later are
only counted, and handed out by a second pass. Memory does not grow with the job.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

from jobs.errors import StylefarmError
from jobs.inputs.formats import Unread
from jobs.records.statuses import ABSENT, Ledger
from jobs.tasks.census import Census, Counter
from jobs.tasks.row_account import RowAccount
from jobs.tasks.task import Task
from jobs.tasks.todo import Agenda

AT_HAND = 1024
"""Tasks read ahead of the workers that take them."""


class _Closed(Exception):  # noqa: N818 - a signal between two methods
    """The reader was closed; its thread ends."""


class Reader:
    """An iterator over the tasks to do, filled by a thread.

    It never blocks: it yields None when no task is ready yet. It ends early when the job turns out to be
    wrong, and ``check`` then raises the error.

    Args:
        agenda: The job, looked up.
        ledger: The tasks that have a record.
        retry_failed: Count failed tasks as tasks to do.
        at_hand: Tasks to read ahead, > 0.
    """

    def __init__(
        self, agenda: Agenda, ledger: Ledger, *, retry_failed: bool = False, at_hand: int = AT_HAND
    ) -> None:
        self._agenda = agenda
        self._ledger = ledger
        self._retry_failed = retry_failed
        self._at_hand: queue.Queue[Task | None] = queue.Queue(at_hand)
        """Tasks ready to be taken; None after the last one."""
        self._counted = threading.Event()
        self._closed = threading.Event()
        self._ended = False
        self.census: Census | None = None
        """The counts; None until the first pass has ended."""
        self.rows = RowAccount()
        """The rows of manifests read so far."""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    @property
    def digests(self) -> Mapping[tuple[str, str | None], str]:
        """Digests of the weights found so far, by the knobs ``weights`` and ``weights_input``."""
        return dict(self._agenda.digests)

    @property
    def unread(self) -> Unread:
        """Pictures of formats that are not read, which patterns match and that are left out."""
        return self._agenda.unread

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Knobs that the job gives and that change none of its pictures, each with its place and why."""
        return tuple(map(str, self._agenda.without_effect))

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Columns of the manifests that have no meaning."""
        return self._agenda.unused_columns

    def start(self) -> Reader:
        """Start the thread, and return the reader itself."""
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Task | None]:
        return self

    def __next__(self) -> Task | None:
        if self._ended or self._error is not None:
            raise StopIteration
        try:
            task = self._at_hand.get_nowait()
        except queue.Empty:
            return None
        if task is None or self._error is not None:
            self._ended = True
            raise StopIteration
        return task

    def wait(self, seconds: float) -> Census | None:
        """Return the counts, or None if they are not complete within ``seconds``. Raises as ``check``."""
        self._counted.wait(seconds)
        self.check()
        return self.census

    @property
    def has_task(self) -> bool:
        """Whether a task is ready to be taken."""
        return not self._at_hand.empty()

    def check(self) -> None:
        """Raise the error that ended the reading, if one did.

        Raises:
            JobFileError: Rows cannot be used, a manifest cannot be read, or there is no task.
            StorageError: An input or output cannot be reached.
        """
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading, and wait for the thread."""
        self._closed.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            handed, all_handed = self._count()
            if not all_handed:
                self._hand_out(skip=handed)
            self._put(None)
        except _Closed:
            pass
        except StylefarmError as error:
            self._error = error
        except BaseException as error:  # a bug must not look like the end of the job
            self._error = error
        finally:
            self._counted.set()

    def _count(self) -> tuple[int, bool]:
        """Count, and hand out. Returns the number of tasks handed out, and whether these are all."""
        counter, handed, full = Counter(), 0, False
        for draft, code in self._agenda.drafts(self._ledger, self.rows, self._retry_failed):
            if self._closed.is_set():
                raise _Closed
            counter.add(draft, code)
            if code == ABSENT and not full and not self.rows.fatal:
                try:
                    self._at_hand.put_nowait(self._agenda.make(draft))
                    handed += 1
                except queue.Full:
                    full = True
        if self.rows.fatal:
            raise self.rows.error()
        self.census = counter.census(self.rows)
        if not self.census.tasks:
            raise self._agenda.nothing_to_do(self.rows)
        self._counted.set()
        return handed, not full

    def _hand_out(self, skip: int) -> None:
        """Read again, and hand out all tasks to do except the first ``skip``."""
        for draft, code in self._agenda.drafts(self._ledger, RowAccount(), self._retry_failed):
            if self._closed.is_set():
                raise _Closed
            if code != ABSENT:
                continue
            if skip:
                skip -= 1
            else:
                self._put(self._agenda.make(draft))

    def _put(self, task: Task | None) -> None:
        while not self._closed.is_set():
            try:
                self._at_hand.put(task, timeout=0.2)
                return
            except queue.Full:
                continue
        raise _Closed
