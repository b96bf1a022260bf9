"""The commit protocol: a task is done when its record exists, and its record is written last.

So a crash at any moment neither loses a task nor renders one twice. The proof is in
``jobs/records/README.md``, "Why no crash loses or doubles a task".
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.id_sets import IdTable, as_numbers
from jobs.parallel import parallel_map
from jobs.records.columns import encoded, joined
from jobs.records.record import OutputRecord, TaskRecord
from jobs.records.segments import (
    ALL,
    BULK_ROWS,
    FEW,
    LEAN,
    OF_FILMS,
    Entry,
    Packer,
    Row,
    Segments,
    codes_of,
    entries_of,
    entry_of,
    hashed,
    numbers,
    row_of,
    stamp,
    table_of,
    without_films,
)
from jobs.records.statuses import CODES, Ledger, Status
from jobs.storage import keys
from jobs.storage.base import Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.id_sets import Ids

log = logging.getLogger(__name__)

READERS = 16
"""Requests in flight while records are read: S3 answers each in milliseconds, but many at once."""

PREVIEW_SECONDS = 30.0
"""How long a preview outlives its task, in seconds: a page may just have read that it is there."""

PROBE_SECONDS = 600
"""Age at which a probe (``keys.PROBE``) is certainly of a run that was killed."""

FEW_RECORDS = 8000
"""Records that are listed sequentially, 1,000 per request: 256 concurrent requests take as long."""

SLOW_LISTING = 50e-6
"""Seconds per record above which the 256 prefixes are listed concurrently. Threads help where the time is
spent waiting for a server, and hinder where the disk is faster than Python."""


class Records:
    """The records of one output: commit, take back, read and count. Any thread may commit.

    Args:
        storage: The output.
        guard: Called before every write; it raises when this driver must not write (``Lease.guard``).
    """

    def __init__(self, storage: Storage, guard: Callable[[], None] = lambda: None) -> None:
        self._storage = storage
        self._guard = guard
        self._segments = Segments(storage)
        self._packer = Packer(self._segments)
        # One thread packs, because each thread's allocator keeps the memory that pyarrow once took.
        self._packing = ThreadPoolExecutor(1, thread_name_prefix="pack")
        self._previews: deque[tuple[float, str]] = deque()
        """Previews of tasks that are committed, and when they were."""
        self._tells_etags = False
        """Whether the ETag that ``put`` returns was found to be the one that a listing shows."""

    def commit(
        self,
        record: TaskRecord,
        kept_before: OutputRecord | None = None,
        *,
        checkpoint: bool = False,
        preview: bool = False,
    ) -> None:
        """Make a task done, or failed. Everything that the record names must be stored before.

        Args:
            record: What became of the task.
            kept_before: The last good picture of an earlier failure. A task that fails again without another
                continues to name it; otherwise it is deleted, once no record names it.
            checkpoint: Delete the task's checkpoint, too.
            preview: Delete the picture as it was while the task ran, too, ``PREVIEW_SECONDS`` later.

        Raises:
            StorageError: The record is not written. Deletions that fail are logged.
            LeaseLostError: From ``guard``: another driver has the output.
        """
        if record.status == "failed" and record.kept is None:
            card = self._card_before(record.id, kept_before)
            record = record.model_copy(update={"kept": kept_before, "card": record.card or card})
        self._guard()
        data = record.model_dump_json(indent=1).encode()
        etag = self._storage.put(keys.record(record.id), data, content_type="application/json")
        self._pack(record, etag)
        if kept_before is not None:
            self._discard_kept(record.id, kept_before, record)
        if checkpoint:
            self._discard(keys.checkpoint(record.id))
        if preview:
            self._previews.append((time.monotonic(), keys.preview(record.id)))
        self._discard_previews(time.monotonic() - PREVIEW_SECONDS)

    def sweep_probes(self) -> None:
        """Delete probes of the storage that killed runs left behind. Raises StorageError."""
        lease = self._storage.stat(keys.LEASE)
        for stat in list(self._storage.list(keys.PROBE)):
            # A young one may be in use: any process may probe the storage at any time.
            if lease is not None and lease.modified - stat.modified > PROBE_SECONDS:
                self._discard(stat.key)

    def sweep_segments(self) -> None:
        """Delete segments of which no row counts any more, because all their records were written anew.

        Raises:
            StorageError: Records or segments cannot be listed.
            LeaseLostError: From ``guard``.
        """
        listing = self._listing()
        for segment in self._segments.stored():
            table = self._segments.read(segment.key, ("id", "stamp"))
            if table is not None and not listing.take(*numbers(table)).any():
                self._guard()
                self._discard(segment.key)

    def sweep_previews(self) -> None:
        """Delete all previews. Only for a time in which nobody renders here.

        Raises:
            StorageError: Previews cannot be listed.
            LeaseLostError: From ``guard``.
        """
        for stat in list(self._storage.list(keys.PREVIEWS)):
            self._guard()
            self._discard(stat.key)

    def sweep_folders(self) -> None:
        """Remove the folders of checkpoints, previews and last good pictures that are empty. Only for a time
        in which nobody renders here."""
        for prefix in (keys.CHECKPOINTS, keys.PREVIEWS, keys.KEPT):
            try:
                self._guard()
                self._storage.remove_empty(prefix)
            except StorageError as error:  # nobody misses anything
                log.info("%s stays, though it is empty: %s", prefix, error)

    def sweep_checkpoints(self, ledger: Ledger, *, every: bool = False) -> None:
        """Delete checkpoints of tasks that have a record.

        Args:
            ledger: The tasks that have a record.
            every: Delete those of all other tasks, too. That is for a job that is complete: the recipes of
                those tasks have changed meanwhile.

        Raises:
            StorageError: Checkpoints cannot be listed.
            LeaseLostError: From ``guard``.
        """
        for stat in list(self._storage.list(keys.CHECKPOINTS)):
            task_id = keys.checkpoint_id(stat.key)
            if task_id is not None and (every or ledger.codes(as_numbers([task_id]))[0]):
                self._guard()
                self._discard(stat.key)

    def sweep_pictures(self) -> None:
        """Delete pictures of done tasks of another format than that of the picture that their records name.

        Only the extensions are compared: a file system may list a name in another Unicode composition than it
        was written in.

        Raises:
            StorageError: Pictures cannot be listed.
            LeaseLostError: From ``guard``.
        """
        formats = {
            entry.id: PurePosixPath(entry.output).suffix
            for entry in self.entries()
            if entry.status == "done" and entry.output is not None
        }
        old = [
            stat.key
            for stat in self._storage.list(keys.IMAGES)
            if formats.get(keys.named_id(stat.key) or "", "")
            not in ("", PurePosixPath(stat.key).suffix)
        ]
        for key in old:
            self._guard()
            self._discard(key)

    def forget(self, ids: Iterable[str], kept: Mapping[str, OutputRecord] | None = None) -> None:
        """Take tasks back, so that they are to do again. Their pictures stay until then, and so do small
        ones and cards, which nothing names without a record.

        Args:
            ids: Tasks that have a record.
            kept: Last good pictures of failed tasks, by id. They are deleted with what shows them, because
                no record would name them any more.

        Raises:
            StorageError: A record is not deleted.
            LeaseLostError: From ``guard``.
        """

        def forget_one(task_id: str) -> None:
            self._guard()
            self._storage.delete(keys.record(task_id))
            if kept is not None and task_id in kept:
                self._discard_kept(task_id, kept[task_id], None)

        for _ in parallel_map(forget_one, ids, READERS):
            pass

    def close(self) -> None:
        """Pack the records committed since the last segment, and delete what commits left for later. Must not
        be called when the lease is lost."""
        self._discard_previews(math.inf)
        self._packing.submit(self._packer.flush).result()

    def read(self, task_id: str) -> TaskRecord | None:
        """Return a task's record; None where there is none, or none that is valid (its task is to do).

        Raises:
            StorageError: The storage does not say.
        """
        try:
            return self._record(task_id)
        except (ObjectNotFoundError, ValidationError):
            return None

    def ids(self) -> Iterator[str]:
        """Yield the ids that have a record. Raises StorageError."""
        for task_id, _ in self._listed():
            yield task_id

    def all(self) -> Iterator[TaskRecord]:
        """Yield every valid record, each read from its own object. For scripts and tests, which need no
        segments; reports use ``entries``. Raises StorageError."""
        for record in parallel_map(self.read, self.ids(), READERS):
            if record is not None:
                yield record

    def ledger(self, *, pack: bool = False) -> Ledger:
        """Return the status of every task that has a record, from segments where possible.

        Args:
            pack: Merge small segments, and pack the records that no segment has, so that the next call is
                fast.

        Raises:
            StorageError: Records cannot be listed or read.
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
                packer.add(row_of(record, seen))
        packer.flush()
        ids.append(np.frombuffer(more_ids, np.uint64))
        codes.append(np.frombuffer(more_codes, np.uint8))
        return Ledger(np.concatenate(ids), np.concatenate(codes), kept)

    def entries(self, on_unreadable: Callable[[str], None] = lambda _: None) -> Iterator[Entry]:
        """Yield every valid record in short, from segments where possible.

        Args:
            on_unreadable: Is called with the key of each record that is not valid; its task is to do.

        Raises:
            StorageError: Records cannot be listed or read.
        """
        listing = self._listing()
        for table, valid in self._valid_segments(listing, LEAN):
            for entry, counts in zip(entries_of(table), valid.tolist(), strict=True):
                if counts:
                    yield entry
        for record, seen in self._unpacked(listing, on_unreadable):
            yield entry_of(record, seen)

    def tables(
        self,
        columns: Sequence[str] | None = None,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> Iterator[tuple[Any, NDArray[np.bool_]]]:
        """Yield tables of many records each, and which of their rows count. For the gallery, which works
        column by column.

        A segment of an earlier version, which lacks a column, is packed anew from the records themselves,
        unless what it lacks is about films, and there are none.

        Args:
            columns: Columns to yield, names of fields of ``Row``; None: all.
            on_unreadable: Is called with the key of each record that is not valid; its task is to do.

        Yields:
            A ``pyarrow.Table`` with each column in one piece, and a mask of its rows that are valid. Ids are
            numbers. Columns of ``FEW`` are dictionaries, each table with its own.

        Raises:
            StorageError: Records cannot be listed or read.
        """
        wanted = list(ALL if columns is None else columns)
        listing = self._listing()
        for segment in self._segments.stored():
            table = self._read_wanted(segment.key, {*wanted, "id", "stamp"})
            if table is not None:
                some = joined([encoded(table.select(wanted), FEW)])
                yield some, listing.take(*numbers(table))
                continue
            table = self._segments.read(segment.key, ("id", "stamp"))
            if table is not None:
                table = self._packed_anew(segment.key, table, listing, on_unreadable)
                yield table.select(wanted), np.ones(table.num_rows, bool)
        rest = self._unpacked(listing, on_unreadable)
        while rows := [row_of(record, seen) for record, seen in islice(rest, BULK_ROWS)]:
            yield table_of(rows).select(wanted), np.ones(len(rows), bool)

    def _read_wanted(self, key: str, columns: set[str]) -> Any:
        """Return a segment with these columns; None where it lacks one, or is gone or damaged."""
        table = self._segments.read(key, tuple(columns))
        if table is None and columns & set(OF_FILMS) and not self._has_films:
            # From before there were films: to read a million records again would tell nothing new.
            older = self._segments.read(key, tuple(columns - set(OF_FILMS)))
            return None if older is None else without_films(older)
        return table

    @cached_property
    def _has_films(self) -> bool:
        return next(iter(self._storage.list(keys.FILMS)), None) is not None

    def _packed_anew(
        self, key: str, table: Any, listing: _Listing, on_unreadable: Callable[[str], None]
    ) -> Any:
        """Replace a segment that lacks columns, and return the rows of the new one that count."""
        ids, stamps = numbers(table)
        valid = listing.take(ids, stamps)
        log.info("%s lacks what the gallery needs; its %d records are read", key, valid.sum())
        listed = zip(ids[valid].tolist(), stamps[valid].tolist(), strict=True)
        records = self._records(((f"{n:016x}", seen) for n, seen in listed), on_unreadable)
        rows: list[Row] = [row_of(record, seen) for record, seen in records]
        try:
            if rows:
                self._segments.write(rows)
            self._storage.delete(key)
        except StorageError as error:  # the next gallery reads them again
            log.warning("%s is not replaced: %s", key, error)
        return table_of(rows)

    def statuses(self) -> dict[str, Status]:
        """Return the status of every task that has a record, by id. For scripts and tests; a run uses
        ``ledger``, which holds millions. Raises StorageError."""
        return {entry.id: entry.status for entry in self.entries()}

    def _pack(self, record: TaskRecord, etag: str) -> None:
        if self._tells_etags and etag:
            row = row_of(record, hashed(etag))
        else:
            try:
                stat = self._storage.stat(keys.record(record.id))
            except StorageError:  # the next run reads the record itself
                return
            if stat is None:
                return
            # Some servers answer a PUT with an ETag that they do not keep.
            self._tells_etags = stat.etag == etag != ""
            row = row_of(record, stamp(stat))
        self._packing.submit(self._packer.add, row)

    def _tidy(self) -> None:
        try:
            self._segments.merge_small()
        except StorageError as error:
            log.warning("segments are not merged: %s", error)

    def _card_before(self, task_id: str, kept_before: OutputRecord | None) -> str | None:
        """Return the card of an earlier failure, which stays with its last good picture."""
        if kept_before is None:
            return None
        before = self.read(task_id)
        return None if before is None or before.kept != kept_before else before.card

    def _discard_kept(self, task_id: str, kept: OutputRecord, record: TaskRecord | None) -> None:
        """Delete the last good picture of an earlier failure, and what shows it, unless it has a name still.

        Args:
            task_id: The task.
            kept: The picture.
            record: The task's record now; None: it has none any more.
        """
        now = None if record is None else record.output or record.kept
        if record is None or record.kept is None or record.kept.key != kept.key:
            self._discard(kept.key)
        if kept.thumbnail is not None and (now is None or now.thumbnail != kept.thumbnail):
            self._discard(kept.thumbnail)
        if record is None or record.card is None:
            self._discard(keys.card(task_id))

    def _discard_previews(self, before: float) -> None:
        """Delete the previews of tasks that were committed before a time of the monotonic clock."""
        with contextlib.suppress(IndexError):  # another thread may take the last
            while self._previews and self._previews[0][0] < before:
                self._discard(self._previews.popleft()[1])

    def _discard(self, key: str) -> None:
        try:
            self._storage.delete(key)
        except StorageError as error:  # the object takes room, but no record is wrong
            log.warning("%s is no longer needed, but could not be deleted: %s", key, error)

    def _listed(self) -> Iterator[tuple[str, int]]:
        """Yield (id, stamp) of every record."""
        listing = self._storage.list(keys.RECORDS)
        began = time.monotonic()
        first = list(islice(listing, FEW_RECORDS))
        slow = time.monotonic() - began > SLOW_LISTING * FEW_RECORDS
        if slow and len(first) == FEW_RECORDS:
            # Each request takes time, but a server answers many at once.
            prefixes = [f"{keys.RECORDS}{number:02x}/" for number in range(256)]
            stats = chain.from_iterable(
                parallel_map(lambda p: list(self._storage.list(p)), prefixes, READERS)
            )
        else:
            stats = chain(first, listing)
        for stat in stats:
            task_id = keys.record_id(stat.key)
            if task_id is not None:
                yield task_id, stamp(stat)

    def _listing(self) -> _Listing:
        return _Listing(self._listed())

    def _valid_segments(
        self, listing: _Listing, columns: tuple[str, ...], pack: bool = False
    ) -> Iterator[tuple[Any, NDArray[np.bool_]]]:
        """Yield each segment with the rows that count: one per record that has the row's stamp now."""
        for segment in self._segments.stored():
            table = self._segments.read(segment.key, columns)
            if table is None and pack:
                self._discard(segment.key)
            elif table is not None:
                yield table, listing.take(*numbers(table))

    def _unpacked(
        self, listing: _Listing, on_unreadable: Callable[[str], None] = lambda _: None
    ) -> Iterator[tuple[TaskRecord, int]]:
        """Yield the valid records that no segment has, with their stamps."""
        return self._records(listing.rest(), on_unreadable)

    def _records(
        self, listed: Iterable[tuple[str, int]], on_unreadable: Callable[[str], None]
    ) -> Iterator[tuple[TaskRecord, int]]:
        """Yield those of these records that are valid, with their stamps."""

        def read(listed: tuple[str, int]) -> tuple[str, TaskRecord | None, int]:
            task_id, seen = listed
            try:
                return "", self._record(task_id), seen
            except ObjectNotFoundError:  # taken back since it was listed
                return "", None, seen
            except ValidationError:
                return keys.record(task_id), None, seen

        for unreadable, record, seen in parallel_map(read, listed, READERS):
            if record is not None:
                yield record, seen
            elif unreadable:
                on_unreadable(unreadable)

    def _record(self, task_id: str) -> TaskRecord:
        return TaskRecord.model_validate_json(self._storage.get(keys.record(task_id)))


class _Listing:
    """The records that exist, with their stamps, and which of them have been accounted for."""

    def __init__(self, listed: Iterable[tuple[str, int]]) -> None:
        ids, stamps = array("Q"), array("q")  # numbers, not objects: there may be millions
        for task_id, seen in listed:
            ids.append(int(task_id, 16))
            stamps.append(seen)
        table = IdTable(np.frombuffer(ids, np.uint64), np.frombuffer(stamps, np.int64))
        self._ids, self._stamps = table.ids, table.values
        self._taken = np.zeros(len(self._ids), dtype=bool)

    def take(self, ids: Ids, stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of these records exist with this very stamp and were not taken before; take them."""
        valid = np.zeros(len(ids), dtype=bool)
        if not len(self._ids) or not len(ids):
            return valid
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        same = (self._ids[at] == ids) & (self._stamps[at] == stamps) & ~self._taken[at]
        # Where a row comes twice, the first counts.
        rows = np.flatnonzero(same)
        _, first = np.unique(at[rows], return_index=True)
        valid[rows[first]] = True
        self._taken[at[valid]] = True
        return valid

    def rest(self) -> Iterator[tuple[str, int]]:
        """Yield (id, stamp) of the records that were not taken."""
        for row in np.flatnonzero(~self._taken).tolist():
            yield f"{self._ids[row]:016x}", int(self._stamps[row])


def write_json(storage: Storage, key: str, value: object) -> None:
    """Store a small JSON document for people and other programs, such as job.json.

    Args:
        storage: The output.
        key: From ``jobs.storage.keys``; an object under it is replaced.
        value: What ``json.dumps`` takes.

    Raises:
        StorageError: The document cannot be written.
    """
    data = json.dumps(value, indent=2, ensure_ascii=False).encode()
    storage.put(key, data, content_type="application/json")
