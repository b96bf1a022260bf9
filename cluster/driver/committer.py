"""Records on their way to the output: several at a time, so that the driver need not wait for a server."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.errors import StorageError
from jobs.records.commit import Records
from jobs.records.record import OutputRecord, TaskRecord

THREADS = 8
MOST_WAITING = 256
"""So many records may be on their way before nothing more is begun."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A record to be written, and what belongs to it."""

    record: TaskRecord
    kept: OutputRecord | None
    """The last good picture of an earlier failure."""
    checkpoint: bool
    announce: Callable[[], None]
    """Says that it is written, on the driver's thread."""


class Committer:
    """Writes commits. ``finished`` says which are, and which the storage would not take; ``wake`` is called
    when there is news, on a thread of its own."""

    def __init__(self, records: Records, wake: Callable[[], None] = lambda: None) -> None:
        self._records = records
        self._wake = wake
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="commit")
        self._finished: queue.SimpleQueue[tuple[Commit, BaseException | None]] = queue.SimpleQueue()
        self.waiting = 0

    def submit(self, commit: Commit) -> None:
        """Begin to write."""
        self.waiting += 1
        self._threads.submit(self._write, commit)

    def finished(self) -> list[tuple[Commit, StorageError | None]]:
        """What has ended since the last call, with what the storage said against it. Raises what was no
        trouble of the storage."""
        ended: list[tuple[Commit, StorageError | None]] = []
        while not self._finished.empty():
            commit, error = self._finished.get()
            self.waiting -= 1
            if error is not None and not isinstance(error, StorageError):
                raise error
            ended.append((commit, error))
        return ended

    def close(self, *, wait: bool = True) -> None:
        """Wait for what is being written, or begin no more of it."""
        self._threads.shutdown(wait=wait, cancel_futures=not wait)

    def _write(self, commit: Commit) -> None:
        error: BaseException | None = None
        try:
            self._records.commit(commit.record, commit.kept, checkpoint=commit.checkpoint)
        except BaseException as caught:
            error = caught
        self._finished.put((commit, error))
        self._wake()
