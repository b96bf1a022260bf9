"""``PictureTable``: pictures in columns of a Parquet file, as datasets of Hugging Face have them."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jobs.arrow import parquet, picture_address, picture_columns
from jobs.errors import InputError, InputNotFoundError, printable
from jobs.inputs.archives.archive import MARK, MOST_MEMBERS, Members
from jobs.inputs.archives.source import RangeFile, Source

BATCH_ROWS = 8
"""Rows that are decoded at a time."""

KEPT_BATCHES = 4
"""Batches that are kept, because several threads of a worker read rows that lie near each other."""

BUFFER_BYTES = 1 << 20
"""Bytes of a column that are read at a time."""

FOOTER_BYTES = 1 << 16
"""Bytes at the end of a file in which its footer is looked for first."""


@dataclass
class _Cursor:
    """Where the reading of a column stands."""

    group: int
    """The row group."""
    next: int
    """The row of the group that the next batch begins with."""
    batches: Iterator[Any]


@dataclass(frozen=True)
class _Batch:
    column: str
    group: int
    first: int
    """Its first row, in the group."""
    cells: Any
    """An array of bytes."""


class PictureTable(Members):
    """A Parquet file whose rows hold pictures: ``image/7`` is that of column ``image`` in row 7, from 1.

    A row is read with those before it in its row group, at least with its page, and reading goes on from
    there: a worker that reads rows in order reads each byte once.

    Args:
        uri: Its address, for messages.
        source: Its bytes.

    Raises:
        InputError: It is damaged, no Parquet file, or has no column of pictures.
        StorageError: It cannot be read.
    """

    def __init__(self, uri: str, source: Source) -> None:
        self.uri = uri
        self.source = source
        self._lock = threading.Lock()
        self._cursors: dict[str, _Cursor] = {}
        self._kept: deque[_Batch] = deque(maxlen=KEPT_BATCHES)
        self._starts = [0]
        """The number of rows before each row group, and of all."""
        raw = RangeFile(source)
        raw.least = FOOTER_BYTES
        with self._understood():
            self._file = parquet().ParquetFile(raw, pre_buffer=False, buffer_size=BUFFER_BYTES)
            self._leaves = picture_columns(self._file.schema_arrow)
            for k in range(self._file.num_row_groups):
                self._starts.append(self._starts[-1] + self._file.metadata.row_group(k).num_rows)
        if not self._leaves:
            raise InputError(
                f"{uri} has no column of pictures, which are bytes; if it is a list of pairs, write "
                f"manifest: {uri}"
            )

    def names(self) -> Sequence[str]:
        count = self._starts[-1] * len(self._leaves)
        if count > MOST_MEMBERS:
            raise InputError(
                f"{self.uri} has more than {MOST_MEMBERS:,} pictures; divide it into several files, or name "
                "them in a manifest"
            )
        rows = range(1, self._starts[-1] + 1)
        return [f"{column}/{row}" for column in self._leaves for row in rows]

    def holds(self, name: str) -> bool:
        column, row = self._place(name)
        return column in self._leaves and 0 < row <= self._starts[-1]

    def size(self, name: str) -> None:
        return None

    def read(self, name: str) -> bytes:
        column, row = self._place(name)
        with self._lock, self._understood():
            cell = self._cell(column, row - 1)
        if cell is None:
            raise InputNotFoundError(
                f"Row {row} of {self.uri} has no picture in column {column}; where it has a path instead, "
                "name the table as a manifest"
            )
        return cell

    def rest(self) -> None:
        with self._lock:
            self._cursors.clear()
            self._kept.clear()

    def no_member(self, name: str) -> InputError:
        column, row = self._place(name)
        if name in self._leaves:
            return InputNotFoundError(
                f"{self.uri} has a column {name}: {self.uri}{MARK}{name}/* means all its pictures, and "
                f"{picture_address(self.uri, name, 1)} the first"
            )
        if column not in self._leaves:
            known = " or ".join(f"{self.uri}{MARK}{column}/*" for column in self._leaves)
            return InputNotFoundError(
                f"There is no column of pictures {column or name} in {self.uri}: write {known}"
            )
        return InputNotFoundError(
            f"There is no row {row} in {self.uri}, which has {self._starts[-1]:,}"
        )

    def _place(self, name: str) -> tuple[str, int]:
        """Return the column and the row, from 1; row 0: the name has none."""
        column, _, row = name.rpartition("/")
        return column, int(row) if row.isascii() and row.isdigit() and len(row) < 16 else 0

    def _cell(self, column: str, row: int) -> bytes | None:
        group = bisect.bisect_right(self._starts, row) - 1
        row -= self._starts[group]
        for batch in self._kept:
            inside = 0 <= row - batch.first < len(batch.cells)
            if inside and (batch.column, batch.group) == (column, group):
                return self._at(batch, row)
        cursor = self._cursors.get(column)
        if cursor is None or cursor.group != group or cursor.next > row:
            batches = self._file.iter_batches(
                BATCH_ROWS, row_groups=[group], columns=[self._leaves[column]], use_threads=False
            )
            cursor = self._cursors[column] = _Cursor(group, 0, batches)
        try:
            while True:
                first = cursor.next
                (cells,) = next(cursor.batches).columns
                cursor.next += len(cells)
                if row < cursor.next:
                    break
        except BaseException:
            del self._cursors[column]  # where it stands is not known
            raise
        if self._leaves[column] != column:
            # Where the struct is null, so are its bytes.
            cells = cells.flatten()[cells.type.get_field_index("bytes")]
        batch = _Batch(column, group, first, cells)
        self._kept.append(batch)
        return self._at(batch, row)

    def _at(self, batch: _Batch, row: int) -> bytes | None:
        cell: bytes | None = batch.cells[row - batch.first].as_py()
        return cell

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn exceptions of PyArrow in the block into an InputError with one sentence."""
        try:
            yield
        except (
            OSError,
            ValueError,
            TypeError,
            LookupError,
            NotImplementedError,
            StopIteration,
        ) as error:
            # PyArrow's errors are subclasses of these, and a damaged file can raise most of them.
            reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise InputError(
                f"{self.uri} is damaged, or no Parquet file that can be read ({reason})"
            ) from None
