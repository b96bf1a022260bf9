"""The commit protocol: what is done, and what is left.

Why no crash loses or doubles a task
------------------------------------

A task's life in an output is this sequence of writes, each of which a reader sees wholly or not at all
(``jobs.storage.base``):

1. ``losses/<id>.csv``, now and then while it renders, and ``checkpoints/<id>.safetensors`` at its cuts;
2. ``images/<name>-<id>.<ext>``, the picture, and the loss log for the last time, by the worker;
3. ``tasks/<id>.json``, the record, by the driver: *the commit*;
4. ``checkpoints/<id>`` is deleted, and ``kept/<name>-<id>`` of an earlier failure;
5. ``segments/...``, some time later, with this and many other records in short.

Whether a task is done is read off one object, its record, which is there or not. So wherever the
process stops:

* before 3 there is no record, and the next run renders the task. What 1 and 2 left lies under keys made
  from the id, so it is overwritten with the same and never comes to stand beside it; a checkpoint is gone on
  from, or, being of another render, ignored.
* after 3 there is a record, and what it speaks of was stored before it. The task is never rendered
  again. What 4 left behind no record names; the next run deletes checkpoints of tasks that have a record.
* 5 and its absence change no answer: a row of a segment counts only for a record that a listing shows
  under the very stamp that the row was made from. A record that no row speaks of is read itself.

Two attempts at one task (its worker was given up for dead, but was not) write the same keys with the same
content, and the driver commits the outcome of one. Two drivers are kept apart by ``jobs.storage.lease``;
where that
fails for a moment both commit the same, for ids say what the work is. Taking tasks back (``forget``) deletes
records first, so a crash amid leaves some tasks to do and the others done.
"""

from __future__ import annotations

import json
import logging
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.parallel import parallel_map
from jobs.records.record import OutputRecord, TaskRecord
from jobs.records.segments import (
    BULK_ROWS,
    Entry,
    Packer,
    Segments,
    codes_of,
    entries_of,
    entry_of,
    hashed,
    numbers,
    stamp,
)
from jobs.records.statuses import CODES, Ledger, Status
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.task_ids import IdTable, as_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.task_ids import Ids

log = logging.getLogger(__name__)

READERS = 16
"""Requests in flight while records are read; S3 answers each in milliseconds but many at once."""

PROBE_SECONDS = 600

FEW_RECORDS = 8000
"""So many are listed in one request after the other, of a thousand each; 256 side by side take as long."""

SLOW_LISTING = 50e-6
"""Seconds for each record, above which the 256 prefixes are listed side by side: threads help where one waits
for a server, and hinder where the disk is quicker than Python."""


