"""Manifests of every kind say the same; what is damaged is told, row by row or as a whole."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs.errors import InputError
from jobs.manifests.lines import LINE_LIMIT
from jobs.manifests.manifest import ENDINGS, Manifest, is_manifest, kind_of
from jobs.manifests.row import BadRow, Row

ROWS: list[dict[str, Any]] = [
    {"content": "photos/a, b.jpg", "style": 'the "wave".png', "name": None},
    {"content": "s3://bucket/海 é.jpg", "style": "b.png", "name": "two\nlines"},
    {"content": "c.jpg", "style": "d.png", "name": "é"},
]
CELLS = [{k: v for k, v in row.items() if v is not None} for row in ROWS]


def write_table(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A manifest of the kind that its name says."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    plain = path.with_name("plain")
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind == "jsonl":
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        write_table(plain, rows, "\t" if kind == "tsv" else ",")
    data = plain.read_bytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def opened(path: Path) -> Manifest:
    return Manifest(path.name, path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_gives_the_same_cells(ending: str, tmp_path: Path) -> None:
    manifest = opened(write(tmp_path / f"pairs{ending}", ROWS))
    rows = list(manifest.rows())
    assert [dict(row.cells) for row in rows if isinstance(row, Row)] == CELLS
    if manifest.columns() is not None:
        assert list(manifest.columns() or ()) == ["content", "style", "name"]


@pytest.mark.parametrize(
    ("ending", "places"), [(".csv", [2, 3, 5]), (".jsonl", [1, 2, 3]), (".parquet", [1, 2, 3])]
)
def test_a_place_is_the_line_that_an_editor_shows(
    ending: str, places: list[int], tmp_path: Path
) -> None:
    manifest = opened(write(tmp_path / f"p{ending}", ROWS))
    assert [row.place for row in manifest.rows()] == places
    assert manifest.at(7) == ("p.parquet row 7" if ending == ".parquet" else f"p{ending}:7")


def test_of_parquet_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    rows = [{**row, "embedding": [0.5] * 8} for row in ROWS]
    manifest = opened(write(tmp_path / "p.parquet", rows))
    assert [dict(row.cells) for row in manifest.rows(["content"]) if isinstance(row, Row)] == [
        {"content": row["content"]} for row in ROWS
    ]


BAD_LINES = {
    "content,style\na.jpg\nb.jpg,s.jpg\n": [(2, "has 1 cell where the header has 2")],
    "content,style\na,b,c\nb.jpg,s.jpg\n": [(2, "has 3 cells where the header has 2")],
    'content,style\n"a"x,b\nb.jpg,s.jpg\n': [(2, "',' expected after '\"'")],
}


@pytest.mark.parametrize("text", BAD_LINES)
def test_a_bad_row_is_told_and_the_rest_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    *bad, good = opened(tmp_path / "p.csv").rows()
    assert [(row.place, row.reason) for row in bad if isinstance(row, BadRow)] == BAD_LINES[text]
    assert isinstance(good, Row)
    assert good.cells == {"content": "b.jpg", "style": "s.jpg"}


def test_bytes_that_are_no_text_spoil_their_row_only(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"content,style\ncaf\xe9.jpg,s.jpg\nb.jpg,s.jpg\n")
    bad, good = opened(tmp_path / "p.csv").rows()
    assert bad == BadRow(2, "is not UTF-8; save the file as UTF-8")
    assert isinstance(good, Row)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not an object such as"),
        ("[" * 100_000, "is not JSON"),
        ('{"content": "a"} {', "is not JSON"),
        ('{"content": "a", "style": "s", "content": "b"}', "has content twice"),
        ('{"content": "a", "style": {"blend": {"s": 1, "s": 2}}}', "has s twice"),
    ],
)
def test_a_bad_line_of_json_is_told(line: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(f'{line}\n\n{{"content": "b"}}\n')
    bad, good = opened(tmp_path / "p.jsonl").rows()
    assert isinstance(bad, BadRow)
    assert bad.reason.startswith(reason)
    assert good == Row(3, {"content": "b"})


def test_empty_rows_and_a_byte_order_mark_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbfcontent,style\r\n\r\n,\r\na,b\r\n")
    manifest = opened(tmp_path / "p.csv")
    assert manifest.columns() == ["content", "style"]
    assert list(manifest.rows()) == [Row(4, {"content": "a", "style": "b"})]


def damaged_parquet(path: Path) -> None:
    write(path, ROWS * 1000)
    data = bytearray(path.read_bytes())
    data[100:400] = b"\xff" * 300
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("p.parquet", lambda p: p.write_bytes(b"")),
        ("p.parquet", lambda p: p.write_bytes(b"PAR1" + b"\0" * 100)),
        ("p.parquet", damaged_parquet),
        ("p.csv.gz", lambda p: p.write_text("content,style\n")),
        ("p.csv.gz", lambda p: p.write_bytes(gzip.compress(b"content,style\na,b\n" * 999)[:-20])),
        ("p.jsonl", lambda p: p.write_bytes(b"x" * (LINE_LIMIT + 1))),
        ("p.csv", lambda p: p.write_bytes(b"x" * (LINE_LIMIT + 1))),
        ("p.csv", lambda p: p.write_text("content,style,content\n")),
        ("p.csv", lambda p: p.mkdir()),
    ],
)
def test_a_file_that_is_no_manifest_is_told_in_one_line(
    name: str, spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    spoil(tmp_path / name)
    manifest = opened(tmp_path / name)
    with pytest.raises(InputError, match=rf"^{name} cannot be read as ") as caught:
        assert [manifest.columns(), *manifest.rows()]
    assert len(str(caught.value).splitlines()) == 1


def test_the_kind_is_the_ending() -> None:
    assert kind_of("a/B.CSV.gz") == ".csv"
    assert is_manifest("x.parquet")
    assert not is_manifest("x.parquet.gz")
    with pytest.raises(InputError, match=r"not a manifest that stylefarm reads: \.csv"):
        kind_of("pairs.xlsx")


ANY_FILE = st.binary(max_size=400) | st.text(max_size=200).map(
    lambda text: ("content,style\n" + text).encode("utf-8", "surrogatepass")
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ANY_FILE, st.sampled_from(ENDINGS), st.booleans())
@example(b'content,style\n"', ".csv", False)
@example(b"a\0b,c\n\0,\n", ".csv", False)
@example(b'{"content": 1e999, "style": NaN}', ".jsonl", False)
def test_any_bytes_are_rows_or_an_error_of_ours(
    tmp_path: Path, data: bytes, ending: str, packed: bool
) -> None:
    path = tmp_path / f"p{ending}"
    path.write_bytes(gzip.compress(data) if packed and ending.endswith(".gz") else data)
    manifest = opened(path)
    try:
        manifest.columns()
        rows = list(manifest.rows())
    except InputError:
        return
    assert all(isinstance(row, Row | BadRow) for row in rows)
    assert all(row.place >= 1 for row in rows)


def test_a_long_manifest_is_read_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    row = {"content": "photos/some picture with a long name.jpg", "style": "wave.jpg"}
    write(tmp_path / "p.csv.gz", [row] * 200_000)
    tracemalloc.start()
    assert sum(1 for _ in opened(tmp_path / "p.csv.gz").rows()) == 200_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20
