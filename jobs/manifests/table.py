"""Comma- or tab-separated text as rows, in which a quote that is never closed costs its own row only.

A quoted cell may have line breaks, so a CSV reader takes all that follows a forgotten quote, up to the next
quote, for one cell. Here the lines of a row that does not end well are read again, all but the first.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NoReturn

from jobs.manifests.lines import TextLines, is_broken
from jobs.manifests.row import BadRow, Row

OPEN_QUOTE = "opens a quote that is not closed in its row"

GUESSED = "is not UTF-8, and was read as Windows-1252"

_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line with which a spreadsheet is told the separator."""

_PICTURE = re.compile(r"/|\.[A-Za-z]\w{1,4}$")
"""What the address of a picture has: a folder, or an extension."""

_NEEDED = ("content", "style")

_ADDRESSES = (*_NEEDED, "init")
"""Columns whose cells name pictures, which have no line breaks in their names."""


class TableError(Exception):
    """The header cannot be used. ``str()`` is the rest of the sentence: "it has two columns 'content'"."""


class Table:
    """A table with a header.

    Args:
        lines: Its text.
        delimiter: The separator of cells, unless the first line says another: ``sep=;``.

    Raises:
        TableError: The header has an open quote, or two columns of one name.
    """

    def __init__(self, lines: TextLines, delimiter: str) -> None:
        self._encoding = lines.encoding
        self._lines = _Lines(iter(lines))
        self._delimiter = self._read_separator() or self._guess_separator(delimiter)
        self._records = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        self.columns: Sequence[str] = self._read_header()
        """The names of the columns, '' for one without a name; none in an empty file."""
        self._width = len(self.columns)
        self._places = [self.columns.index(n) for n in _ADDRESSES if n in self.columns]

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield every row in order. A line without any value is no row."""
        lines, records, width, columns = self._lines, self._records, self._width, self.columns
        while True:
            lines.begin()
            try:
                cells = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._refuse(str(error))
                continue
            given = lines.given
            place = lines.number
            if len(given) > 1:
                if len(cells) != width or self._has_swallowed(cells):
                    yield self._refuse(OPEN_QUOTE)
                    continue
                place += 1 - len(given)
            filled = bool(cells) and all(map(str.strip, cells))
            if not filled and not any(map(str.strip, cells)):
                continue
            if len(cells) != width:
                count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
                yield BadRow(place, f"has {count} where the header has {width}")
                continue
            guessed = None
            if any(map(is_broken, given)):
                if not self._decode_again(cells):
                    yield BadRow(place, f"is not {self._encoding}; save the file as UTF-8")
                    continue
                guessed = GUESSED
            named = zip(columns, cells, strict=True)
            values = dict(named if filled else (c for c in named if c[1].strip()))
            yield Row(place, values, guessed)

    def _read_separator(self) -> str | None:
        self._lines.begin()
        said = _SEPARATOR.fullmatch(next(self._lines, ""))
        if said is None:
            self._lines.take_back(0)
            return None
        return said.group(1)

    def _guess_separator(self, usual: str) -> str:
        """Return the separator with which the first line names content and style; else the usual one.

        Spreadsheets write semicolons where numbers have a decimal comma, and tabs as "Unicode text".
        """
        self._lines.begin()
        line = next(self._lines, "").strip()
        self._lines.take_back(0)
        for separator in (usual, ";", "\t", ","):
            names = {name.strip().strip('"') for name in line.split(separator)}
            if names.issuperset(_NEEDED):
                return separator
        return usual

    def _decode_again(self, cells: list[str]) -> bool:
        """Decode the cells of a row that is not UTF-8 as Windows-1252, and return whether that could be done.

        Only where semicolons separate the cells: such a table is from a spreadsheet in a locale that has this
        encoding as its own. Elsewhere one cannot know.
        """
        if self._delimiter != ";" or self._encoding != "UTF-8":
            return False
        try:
            cells[:] = [cell.encode("utf-8", "surrogateescape").decode("cp1252") for cell in cells]
        except UnicodeDecodeError:
            return False
        return True

    def _read_header(self) -> list[str]:
        while True:
            self._lines.begin()
            try:
                cells = next(self._records)
            except StopIteration:
                return []
            except csv.Error as error:
                self._fail_header(str(error))
            if len(self._lines.given) > 1:
                self._fail_header(OPEN_QUOTE)
            if not any(cell.strip() for cell in cells):
                continue
            if any(map(is_broken, cells)):
                raise TableError(f"its header is not {self._encoding}; save the file as UTF-8")
            names = [cell.strip() for cell in cells]
            for name in filter(None, names):
                if names.count(name) > 1:
                    raise TableError(f"it has two columns {name!r}")
            return names

    def _fail_header(self, reason: str) -> NoReturn:
        line = self._lines.number + 1 - len(self._lines.given)
        several = len(self._lines.given) > 1 or _is_cut_short(reason)
        raise TableError(f"its header, line {line}, {OPEN_QUOTE if several else reason}")

    def _refuse(self, reason: str) -> BadRow:
        """Return the row that begins at the first of the lines given as a bad one; the others come again."""
        lines = self._lines
        if len(lines.given) > 1 or _is_cut_short(reason):
            reason = OPEN_QUOTE
        place = lines.number + 1 - len(lines.given)
        lines.take_back(1)
        return BadRow(place, reason)

    def _has_swallowed(self, cells: Sequence[str]) -> bool:
        """Return whether a row of several lines is really several rows, of which the first has an open quote.

        So it is when a cell that names a picture has a line break, or when one of its lines is by itself a
        row of the right width that names pictures. A comment of several lines is neither.
        """
        for place in self._places:
            cell = cells[place]
            if ("\n" in cell or "\r" in cell) and not cell.lstrip().startswith("{"):
                return True
        return any(map(self._is_row, self._lines.given[1:]))

    def _is_row(self, line: str) -> bool:
        if line.count(self._delimiter) + 1 < self._width:
            return False
        for cells in csv.reader([line], delimiter=self._delimiter):
            if len(cells) == self._width:
                return all(
                    _names_picture(cells[place])
                    for place in self._places
                    if self.columns[place] != "init"
                )
        return False


class _Lines:
    """Lines that are given one by one, of which the last ones can be taken back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._source = lines
        self._again: deque[str] = deque()
        self.given: list[str] = []
        """Lines given since the last call of ``begin``."""
        self.number = 0
        """The number of the last line given, from 1."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._source)
        self.given.append(line)
        self.number += 1
        return line

    def begin(self) -> None:
        """Begin another row."""
        self.given = []

    def take_back(self, kept: int) -> None:
        """Give the lines given since ``begin`` once more, except for the first ``kept`` of them."""
        again = self.given[kept:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)
        del self.given[kept:]


def _is_cut_short(reason: str) -> bool:
    """Return whether the csv module complains about a quote that is open at the end of the file."""
    return "unexpected end of data" in reason


def _names_picture(cell: str) -> bool:
    """Return whether a cell is like the address of a picture, or a style in JSON."""
    return cell.startswith("{") or ('"' not in cell and _PICTURE.search(cell.strip()) is not None)
