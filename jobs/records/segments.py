"""Segments: many records in short, packed, so that a job of a million tasks is resumed in seconds.

A segment is a Parquet file with one row per record, with the values that resuming, planning, reporting and
the gallery need. Only the record is authoritative. Each row has the stamp of the record that it was made
from, and counts only while a listing shows the record under that stamp. So a segment that is old, wrong,
doubled or missing costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.arrow import arrow, parquet
from jobs.errors import ObjectNotFoundError, StorageError
from jobs.records.columns import joined, kind_of_few, mapped, of_few, values_of
from jobs.records.record import TaskRecord, sequence_of
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
    """A record in short: what resuming, planning and reporting need."""

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


@dataclass(frozen=True, slots=True)
class Row(Entry):
    """One row of a segment: a record in short, and what the gallery needs besides.

    It is a class of its own, because whoever resumes a million tasks must not read the addresses of all.
    """

    content: str
    """Address of the content, without secrets."""
    style: str
    """Address of the style, without secrets; those of a blend are joined by " + "."""
    recipe: str
    """The complete recipe, as JSON with sorted keys."""
    loss: float
    """Final total loss; NaN: there is none."""
    finished: float
    """Seconds since the epoch."""
    thumbnail: bool
    """Whether the picture, or a failed render's last good one, is there small."""
    card: bool
    """Whether the task has a card."""
    film: str | None = None
    """The painted film that a frame belongs to (``sequence_of``); None: the task is a picture by itself."""
    frame: int = 0
    """A frame's number as its source counts; 0 for other tasks."""
    held: float | None = None
    """How firmly a frame is held, 0 to 1; None: unknown, or it holds to none."""


LEAN = tuple(field.name for field in fields(Entry))
"""The columns of an ``Entry``. Segments of earlier versions have no others."""

ALL = tuple(field.name for field in fields(Row))
"""The columns of a segment."""

OF_FILMS = ("film", "frame", "held")
"""Those that segments from before there were films lack."""

BEFORE_FILMS = tuple(name for name in ALL if name not in OF_FILMS)
"""The columns of a segment from before there were films."""

FEW = ("status", "error", "device", "concessions", "content", "style", "recipe", "film")
"""The columns with few distinct texts."""


def entry_of(record: TaskRecord, seen: int) -> Entry:
    """Return a record in short; ``seen`` is the stamp of its object."""
    return Entry(**_lean(record, seen))


def row_of(record: TaskRecord, seen: int) -> Row:
    """Return a record as one row of a segment; ``seen`` is the stamp of its object."""
    picture, film = record.output or record.kept, record.film
    return Row(
        **_lean(record, seen),
        # Many rows have the same text, and up to 100,000 are held until they are written.
        content=sys.intern(record.content),
        style=sys.intern(" + ".join(style[0] for style in record.styles)),
        recipe=sys.intern(json.dumps(record.recipe, sort_keys=True)),
        loss=record.losses.get("total", math.nan),
        finished=record.finished,
        thumbnail=picture is not None and picture.thumbnail is not None,
        card=record.card is not None,
        film=sequence_of(record),
        frame=0 if film is None else film.number,
        held=None if film is None else film.held,
    )