class Records:
    """The records of one output.

    ``guard`` is called before every write and raises when this driver may not write any more. Any thread
    may commit.
    """

    def __init__(self, storage: Storage, guard: Callable[[], None] = lambda: None) -> None:
        self._storage = storage
        self._guard = guard
        self._segments = Segments(storage)
        self._packer = Packer(self._segments)
        # One thread packs: what pyarrow once took, each thread's allocator keeps.
        self._packing = ThreadPoolExecutor(1, thread_name_prefix="pack")
        self._tells_etags = False
        """Whether what a PUT returns has been seen to be what a listing will show."""

    def commit(
        self,
        record: TaskRecord,
        kept_before: OutputRecord | None = None,
        *,
        checkpoint: bool = False,
    ) -> None:
        """Make a task done (or failed). Call after everything the record speaks of is stored.

        ``kept_before`` is the last good picture of an earlier failure. A task that fails again without
        another goes on naming it; otherwise it is deleted, once no record names it. With ``checkpoint``
        the task's checkpoint is deleted, too.
        """
        if record.status == "failed" and record.kept is None:
            record = record.model_copy(update={"kept": kept_before})
        self._guard()
        data = record.model_dump_json(indent=1).encode()
        etag = self._storage.put(keys.record(record.id), data, content_type="application/json")
        self._pack(record, etag)
        if kept_before is not None and (record.kept is None or record.kept.key != kept_before.key):
            self._discard(kept_before.key)
        if checkpoint:
            self._discard(keys.checkpoint(record.id))

    def sweep_probes(self) -> None:
        """Delete what runs that were killed left while they looked at the storage. Raises StorageError."""
        lease = self._storage.stat(keys.LEASE)
        for stat in list(self._storage.list(keys.PROBE)):
            # A young one may be in use: anybody may look at the storage at any time.
            if lease is not None and lease.modified - stat.modified > PROBE_SECONDS:
                self._discard(stat.key)

    def sweep_checkpoints(self, ledger: Ledger, *, every: bool = False) -> None:
        """Delete checkpoints of tasks that have a record; with ``every`` those of other tasks, too, for a
        job that is complete: their recipes were changed meanwhile. Raises StorageError."""
        for stat in list(self._storage.list(keys.CHECKPOINTS)):
            task_id = keys.checkpoint_id(stat.key)
            if task_id is not None and (every or ledger.codes(as_numbers([task_id]))[0]):
                self._guard()
                self._discard(stat.key)

    def forget(self, ids: Iterable[str], kept: Mapping[str, OutputRecord] | None = None) -> None:
        """Take tasks back: they are to be done again. Their pictures stay until then, but not those in
        ``kept``, by id, which are of failures: nothing would name them any more."""

        def forget_one(task_id: str) -> None:
            self._guard()
            self._storage.delete(keys.record(task_id))
            if kept is not None and task_id in kept:
                self._discard(kept[task_id].key)

        for _ in parallel_map(forget_one, ids, READERS):
            pass

    def close(self) -> None:
        """Pack what was committed since the last segment. Not to be called when the lease is lost."""
        self._packing.submit(self._packer.flush).result()

    def read(self, task_id: str) -> TaskRecord | None:
        """A task's record; None where there is none or it cannot be read (its task is to be done)."""
        try:
            return TaskRecord.model_validate_json(self._storage.get(keys.record(task_id)))
        except (ObjectNotFoundError, ValidationError):
            return None

    def ids(self) -> Iterator[str]:
        """The ids that have a record."""
        for task_id, _ in self._listed():
            yield task_id

    def all(self) -> Iterator[TaskRecord]:
        """Every record that can be read, each from its own object."""
        for record in parallel_map(self.read, self.ids(), READERS):
            if record is not None:
                yield record

    def ledger(self, *, pack: bool = False) -> Ledger:
        """What became of every task: from segments where they speak of it, else from records.

        With ``pack`` what had to be read from records is packed, so that it is not the next time.
        """
        if pack:
            self._tidy()
        listing = self._listing()
        ids: list[Ids] = []
        codes: list[NDArray[np.uint8]] = []
        kept: dict[str, OutputRecord] = {}
        for table, valid in self._valid_segments(listing, ("id", "stamp", "status", "kept"), pack):
            table_ids, _ = numbers(table)
            ids.append(table_ids[valid])
            codes.append(codes_of(table)[valid])
            column = table.column("kept")
            for row in np.flatnonzero(valid & ~column.is_null().to_numpy()).tolist():
                kept[f"{table_ids[row]:016x}"] = OutputRecord.model_validate_json(
                    column[row].as_py()
                )
        more_ids, more_codes = array("Q"), array("B")
        packer = Packer(self._segments, BULK_ROWS)
        for record, seen in self._unpacked(listing):
            more_ids.append(int(record.id, 16))
            more_codes.append(CODES[record.status])
            if record.kept is not None:
                kept[record.id] = record.kept
            if pack:
                packer.add(entry_of(record, seen))
        packer.flush()
        ids.append(np.frombuffer(more_ids, np.uint64))
        codes.append(np.frombuffer(more_codes, np.uint8))
        return Ledger(np.concatenate(ids), np.concatenate(codes), kept)

    def entries(self) -> Iterator[Entry]:
        """Every record in short, as ``ledger`` finds them."""
        listing = self._listing()
        for table, valid in self._valid_segments(listing, None):
            for entry, counts in zip(entries_of(table), valid.tolist(), strict=True):
                if counts:
                    yield entry
        for record, seen in self._unpacked(listing):
            yield entry_of(record, seen)

    def statuses(self) -> dict[str, Status]:
        """What became of every task that has a record."""
        return {entry.id: entry.status for entry in self.entries()}

    def _pack(self, record: TaskRecord, etag: str) -> None:
        if self._tells_etags and etag:
            entry = entry_of(record, hashed(etag))
        else:
            try:
                found = self._storage.stat(keys.record(record.id))
            except StorageError:  # the record then is read itself, next time
                return
            if found is None:
                return
            # Some servers answer a PUT with an ETag that they do not keep.
            self._tells_etags = found.etag == etag != ""
            entry = entry_of(record, stamp(found))
        self._packing.submit(self._packer.add, entry)

    def _tidy(self) -> None:
        try:
            self._segments.merge_small()
        except StorageError as error:
            log.warning("segments are not merged: %s", error)

    def _discard(self, key: str) -> None:
        try:
            self._storage.delete(key)
        except StorageError as error:  # it takes room, but no record is wrong
            log.warning("%s is not needed any more, but stays: %s", key, error)

    def _listed(self) -> Iterator[tuple[str, int]]:
        """(id, stamp) of every record."""
        listing = self._storage.list(keys.RECORDS)
        began = time.monotonic()
        first = list(islice(listing, FEW_RECORDS))
        slow = time.monotonic() - began > SLOW_LISTING * FEW_RECORDS
        if slow and len(first) == FEW_RECORDS:
            # Each request takes its time, but a server answers many at once.
            prefixes = [f"{keys.RECORDS}{number:02x}/" for number in range(256)]
            found = chain.from_iterable(
                parallel_map(lambda p: list(self._storage.list(p)), prefixes, READERS)
            )
        else:
            found = chain(first, listing)
        for stat in found:
            task_id = keys.record_id(stat.key)
            if task_id is not None:
                yield task_id, stamp(stat)

    def _listing(self) -> _Listing:
        return _Listing(self._listed())

    def _valid_segments(
        self, listing: _Listing, columns: tuple[str, ...] | None, pack: bool = False
    ) -> Iterator[tuple[Any, NDArray[np.bool_]]]:
        """Each segment, with which of its rows count: those of records as they are now, once each."""
        for found in self._segments.stored():
            table = self._segments.read(found.key, columns)
            if table is None and pack:
                self._discard(found.key)
            elif table is not None:
                yield table, listing.take(*numbers(table))

    def _unpacked(self, listing: _Listing) -> Iterator[tuple[TaskRecord, int]]:
        """What no segment spoke of, with its stamp."""

        def read(found: tuple[str, int]) -> tuple[TaskRecord | None, int]:
            task_id, seen = found
            return self.read(task_id), seen

        for record, seen in parallel_map(read, listing.rest(), READERS):
            if record is not None:
                yield record, seen


