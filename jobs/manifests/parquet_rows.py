"""Rows of Parquet. A column of pictures gives the address of each picture, and its bytes are not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.arrow import picture_address, picture_columns
from jobs.manifests.row import Row, is_empty

PICTURES = ("content", "style", "init")
"""Columns that name pictures, and so may hold them. Bytes in others are what they are."""

BATCH_ROWS = 4096
"""Rows that are decoded at a time."""

FEW_ROWS = 16
"""Rows that are decoded at a time where the bytes of pictures must be read to see which rows have some."""


def rows_of(file: Any, name: str, columns: Sequence[str] | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file, in batches.

    Args:
        file: A ``pyarrow.parquet.ParquetFile``.
        name: Its address, with which those of the pictures in it begin.
        columns: The columns to read; None: all.

    Raises:
        Exception: It is damaged; PyArrow raises several types.
    """
    pictures = {
        column: leaf
        for column, leaf in picture_columns(file.schema_arrow).items()
        if column in PICTURES and (columns is None or column in columns)
    }
    place = 0
    if not pictures:
        wanted = None if columns is None else list(columns)
        for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
            for cells in _cells(batch):
                place += 1
                yield Row(place, cells)
        return
    others = [c for c in columns or file.schema_arrow.names if c not in pictures]
    for group in range(file.num_row_groups):
        columns_here = [
            _PictureColumn.of(file.metadata.row_group(group), column, leaf)
            for column, leaf in pictures.items()
        ]
        for cells in _group(file, group, others, columns_here):
            place += 1
            for column in columns_here:
                if (
                    address := column.address(cells.pop(column.name, None), name, place)
                ) is not None:
                    cells[column.name] = address
            yield Row(place, cells)


@dataclass(frozen=True)
class _PictureColumn:
    """A column of pictures, in one row group."""

    name: str
    leaf: str
    """The path of its bytes."""
    empty: bool | None
    """Whether all rows, or no rows, are without bytes; None: some are, or the file does not say."""
    has_paths: bool

    @classmethod
    def of(cls, group: Any, column: str, leaf: str) -> _PictureColumn:
        """Return a column as the statistics of its row group show it."""
        found = {}
        for k in range(group.num_columns):
            found[group.column(k).path_in_schema] = group.column(k)
        statistics = found[leaf].statistics
        empty: bool | None = None
        if statistics is not None and statistics.has_null_count:
            empty = {0: False, group.num_rows: True}.get(statistics.null_count)
        return cls(column, leaf, empty, f"{column}.path" in found)

    @property
    def leaves(self) -> list[str]:
        """What must be read to tell the address of a picture."""
        paths = [f"{self.name}.path"] if self.has_paths and self.empty is not False else []
        return [*paths, *([self.leaf] if self.empty is None else [])]

    def address(self, cell: Any, table: str, row: int) -> str | None:
        """Return the address of a row's picture: in this table, or its path; None: it has neither."""
        data = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if self.empty is False or (self.empty is None and data is not None):
            return picture_address(table, self.name, row)
        path = cell.get("path") if isinstance(cell, Mapping) else None
        return None if is_empty(path) else str(path)


def _group(
    file: Any, group: int, others: Sequence[str], pictures: Sequence[_PictureColumn]
) -> Iterator[dict[str, Any]]:
    """Yield the cells of each row of a row group, without bytes that need not be read."""
    leaves = [*others, *(leaf for column in pictures for leaf in column.leaves)]
    if not leaves:
        for _ in range(file.metadata.row_group(group).num_rows):
            yield {}
        return
    some = any(column.empty is None for column in pictures)
    for batch in file.iter_batches(
        FEW_ROWS if some else BATCH_ROWS, row_groups=[group], columns=leaves, use_threads=False
    ):
        yield from _cells(batch)


def _cells(batch: Any) -> Iterator[dict[str, Any]]:
    """Yield the cells of each row of a batch that are not empty."""
    names = batch.schema.names
    for values in zip(*(column.to_pylist() for column in batch), strict=True):
        cells = zip(names, values, strict=True)
        yield {name: value for name, value in cells if not is_empty(value)}