def _lean(record: TaskRecord, seen: int) -> dict[str, Any]:
    return {
        "id": record.id,
        "stamp": seen,
        "status": record.status,
        "name": record.name,
        "error": record.error,
        "kept": record.kept.model_dump_json() if record.kept else None,
        "output": record.output.key if record.output else None,
        "sha256": record.output.sha256 if record.output else None,
        "size": record.output.size if record.output else 0,
        "width": record.output.width if record.output else 0,
        "height": record.output.height if record.output else 0,
        "steps": record.steps,
        "render_seconds": record.seconds.get("render", 0.0),
        "device": record.attempts[-1].device if record.attempts else "",
        "attempts": len(record.attempts),
        "concessions": json.dumps(record.concessions) if record.concessions else "",
    }


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

    def write(self, rows: Sequence[Row]) -> None:
        """Write one segment with these rows. Raises StorageError."""
        self.put(table_of(rows))

    def put(self, table: Any) -> None:
        """Write one segment with these rows, a ``pyarrow.Table``. Raises StorageError."""
        file = io.BytesIO()
        parquet().write_table(table, file, compression="zstd")
        # The name is unique, whichever driver writes.
        key = keys.segment(f"{time.time_ns():020}-{secrets.token_hex(4)}")
        self._storage.put(key, file.getvalue(), content_type="application/vnd.apache.parquet")

    def read(self, key: str, columns: Sequence[str] | None = None) -> Any:
        """Return a segment as a ``pyarrow.Table``; None when it is gone, damaged, or lacks a column.

        Args:
            key: The segment.
            columns: Columns to read, names of fields of ``Row``; None: those that it has.

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
        return table if set(columns or ()) <= set(table.schema.names) else None

    def merge_small(self) -> None:
        """Merge small segments. Each new one is written before its parts are deleted. Raises StorageError."""
        # Those of earlier versions, which have fewer columns, are merged apart.
        small: dict[tuple[str, ...], list[tuple[str, Any]]] = {ALL: [], BEFORE_FILMS: [], LEAN: []}
        candidates = self.stored()
        if len(candidates) <= MOST_SMALL:
            return
        for segment in candidates:
            table = self.read(segment.key)
            names = set() if table is None else set(table.schema.names)
            columns = next((known for known in small if set(known) <= names), None)
            if columns is None:
                self._storage.delete(segment.key)
            elif table.num_rows < MERGED_ROWS:
                small[columns].append((segment.key, table.select(columns)))
                if sum(table.num_rows for _, table in small[columns]) >= MERGED_ROWS:
                    self._replace(small[columns])
                    small[columns] = []
        for alike in small.values():
            if len(alike) > MOST_SMALL:
                self._replace(alike)

    def _replace(self, old: Sequence[tuple[str, Any]]) -> None:
        self.put(joined([table for _, table in old]))
        for key, _ in old:
            self._storage.delete(key)


class Packer:
    """Collects rows, as records are committed, and writes a segment per ``rows`` of them.

    Rows that are not written when the process dies are read from the records themselves.
    """

    def __init__(self, segments: Segments, rows: int | None = None) -> None:
        self._segments = segments
        self._rows = rows or ROWS
        self._waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """Take a row. Never raises StorageError, because no record depends on it."""
        self._waiting.append(row)
        if len(self._waiting) >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Write the rows since the last segment. Never raises StorageError."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        try:
            self._segments.write(rows)
        except StorageError as error:
            log.warning("records are not packed, which will make resuming slower: %s", error)


def numbers(table: Any) -> tuple[Ids, NDArray[np.int64]]:
    """Return the ids and stamps of a segment's rows."""
    return (
        table.column("id").to_numpy().astype(np.uint64),
        table.column("stamp").to_numpy().astype(np.int64),
    )


def entries_of(table: Any) -> Iterable[Entry]:
    """Yield a segment's rows in short."""
    for batch in table.select(LEAN).to_batches(4096):
        for task_id, *rest in zip(*(values_of(column) for column in batch), strict=True):
            yield Entry(f"{task_id:016x}", *rest)


def without_films(table: Any) -> Any:
    """Return a table with the columns ``OF_FILMS``, as they are where no row is a frame."""
    pa = arrow()
    count = table.num_rows
    table = table.append_column("film", [pa.nulls(count, kind_of_few())])
    table = table.append_column("frame", [pa.array(np.zeros(count, np.int64))])
    return table.append_column("held", [pa.nulls(count, pa.float64())])


def table_of(rows: Sequence[Row]) -> Any:
    """Return rows as a ``pyarrow.Table`` with the columns of a segment."""
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
        "loss": pa.float64(),
        "finished": pa.float64(),
        "thumbnail": pa.bool_(),
        "card": pa.bool_(),
        "frame": pa.int64(),
        "held": pa.float64(),
        **dict.fromkeys(FEW, kind_of_few()),
    }
    columns: dict[str, Any] = {}
    for name in ALL:
        values = [getattr(row, name) for row in rows]
        columns[name] = of_few(values) if name in FEW else values
    columns["id"] = [int(task_id, 16) for task_id in columns["id"]]
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in ALL])
    return pa.table(columns, schema=schema)


def codes_of(table: Any) -> NDArray[np.uint8]:
    """Return the ledger's code of each row."""
    return mapped(table.column("status"), CODES, 0)
