"""Segments: many records in short, packed, so that a job of a million tasks is resumed in seconds.

A segment is a Parquet file with one row per record, with the values that resuming, planning and reporting
need. Only the record is authoritative. Each row has the stamp of the record that it was made from, and counts
only while a listing shows the record under that stamp. So a segment that is old, wrong, doubled or missing
costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.arrow import arrow, parquet
from jobs.errors import ObjectNotFoundError, StorageError
from jobs.records.record import TaskRecord
from jobs.records.statuses import CODES, Status
from jobs.storage import keys
from jobs.storage.base import ObjectStat, Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.id_sets import Ids

log = logging.getLogger(__name__)

ROWS = 2048
"""Rows of a segment that is written during a run: about as many records are read one by one after a crash."""

BULK_ROWS = 100_000
"""Rows of a segment that is written from records that were read one by one."""

MERGED_ROWS = 100_000
"""Rows of a full segment, which is not merged again."""

MOST_SMALL = 16
"""More segments than this that are not full are merged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in short: one row of a segment."""

    id: str
    """The task's id, 16 hex digits."""
    stamp: int
    """Stamp of the record's object, by ``stamp()``."""
    status: Status
    name: str
    """The picture's name before ``-<id>``."""
    error: str | None
    """Why the task failed; None: it is done."""
    kept: str | None
    """The ``OutputRecord`` of a failed render's last good picture, as JSON; None: there is none."""
    output: str | None
    """Key of the finished picture; None for a failed task."""
    sha256: str | None
    """Hex digest of the finished picture; None for a failed task."""
    size: int
    """Size of the finished picture in bytes; 0 for a failed task."""
    width: int
    """Width of the finished picture in pixels; 0 for a failed task."""
    height: int
    """Height of the finished picture in pixels; 0 for a failed task."""
    steps: int
    """Optimiser steps over all sizes; 0 for a failed task."""
    render_seconds: float
    """Seconds of rendering in the attempt that succeeded; 0 for a failed task."""
    device: str
    """The kind of device of the last attempt; empty: none was made."""
    attempts: int
    """Number of attempts."""
    concessions: str
    """The measures taken to fit into memory, as a JSON list; empty: none."""


def entry_of(record: TaskRecord, seen: int) -> Entry:
    """Return a record in short; ``seen`` is the stamp of its object."""
    return Entry(
        id=record.id,
        stamp=seen,
        status=record.status,
        name=record.name,
        error=record.error,
        kept=record.kept.model_dump_json() if record.kept else None,
        output=record.output.key if record.output else None,
        sha256=record.output.sha256 if record.output else None,
        size=record.output.size if record.output else 0,
        width=record.output.width if record.output else 0,
        height=record.output.height if record.output else 0,
        steps=record.steps,
        render_seconds=record.seconds.get("render", 0.0),
        device=record.attempts[-1].device if record.attempts else "",
        attempts=len(record.attempts),
        concessions=json.dumps(record.concessions) if record.concessions else "",
    )


def stamp(stat: ObjectStat) -> int:
    """Return a number that differs from that of any earlier object under the same key.

    It is made from the ETag or, where the server keeps none, from size and time.
    """
    return hashed(stat.etag or f"{stat.size} {int(stat.modified)}")


