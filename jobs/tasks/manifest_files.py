"""Manifests: files that name a pair in each row, read as a stream of rows.

The formats are comma- or tab-separated text with a header, lines of JSON (each of these also gzipped), and
Parquet. No reader holds more than a piece of its file. A row that cannot be read is yielded as such, and the
reader continues; a file that cannot be read raises.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jobs.arrow import parquet
from jobs.errors import InputError, printable

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
ENDINGS = (*FORMATS, *(f"{name}.gz" for name in FORMATS[:3]))
"""Extensions of manifests; Parquet has its own compression."""

LINE_LIMIT = 1024 * 1024
"""Bytes. A file with a longer line is of another kind, and the line would fill the memory."""

BATCH_ROWS = 4096
"""Rows of Parquet that are decoded at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row that was read."""

    place: int
    """The line on which it ends (text), or its number (Parquet); both from 1."""
    cells: Mapping[str, Any]
    """Values by column, without empty cells."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    place: int
    """The line on which it ends (text), or its number (Parquet); both from 1."""
    reason: str
    """The rest of the sentence: "is not UTF-8"."""


class Manifest:
    """One manifest.

    Args:
        name: The file's name as the user gave it; its extension decides the format.
        path: The file, on this disk.

    Raises:
        InputError: The extension is that of no format.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._kind = kind_of(name)

    def at(self, place: int) -> str:
        """Return a row's place for people: ``pairs.csv:7``, ``pairs.parquet row 7``."""
        return f"{self.name} row {place}" if self._kind == ".parquet" else f"{self.name}:{place}"

    def columns(self) -> Sequence[str] | None:
        """Return the names of the columns; None for lines of JSON, which may differ. Raises InputError."""
        if self._kind == ".jsonl":
            return None
        with self._readable():
            if self._kind == ".parquet":
                with parquet().ParquetFile(self._path) as file:
                    return list(file.schema_arrow.names)
            with self._open() as stream:
                return _header(self._table(stream))

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row | BadRow]:
        """Yield every row in order.

        Args:
            columns: The columns to read from Parquet; None: all. Other formats yield all columns.

        Raises:
            InputError: The file is damaged, or not of its format.
        """
        if self._kind == ".parquet":
            yield from self._parquet_rows(columns)
            return
        with self._readable(), self._open() as stream:
            if self._kind == ".jsonl":
                yield from _json_rows(stream)
            else:
                yield from _table_rows(self._table(stream))

    def _open(self) -> BinaryIO:
        if self.name.lower().endswith(".gz"):
            return gzip.open(self._path, "rb")  # type: ignore[return-value]
        return self._path.open("rb")

    def _table(self, stream: BinaryIO) -> Any:
        dialect = "excel-tab" if self._kind == ".tsv" else "excel"
        return csv.reader(_text_lines(stream), dialect, strict=True)

    def _parquet_rows(self, columns: Sequence[str] | None) -> Iterator[Row | BadRow]:
        with self._readable(), parquet().ParquetFile(self._path, pre_buffer=False) as file:
            wanted = None if columns is None else list(columns)
            place = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
                names = batch.schema.names
                for values in zip(*(column.to_pylist() for column in batch), strict=True):
                    place += 1
                    cells = zip(names, values, strict=True)
                    yield Row(place, {name: v for name, v in cells if not _is_empty(v)})

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn exceptions of the readers in the block into an InputError with one sentence."""
        try:
            yield
        except (OSError, EOFError, zlib.error, csv.Error, _LineError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        except (ValueError, TypeError, LookupError, NotImplementedError, MemoryError) as error:
            # pyarrow's errors are subclasses of these, and a damaged file can raise most of them.
            reason = str(error)
        else:
            return
        what = "" if self._kind == ".parquet" else " text"
        kind = f"{self._kind[1:]}{what}"
        first = printable(reason.splitlines()[0])[:200] if reason else "damaged"
        raise InputError(f"{self.name} cannot be read as {kind}: {first}") from None


class _LineError(Exception):
    """A line that is longer than any row."""


def is_manifest(name: str) -> bool:
    """Return whether a name has a manifest's extension."""
    return name.lower().endswith(ENDINGS)


def kind_of(name: str) -> str:
    """Return ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``, without ``.gz``. Raises InputError."""
    plain = name.lower().removesuffix(".gz")
    for kind in FORMATS:
        if plain.endswith(kind) and is_manifest(name):
            return kind
    raise InputError(f"{name} is not a manifest that stylefarm reads: {', '.join(ENDINGS)}")


def _byte_lines(stream: BinaryIO) -> Iterator[bytes]:
    buffered = io.BufferedReader(stream, LINE_LIMIT) if isinstance(stream, io.RawIOBase) else stream
    for number in range(1, 2**62):
        line = buffered.readline(LINE_LIMIT)
        if not line:
            return
        if len(line) >= LINE_LIMIT and not line.endswith(b"\n"):
            raise _LineError(f"line {number} is longer than {LINE_LIMIT:,} bytes")
        yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _text_lines(stream: BinaryIO) -> Iterator[str]:
    # Bytes that are not UTF-8 become lone surrogates, by which the row is recognised as bad.
    return (line.decode("utf-8", "surrogateescape") for line in _byte_lines(stream))


def _header(table: Any) -> list[str]:
    for cells in table:
        if cells:
            names = [cell.strip() for cell in cells]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"it has two columns {name!r}")
            return names
    return []


def _table_rows(table: Any) -> Iterator[Row | BadRow]:
    names = _header(table)
    while True:
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(table.line_num, str(error))
            continue
        if not cells or not any(cells):
            continue
        if len(cells) != len(names):
            count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
            yield BadRow(table.line_num, f"has {count} where the header has {len(names)}")
        elif not "".join(cells).isprintable() and any(map(_is_broken, cells)):
            yield BadRow(table.line_num, "is not UTF-8")
        else:
            values = {name: cell for name, cell in zip(names, cells, strict=True) if cell.strip()}
            yield Row(table.line_num, values)


def _json_rows(stream: BinaryIO) -> Iterator[Row | BadRow]:
    for place, line in enumerate(_byte_lines(stream), start=1):
        if line.isspace():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "is not JSON"
            yield BadRow(place, f"{reason} ({str(error).splitlines()[0][:100]})")
            continue
        if not isinstance(cells, dict):
            yield BadRow(place, 'is not an object such as {"content": "a.jpg", "style": "b.jpg"}')
            continue
        yield Row(place, {name: value for name, value in cells.items() if not _is_empty(value)})


def _is_empty(value: object) -> bool:
    """Return whether a cell is None, white space, or the NaN that tables of numbers have for no value."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _is_broken(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)
