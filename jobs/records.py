"""The commit protocol: what is done, and what is left.

A worker writes a task's picture and loss log; then, and only then, the driver writes its record. All
keys derive from the task's id, so an attempt that is made again overwrites with the same. A crash
therefore leaves a task either committed (record, and with it picture and log) or to be done again (no
record); what an unfinished attempt left under the other keys is overwritten by the next.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pydantic import ValidationError

from jobs import keys
from jobs.errors import ObjectNotFoundError, StorageError
from jobs.storage import Storage
from jobs.tasks import OutputRecord, TaskRecord

log = logging.getLogger(__name__)

READERS = 16
"""Requests in flight while records are read; S3 answers each in milliseconds but many at once."""


class Records:
    """The records of one output."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def commit(self, record: TaskRecord, kept_before: OutputRecord | None = None) -> None:
        """Make a task done (or failed). Call after everything the record speaks of is stored.

        ``kept_before`` is the last good picture of an earlier failure. A task that fails again without
        another goes on naming it; otherwise it is deleted, once no record names it.
        """
        if record.status == "failed" and record.kept is None:
            record = record.model_copy(update={"kept": kept_before})
        data = record.model_dump_json(indent=1).encode()
        self._storage.put(keys.record(record.id), data, content_type="application/json")
        if kept_before is not None and (record.kept is None or record.kept.key != kept_before.key):
            self._discard(kept_before)

    def forget(self, ids: Iterable[str], kept: Mapping[str, OutputRecord] | None = None) -> None:
        """Take tasks back: they are to be done again. Their pictures stay until then, but not those in
        ``kept``, by id, which are of failures: nothing would name them any more."""

        def forget_one(task_id: str) -> None:
            self._storage.delete(keys.record(task_id))
            if kept is not None and task_id in kept:
                self._discard(kept[task_id])

        with ThreadPoolExecutor(READERS, thread_name_prefix="records") as readers:
            for _ in readers.map(forget_one, ids):
                pass

    def read(self, task_id: str) -> TaskRecord | None:
        """A task's record; None where there is none or it cannot be read (its task is to be done)."""
        try:
            return TaskRecord.model_validate_json(self._storage.get(keys.record(task_id)))
        except (ObjectNotFoundError, ValidationError):
            return None

    def ids(self) -> Iterator[str]:
        """The ids that have a record."""
        for stat in self._storage.list(keys.RECORDS):
            task_id = keys.record_id(stat.key)
            if task_id is not None:
                yield task_id

    def all(self) -> Iterator[TaskRecord]:
        """Every record that can be read."""
        yield from self._read_many(self.ids())

    def statuses(self) -> dict[str, Literal["done", "failed"]]:
        """What became of every task that has a record."""
        return {record.id: record.status for record in self.all()}

    def _discard(self, picture: OutputRecord) -> None:
        try:
            self._storage.delete(picture.key)
        except StorageError as error:  # it takes room, but no record is wrong
            log.warning("%s is not needed any more, but stays: %s", picture.key, error)

    def _read_many(self, ids: Iterable[str]) -> Iterator[TaskRecord]:
        with ThreadPoolExecutor(READERS, thread_name_prefix="records") as readers:
            for record in readers.map(self.read, ids):
                if record is not None:
                    yield record


def write_json(storage: Storage, key: str, value: object) -> None:
    """A small JSON document for people and other programs: job.json, summary.json."""
    data = json.dumps(value, indent=2, ensure_ascii=False).encode()
    storage.put(key, data, content_type="application/json")