def hashed(text: str) -> int:
    """Return a text's hash as a number of 63 bits."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Segments:
    """The segments of one output."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def stored(self) -> list[ObjectStat]:
        """Return all segments, oldest first. Raises StorageError."""
        return [s for s in self._storage.list(keys.SEGMENTS) if s.key.endswith(".parquet")]

    def write(self, entries: Sequence[Entry]) -> None:
        """Write one segment with these entries. Raises StorageError."""
        self._put(_table(entries))

    def read(self, key: str, columns: Sequence[str] | None = None) -> Any:
        """Return a segment as a ``pyarrow.Table``; None when it is gone, damaged, or lacks a column.

        Args:
            key: The segment.
            columns: Columns to read, names of fields of ``Entry``; None: all.

        Raises:
            StorageError: The segment cannot be read.
        """
        try:
            data = self._storage.get(key)
            # Not read_table: its threads may release the bytes while Python exits, and then the process
            # aborts.
            with parquet().ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
                table = file.read(None if columns is None else list(columns), use_threads=False)
        except ObjectNotFoundError:
            return None  # deleted since it was listed, as it may be at any time
        except StorageError:
            raise
        except Exception as error:  # whatever a damaged file makes pyarrow raise
            log.warning(
                "%s is damaged (%s); what it packed is read from the records themselves",
                key,
                type(error).__name__,
            )
            return None
        wanted = [f.name for f in fields(Entry)] if columns is None else columns
        return table if set(wanted) <= set(table.schema.names) else None

    def merge_small(self) -> None:
        """Merge small segments. Each new one is written before its parts are deleted. Raises StorageError."""
        small: list[tuple[str, Any]] = []
        candidates = self.stored()
        if len(candidates) <= MOST_SMALL:
            return
        for segment in candidates:
            table = self.read(segment.key)
            if table is None:
                self._storage.delete(segment.key)
            elif table.num_rows < MERGED_ROWS:
                small.append((segment.key, table))
            if sum(table.num_rows for _, table in small) >= MERGED_ROWS:
                self._replace(small)
                small = []
        if len(small) > MOST_SMALL:
            self._replace(small)

    def _replace(self, old: Sequence[tuple[str, Any]]) -> None:
        self._put(arrow().concat_tables([table for _, table in old]))
        for key, _ in old:
            self._storage.delete(key)

    def _put(self, table: Any) -> None:
        file = io.BytesIO()
        parquet().write_table(table, file, compression="zstd")
        # The name is unique, whichever driver writes.
        key = keys.segment(f"{time.time_ns():020}-{secrets.token_hex(4)}")
        self._storage.put(key, file.getvalue(), content_type="application/vnd.apache.parquet")


class Packer:
    """Collects entries, as records are committed, and writes a segment per ``rows`` of them.

    Entries that are not written when the process dies are read from the records themselves.
    """

    def __init__(self, segments: Segments, rows: int | None = None) -> None:
        self._segments = segments
        self._rows = rows or ROWS
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Take an entry. Never raises StorageError, because no record depends on it."""
        self._entries.append(entry)
        if len(self._entries) >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Write the entries since the last segment. Never raises StorageError."""
        entries, self._entries = self._entries, []
        if not entries:
            return
        try:
            self._segments.write(entries)
        except StorageError as error:
            log.warning("records are not packed, which will make resuming slower: %s", error)


def numbers(table: Any) -> tuple[Ids, NDArray[np.int64]]:
    """Return the ids and stamps of a segment's rows."""
    return (
        table.column("id").to_numpy().astype(np.uint64),
        table.column("stamp").to_numpy().astype(np.int64),
    )


def entries_of(table: Any) -> Iterable[Entry]:
    """Yield a segment's rows."""
    names = [f.name for f in fields(Entry)]
    for batch in table.select(names).to_batches(4096):
        for task_id, *rest in zip(*(column.to_pylist() for column in batch), strict=True):
            yield Entry(f"{task_id:016x}", *rest)


def _table(entries: Sequence[Entry]) -> Any:
    pa = arrow()
    kinds = {
        "id": pa.uint64(),
        "stamp": pa.int64(),
        "size": pa.int64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "steps": pa.int64(),
        "render_seconds": pa.float64(),
        "attempts": pa.int32(),
    }
    columns: dict[str, Any] = {
        field.name: [getattr(entry, field.name) for entry in entries] for field in fields(Entry)
    }
    columns["id"] = [int(task_id, 16) for task_id in columns["id"]]
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns])
    return pa.table(columns, schema=schema)


def codes_of(table: Any) -> NDArray[np.uint8]:
    """Return the ledger's code of each row."""
    codes = [CODES.get(status, 0) for status in table.column("status").to_pylist()]
    return np.asarray(codes, dtype=np.uint8)
