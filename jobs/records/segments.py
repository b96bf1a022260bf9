"""Segments: what many records say, packed, so that a job of a million tasks is resumed in seconds.

A segment is a Parquet file with one row for each of some records: what resuming, planning and reporting ask
of them. The record alone is the truth. Each row carries the stamp of the record it was made
from, and counts only while a listing shows the record under that stamp; so a segment can be old, wrong,
doubled or gone without any harm but time.
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

from jobs.errors import StorageError
from jobs.records.record import TaskRecord
from jobs.records.statuses import CODES, Status
from jobs.storage import keys
from jobs.storage.base import ObjectStat, Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.task_ids import Ids

log = logging.getLogger(__name__)

ROWS = 2048
"""Of a segment as it is written: about so many records are read one by one after a crash."""

BULK_ROWS = 100_000
"""Of one that is written from records that were read one by one."""

MERGED_ROWS = 100_000
MOST_SMALL = 16
"""More segments than this that are not full are merged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a record says, in short."""

    id: str
    stamp: int
    """Of the record's object, see ``stamp``."""
    status: Status
    name: str
    error: str | None
    kept: str | None
    """The ``OutputRecord`` of the last good picture of a failed render, as JSON."""
    output: str | None
    """The finished picture's key,"""
    sha256: str | None
    """its digest,"""
    size: int
    """and its bytes;"""
    width: int
    height: int
    """in pixels."""
    steps: int
    render_seconds: float
    device: str
    attempts: int
    concessions: str
    """As JSON, for there are mostly none."""


def entry_of(record: TaskRecord, seen: int) -> Entry:
    """A record in short; ``seen`` is the stamp of its object."""
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


def stamp(found: ObjectStat) -> int:
    """What tells an object from one that was under its key before: its ETag or, where the server keeps
    none, its size and time."""
    return hashed(found.etag or f"{found.size} {int(found.modified)}")


def hashed(text: str) -> int:
    """A text as a number of 63 bits."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Segments:
    """The segments of one output."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def stored(self) -> list[ObjectStat]:
        """All there are, oldest first."""
        return [s for s in self._storage.list(keys.SEGMENTS) if s.key.endswith(".parquet")]

    def write(self, entries: Sequence[Entry]) -> None:
        """Pack these. Raises StorageError."""
        self._put(_table(entries))

    def read(self, key: str, columns: Sequence[str] | None = None) -> Any:
        """A segment as a ``pyarrow.Table``; None when it is gone or damaged."""
        import pyarrow.parquet as pq

        try:
            data = self._storage.get(key)
            # Not read_table, whose threads may let go of the bytes when Python is about to exit, upon which
            # the process aborts.
            with pq.ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
                table = file.read(None if columns is None else list(columns), use_threads=False)
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
        """Make few out of many. Each new one is written before the old ones go. Raises StorageError."""
        import pyarrow as pa

        small: list[tuple[str, Any]] = []
        candidates = self.stored()
        if len(candidates) <= MOST_SMALL:
            return
        for found in candidates:
            table = self.read(found.key)
            if table is None:
                self._storage.delete(found.key)
            elif table.num_rows < MERGED_ROWS:
                small.append((found.key, table))
            if sum(table.num_rows for _, table in small) >= MERGED_ROWS:
                self._replace(small, pa)
                small = []
        if len(small) > MOST_SMALL:
            self._replace(small, pa)

    def _replace(self, old: Sequence[tuple[str, Any]], pa: Any) -> None:
        self._put(pa.concat_tables([table for _, table in old]))
        for key, _ in old:
            self._storage.delete(key)

    def _put(self, table: Any) -> None:
        import pyarrow.parquet as pq

        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        # Nobody's name is taken twice, whichever driver writes.
        key = keys.segment(f"{time.time_ns():020}-{secrets.token_hex(4)}")
        self._storage.put(key, file.getvalue(), content_type="application/vnd.apache.parquet")


class Packer:
    """Takes entries one by one, as records are committed, and writes a segment now and then.

    What it has not written when the process dies is read from the records themselves.
    """

    def __init__(self, segments: Segments, rows: int | None = None) -> None:
        self._segments = segments
        self._rows = rows or ROWS
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Take one; never raises, for no record depends on it."""
        self._entries.append(entry)
        if len(self._entries) >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Write what has come since the last segment."""
        entries, self._entries = self._entries, []
        if not entries:
            return
        try:
            self._segments.write(entries)
        except StorageError as error:
            log.warning("records are not packed, which will make resuming slower: %s", error)


def numbers(table: Any) -> tuple[Ids, NDArray[np.int64]]:
    """The ids and stamps of a segment's rows."""
    return (
        table.column("id").to_numpy().astype(np.uint64),
        table.column("stamp").to_numpy().astype(np.int64),
    )


def entries_of(table: Any) -> Iterable[Entry]:
    """A segment's rows."""
    names = [f.name for f in fields(Entry)]
    for batch in table.select(names).to_batches(4096):
        for task_id, *rest in zip(*(column.to_pylist() for column in batch), strict=True):
            yield Entry(f"{task_id:016x}", *rest)


def _table(entries: Sequence[Entry]) -> Any:
    import pyarrow as pa

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
    """The ledger's code of each row."""
    found = [CODES.get(status, 0) for status in table.column("status").to_pylist()]
    return np.asarray(found, dtype=np.uint8)
