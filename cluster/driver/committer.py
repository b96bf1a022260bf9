"""``Committer``: writes several records at a time, so that the driver does not wait for a server."""

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
"""The largest number of records in flight; beyond it the driver starts no new task."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A record to be written, and what belongs to it."""

    record: TaskRecord
    kept: OutputRecord | None
    """The last good picture of an earlier failure, to be deleted."""
    checkpoint: bool
    """Whether the task has a checkpoint, to be deleted."""
    preview: bool
    """Whether the task may have a preview, to be deleted."""
    announce: Callable[[], None]
    """Reports on the driver's thread that the record is written."""


class Committer:
    """Writes commits on threads of its own.

    Args:
        records: Writes one record.
        wake: Called on one of the threads after each commit.
    """

    def __init__(self, records: Records, wake: Callable[[], None] = lambda: None) -> None:
        self._records = records
        self._wake = wake
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="commit")
        self._finished: queue.SimpleQueue[tuple[Commit, BaseException | None]] = queue.SimpleQueue()
        self.waiting = 0
        """Commits that ``finished`` has not returned yet."""

    def submit(self, commit: Commit) -> None:
        """Start to write a commit."""
        self.waiting += 1
        self._threads.submit(self._write, commit)

    def finished(self) -> list[tuple[Commit, StorageError | None]]:
        """Return the commits that ended since the last call, each with the storage's error if it failed.

        Raises any other error that a commit met.
        """
        ended: list[tuple[Commit, StorageError | None]] = []
        while not self._finished.empty():
            commit, error = self._finished.get()
            self.waiting -= 1
            if error is not None and not isinstance(error, StorageError):
                raise error
            ended.append((commit, error))
        return ended

    def close(self, *, wait: bool = True) -> None:
        """Wait for the commits in flight, or abandon those that have not started."""
        self._threads.shutdown(wait=wait, cancel_futures=not wait)

    def _write(self, commit: Commit) -> None:
        error: BaseException | None = None
        try:
            self._records.commit(
                commit.record,
                commit.kept,
                checkpoint=commit.checkpoint,
                preview=commit.preview,
            )
        except BaseException as caught:
            error = caught
        self._finished.put((commit, error))
        self._wake()
