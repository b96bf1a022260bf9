"""``Manifest``: one file that names a pair in each row, of any format.

The formats are comma- or tab-separated text with a header, lines of JSON (each of these also gzipped), and
Parquet. No reader holds more than a piece of its file. A row that cannot be read is yielded as such, and the
reader continues; a file that cannot be read raises.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.arrow import parquet
from jobs.errors import InputError, printable
from jobs.manifests.lines import LineError, TextLines, is_broken, text_lines
from jobs.manifests.parquet_rows import rows_of
from jobs.manifests.row import BadRow, Row, is_empty
from jobs.manifests.table import Table, TableError

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
ENDINGS = (*FORMATS, *(f"{name}.gz" for name in FORMATS[:3]))
"""Extensions of manifests; Parquet has its own compression."""

SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
"""Extensions of spreadsheets, which are no lists of rows."""


class Manifest:
    """One manifest.

    Args:
        name: The file's name as the user gave it; its extension decides the format.
        path: The file, on this disk.
        values: By column, the values that its folders stand for; every row has them, whatever the file has in
            that column; None: they have none.

    Raises:
        InputError: The extension is that of no format.
    """

    def __init__(
        self, name: str, path: Path, values: Mapping[str, str | None] | None = None
    ) -> None:
        self.name = name
        self._path = path
        self._values = dict(values or {})
        self._kind = kind_of(name)

    def at(self, place: int) -> str:
        """Return a row's place for people: ``pairs.csv:7``, ``pairs.parquet row 7``."""
        return f"{self.name} row {place}" if self._kind == ".parquet" else f"{self.name}:{place}"

    def columns(self) -> Sequence[str] | None:
        """Return the names of the columns; None for lines of JSON, which may differ. Raises InputError."""
        own = self._own_columns()
        return None if own is None else [*own, *(name for name in self._values if name not in own)]

    @property
    def is_empty(self) -> bool:
        """Whether the file has no bytes, as Spark writes one for a part without rows."""
        return self._path.stat().st_size == 0

    def _own_columns(self) -> Sequence[str] | None:
        if self._kind == ".jsonl":
            return None
        with self._readable():
            if self._kind == ".parquet":
                with parquet().ParquetFile(self._path) as file:
                    return list(file.schema_arrow.names)
            with self._lines() as lines:
                return [name for name in self._table(lines).columns if name]

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row | BadRow]:
        """Yield every row in order.

        Args:
            columns: The columns to read from Parquet; None: all. Other formats yield all columns.

        Raises:
            InputError: The file is damaged, or not of its format.
        """
        rows = self._own_rows(columns)
        if not self._values:
            yield from rows
            return
        for row in rows:
            yield (
                row if isinstance(row, BadRow) else replace(row, cells=self._completed(row.cells))
            )

    def _completed(self, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        both = {**cells, **self._values}
        return {name: value for name, value in both.items() if value is not None}

    def _own_rows(self, columns: Sequence[str] | None) -> Iterator[Row | BadRow]:
        if self._kind == ".parquet":
            own = self._own_columns()
            assert own is not None
            wanted = None if columns is None else [name for name in columns if name in own]
            yield from self._parquet_rows(wanted)
            return
        with self._readable(), self._lines() as lines:
            if self._kind == ".jsonl":
                yield from _json_rows(lines)
            else:
                yield from self._table(lines).rows()

    def _lines(self) -> AbstractContextManager[TextLines]:
        return text_lines(self._path, packed=self.name.lower().endswith(".gz"))

    def _table(self, lines: TextLines) -> Table:
        return Table(lines, "\t" if self._kind == ".tsv" else ",")

    def _parquet_rows(self, columns: Sequence[str] | None) -> Iterator[Row | BadRow]:
        with self._readable(), parquet().ParquetFile(self._path, pre_buffer=False) as file:
            yield from rows_of(file, self.name, columns)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn exceptions of the readers in the block into an InputError with one sentence."""
        try:
            yield
        except (OSError, EOFError, zlib.error, TableError, LineError) as error:
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


def is_manifest(name: str) -> bool:
    """Return whether a name has a manifest's extension."""
    return name.lower().endswith(ENDINGS)


def kind_of(name: str) -> str:
    """Return ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``, without ``.gz``. Raises InputError."""
    plain = name.lower().removesuffix(".gz")
    for kind in FORMATS:
        if plain.endswith(kind) and is_manifest(name):
            return kind
    advice = "; save the sheet as CSV in UTF-8" if plain.endswith(SHEETS) else ""
    if plain.endswith((".json", ".ndjson")):
        advice = "; rename a file with an object in each line to .jsonl"
    raise InputError(f"{name} is not a manifest that stylefarm reads: {', '.join(ENDINGS)}{advice}")


class _TwiceError(Exception):
    """An object names a key twice. ``str()`` is the key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return cells


def _json_rows(lines: TextLines) -> Iterator[Row | BadRow]:
    for place, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        if is_broken(line):
            yield BadRow(place, f"is not {lines.encoding}; save the file as UTF-8")
            continue
        try:
            cells = json.loads(line, object_pairs_hook=_object)
        except _TwiceError as error:
            yield BadRow(place, f"has {error} twice")
            continue
        except (ValueError, RecursionError) as error:
            yield BadRow(place, f"is not JSON ({str(error).splitlines()[0][:100]})")
            continue
        if not isinstance(cells, dict):
            yield BadRow(place, 'is not an object such as {"content": "a.jpg", "style": "b.jpg"}')
            continue
        yield Row(place, {name: value for name, value in cells.items() if not is_empty(value)})