class _Listing:
    """The records that are there, with their stamps, and which of them have been accounted for."""

    def __init__(self, listed: Iterable[tuple[str, int]]) -> None:
        ids, stamps = array("Q"), array("q")  # bytes, not objects: there may be millions
        for task_id, seen in listed:
            ids.append(int(task_id, 16))
            stamps.append(seen)
        table = IdTable(np.frombuffer(ids, np.uint64), np.frombuffer(stamps, np.int64))
        self._ids, self._stamps = table.ids, table.values
        self._taken = np.zeros(len(self._ids), dtype=bool)

    def take(self, ids: Ids, stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these are there under that very stamp and were not taken before; now they are."""
        valid = np.zeros(len(ids), dtype=bool)
        if not len(self._ids) or not len(ids):
            return valid
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        same = (self._ids[at] == ids) & (self._stamps[at] == stamps) & ~self._taken[at]
        # Of a row that comes twice the first counts.
        rows = np.flatnonzero(same)
        _, first = np.unique(at[rows], return_index=True)
        valid[rows[first]] = True
        self._taken[at[valid]] = True
        return valid

    def rest(self) -> Iterator[tuple[str, int]]:
        """(id, stamp) of those that were not taken."""
        for row in np.flatnonzero(~self._taken).tolist():
            yield f"{self._ids[row]:016x}", int(self._stamps[row])


def write_json(storage: Storage, key: str, value: object) -> None:
    """A small JSON document for people and other programs: job.json, summary.json."""
    data = json.dumps(value, indent=2, ensure_ascii=False).encode()
    storage.put(key, data, content_type="application/json")
