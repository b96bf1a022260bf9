"""Any mix of good and bad rows: the good ones are all there, the bad ones are named, and the sum holds."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs.errors import JobFileError
from jobs.records.statuses import Ledger
from jobs.tasks.row_account import BAD_ROWS_SHOWN, RowAccount
from jobs.tasks.todo import Agenda
from tests.jobs.support import read

NOTES = st.text("ab ,;'\"\n\té海{}|", max_size=8)
"""A comment beside the pair: a spreadsheet has quotes, separators and line breaks in it."""

GOOD = ("good", "again")
BROKEN_TEXT = ("short", "long", "open content", "open style", "open note", "after quote")
"""Rows that only a table can have."""
BROKEN_JSON = ("cut short", "a list", "two")
"""Rows that only lines of JSON can have."""
EMPTY = ("no content", "no style")
BAD_BYTES = "bytes"
BLANK = ("blank", "separators")
"""Lines that are no rows."""


@dataclass(frozen=True)
class Item:
    """A row of the list."""

    what: str
    number: int
    note: str

    @property
    def content(self) -> str:
        return f"photos/{0 if self.what == 'again' else self.number} é.jpg"


@dataclass(frozen=True)
class Written:
    """How a list is written."""

    ending: str = ".csv"
    codec: str = "utf-8"
    line_end: str = "\n"
    quote_all: bool = False
    separator_line: bool = False


def cell(text: str, delimiter: str, *, always: bool) -> str:
    """A cell, quoted as RFC 4180 says."""
    if always or any(c in text for c in f'{delimiter}"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def table_line(item: Item, delimiter: str, *, always: bool) -> str:
    def row(*cells: str) -> str:
        return delimiter.join(cell(text, delimiter, always=always) for text in cells)

    content, style, flat = item.content, "s.jpg", re.sub(r'["\n]', "", item.note)
    match item.what:
        case "good" | "again":
            return row(content, style, item.note)
        case "short":
            return row(content)
        case "long":
            return row(content, style, flat, "x")
        case "open content":
            return delimiter.join([f'"{content}', style, "note"])
        case "open style":
            return delimiter.join([content, f'"{style}', "note"])
        case "open note":
            return delimiter.join([content, style, f'"{flat.replace(delimiter, "")}'])
        case "after quote":
            return delimiter.join([f'"{content}"x', style, "note"])
        case "no content":
            return row("", style, flat + "x")
        case "no style":
            return row(content, " ", flat)
        case "bytes":
            return row(content, style, "\udce9")
        case "blank":
            return ""
        case "separators":
            return row("", " ", "")
    raise AssertionError(item.what)


def json_line(item: Item) -> str:
    row = {"content": item.content, "style": "s.jpg", "note": item.note}
    match item.what:
        case "no content":
            del row["content"]
        case "no style":
            row["style"] = ""
        case "cut short":
            return json.dumps(row)[:-1]
        case "a list":
            return json.dumps(list(row.values()))
        case "two":
            return json.dumps(row) * 2
        case "blank":
            return ""
        case "bytes":
            return json.dumps(row | {"note": "\udce9"}, ensure_ascii=False)
    return json.dumps(row, ensure_ascii=False)


def write(folder: Path, items: list[Item], how: Written) -> tuple[str, list[int]]:
    """Write a list; return its name, and the place of each item."""
    name = f"list{how.ending}"
    if how.ending == ".parquet":
        cells = [
            {
                "content": None if item.what == "no content" else item.content,
                "style": "" if item.what == "no style" else "s.jpg",
                "note": item.note,
            }
            for item in items
        ]
        schema = pa.schema([(key, pa.string()) for key in ("content", "style", "note")])
        pq.write_table(pa.Table.from_pylist(cells, schema), folder / name)
        return name, list(range(1, len(items) + 1))
    lines: list[str] = []
    delimiter = "\t" if ".tsv" in how.ending else ","
    if ".jsonl" not in how.ending:
        if how.separator_line:
            delimiter = ";"
            lines.append("sep=;")
        lines.append(delimiter.join(["content", "style", "note"]))
    places, line = [], 1 + len(lines)
    for item in items:
        places.append(line)
        is_json = ".jsonl" in how.ending
        text = json_line(item) if is_json else table_line(item, delimiter, always=how.quote_all)
        lines.append(text)
        line += 1 + text.count("\n")
    data = how.line_end.join([*lines, ""]).encode(how.codec, "surrogateescape")
    (folder / name).write_bytes(gzip.compress(data, 1) if how.ending.endswith(".gz") else data)
    return name, places


def items_of(*kinds: str) -> st.SearchStrategy[list[Item]]:
    row = st.tuples(st.sampled_from((*GOOD, *GOOD, *kinds)), NOTES)
    return st.lists(row, max_size=12).map(
        lambda rows: [Item(what, number, note) for number, (what, note) in enumerate(rows)]
    )


def check(folder: Path, items: list[Item], how: Written) -> None:
    name, places = write(folder, items, how)
    text = f"output: out\npairs: [{{manifest: {name}, on_bad_row: skip}}]\n"
    agenda = Agenda(read(text, folder), lambda recipe: "digest")
    account = RowAccount()
    contents = [draft.content for draft, _ in agenda.drafts(Ledger.of({}), account)]

    good = [item.content for item in items if item.what in GOOD]
    assert contents == list(dict.fromkeys(good))
    neither = (*GOOD, *BLANK)
    bad = [place for place, item in zip(places, items, strict=True) if item.what not in neither]
    mark = " row " if how.ending == ".parquet" else ":"
    assert [problem.file for problem in account.problems] == [f"{name}{mark}{b}" for b in bad]

    counts = account.counts()
    assert counts.rows == sum(item.what not in BLANK for item in items)
    assert (counts.used, counts.bad) == (len(contents), len(bad))
    assert counts.rows == counts.used + counts.repeated + counts.left_out + counts.bad

    strict = Agenda(read(text.replace("skip", "fail"), folder), lambda recipe: "digest")
    if not bad:
        assert [task.content for task in strict.tasks()] == contents
        return
    with pytest.raises(JobFileError) as caught:
        list(strict.tasks())
    told = str(caught.value).splitlines()
    for place, line in zip(bad[:BAD_ROWS_SHOWN], told, strict=False):
        assert line.startswith(f"{name}{mark}{place}: ")


SETTINGS = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TABLES = st.builds(
    Written,
    ending=st.sampled_from([".csv", ".tsv", ".csv.gz"]),
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quote_all=st.booleans(),
    separator_line=st.booleans(),
)


@SETTINGS
@given(items_of(*BROKEN_TEXT, *EMPTY, *BLANK), TABLES)
@example([Item("open note", 0, "a"), Item("good", 1, "\nb"), Item("good", 2, "")], Written())
@example([Item("open note", 0, ""), Item("open note", 1, ""), Item("good", 2, "")], Written())
@example([Item("open style", 0, ""), Item("good", 1, ", x"), Item("good", 2, "")], Written())
@example([Item("good", 0, 'two\nlines "and" more'), Item("open note", 1, "")], Written())
def test_a_table(tmp_path: Path, items: list[Item], how: Written) -> None:
    check(tmp_path, items, how)


@SETTINGS
@given(
    items_of(*BROKEN_JSON, *EMPTY, BLANK[0]),
    st.builds(
        Written,
        ending=st.sampled_from([".jsonl", ".jsonl.gz"]),
        codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    ),
)
def test_lines_of_json(tmp_path: Path, items: list[Item], how: Written) -> None:
    check(tmp_path, items, how)


@SETTINGS
@given(items_of(*EMPTY))
def test_parquet(tmp_path: Path, items: list[Item]) -> None:
    check(tmp_path, items, Written(".parquet"))


@SETTINGS
@given(items_of(BAD_BYTES, *EMPTY), st.sampled_from([".csv", ".tsv.gz", ".jsonl"]), st.booleans())
def test_bytes_that_are_no_text(
    tmp_path: Path, items: list[Item], ending: str, marked: bool
) -> None:
    check(tmp_path, items, Written(ending, codec="utf-8-sig" if marked else "utf-8"))


def test_a_quote_forgotten_in_a_long_list_costs_its_row_only(tmp_path: Path) -> None:
    """The next quote is far away, and belongs to another row."""
    items = [Item("good", number, "") for number in range(20_000)]
    items[4] = Item("open style", 4, "")
    items[15_000] = Item("good", 15_000, "a, b")
    check(tmp_path, items, Written())


def test_many_forgotten_quotes_do_not_make_reading_slow(tmp_path: Path) -> None:
    """Each begins a cell that never ends; the file is still read in one pass and a bit."""
    rows = 5_000
    (tmp_path / "p.csv").write_text(
        "content,style\n" + "".join(f'{k}.jpg,"s.jpg\n' for k in range(rows))
    )
    job = read("output: out\npairs: [{manifest: p.csv, on_bad_row: skip}]\n", tmp_path)
    account = RowAccount()
    assert not list(Agenda(job, lambda _: "d").drafts(Ledger.of({}), account))
    assert account.counts().bad == rows


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "marked UTF-16, other byte order": lambda t: codecs.BOM_UTF16_BE + t.encode("utf-16-be"),
    "UTF-16 without a mark, other byte order": lambda t: t.encode("utf-16-be"),
    "UTF-32 without a mark": lambda t: t.encode("utf-32-be"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_spreadsheets_call_unicode_text(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_bytes(ENCODINGS[encoding]("content\tstyle\r\né.jpg\ts.jpg\r\n"))
    job = read("output: out\npairs: [{manifest: p.tsv}]\n", tmp_path)
    assert [task.content for task in Agenda(job, lambda _: "d").tasks()] == ["é.jpg"]


def test_text_cut_in_the_middle_of_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes("content,style\na.jpg,s.jpg\n".encode("utf-16")[:-1])
    job = read("output: out\npairs: [{manifest: p.csv}]\n", tmp_path)
    with pytest.raises(JobFileError, match=r"p\.csv cannot be read as csv text: .*truncated"):
        list(Agenda(job, lambda _: "d").tasks())


SPREADSHEETS = {
    "semicolons, Windows-1252": "content;style;name\r\né.jpg;s.jpg;Straße\r\n".encode("cp1252"),
    "semicolons, UTF-8 with a mark": "content;style;name\r\né.jpg;s.jpg;Straße\r\n".encode(
        "utf-8-sig"
    ),
    "Unicode text": "content\tstyle\tname\r\né.jpg\ts.jpg\tStraße\r\n".encode("utf-16"),
    "quoted header": '"content";"style";"name"\r\n"é.jpg";"s.jpg";"Straße"\r\n'.encode(),
    "other columns first": "note,x;content;style;name\na,b;é.jpg;s.jpg;Straße\n".encode(),
}


@pytest.mark.parametrize("spreadsheet", SPREADSHEETS)
def test_what_spreadsheets_of_europe_call_csv(spreadsheet: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(SPREADSHEETS[spreadsheet])
    job = read("output: out\npairs: [{manifest: p.csv}]\n", tmp_path)
    assert [(t.content, t.name) for t in Agenda(job, lambda _: "d").tasks()] == [
        ("é.jpg", "Straße")
    ]


def test_an_encoding_that_is_guessed_is_said(tmp_path: Path) -> None:
    rows = "content;style\r\na.jpg;s.jpg\r\né.jpg;s.jpg\r\nü.jpg;s.jpg\r\n"
    (tmp_path / "p.csv").write_bytes(rows.encode("cp1252"))
    job = read("output: out\npairs: [{manifest: p.csv}]\n", tmp_path)
    (note,) = Agenda(job, lambda _: "d").census(Ledger.of({})).rows.notes
    assert str(note) == "p.csv:3: is not UTF-8, and was read as Windows-1252 (in 2 rows)"


def test_windows_1252_is_guessed_between_semicolons_only(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes("content,style\né.jpg,s.jpg\n".encode("cp1252"))
    job = read("output: out\npairs: [{manifest: p.csv}]\n", tmp_path)
    with pytest.raises(JobFileError, match=r"p\.csv:2: is not UTF-8; save the file as UTF-8"):
        list(Agenda(job, lambda _: "d").tasks())
