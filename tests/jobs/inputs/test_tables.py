"""Pictures in columns of Parquet files, as datasets of Hugging Face have them: here and on S3, by range."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.errors import InputError, InputNotFoundError, StorageError
from jobs.inputs.archives.source import Source, Stored
from jobs.inputs.archives.table import PictureTable
from jobs.inputs.reader import Inputs
from jobs.manifests.manifest import Manifest
from jobs.manifests.row import Row
from tests.support.farm import records_of, stylefarm, write_job
from tests.support.rigs import Rig

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The type of datasets.Image in the library ``datasets``."""


def cell(k: int, size: int = 1000) -> bytes:
    return b"%06d" % k + bytes([k % 251]) * size


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def images(*cells: bytes | None, path: str | None = None) -> Any:
    return pa.array([{"bytes": data, "path": path} for data in cells], IMAGE)


class Counting(Source):
    """A file that counts the bytes that are read from it."""

    def __init__(self, data: bytes) -> None:
        self.stored = Stored(len(data), None, None)
        self._data = data
        self.read_bytes = 0

    def read(self, start: int, size: int) -> bytes:
        self.read_bytes += len(self._data[start : start + size])
        return self._data[start : start + size]


# -- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [IMAGE, pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_each_row_is_a_picture(tmp_path: Path, kind: Any, compression: str) -> None:
    cells = [cell(k) for k in range(40)]
    values = [{"bytes": data} for data in cells] if kind == IMAGE else cells
    columns = {"label": pa.array(range(40)), "image": pa.array(values, kind)}
    write(tmp_path / "a.parquet", columns, row_group_size=15, compression=compression)
    inputs = Inputs(tmp_path)

    expected = [f"a.parquet::image/{row}" for row in range(1, 41)]
    assert inputs.expand("a.parquet") == inputs.expand("a.parquet::image/*") == expected
    for row in (1, 15, 16, 30, 31, 40, 2, 39, 16):
        found = inputs.read(f"a.parquet::image/{row}")
        assert found.data == cells[row - 1]
        inputs.check(f"a.parquet::image/{row}")
    there = inputs.stat("a.parquet::image/7")
    assert there is not None
    assert (there.size, there.modified) == (None, (tmp_path / "a.parquet").stat().st_mtime)


def test_a_glob_names_several_tables_and_one_column_of_each(tmp_path: Path) -> None:
    for k in range(2):
        columns = {"input": images(b"a", b"b"), "edited": images(b"c", b"d")}
        write(tmp_path / f"train-{k:05}.parquet", columns)
    inputs = Inputs(tmp_path)
    assert inputs.expand("train-*.parquet::edited/*") == [
        *("train-00000.parquet::edited/1", "train-00000.parquet::edited/2"),
        *("train-00001.parquet::edited/1", "train-00001.parquet::edited/2"),
    ]
    assert len(inputs.expand("train-*.parquet")) == 8
    assert pickle.loads(pickle.dumps(inputs)).read("train-00001.parquet::edited/2").data == b"d"


def test_rows_read_in_order_cost_each_byte_once_and_one_alone_not_the_whole() -> None:
    file = io.BytesIO()
    cells = [cell(k, 20_000) for k in range(400)]
    table = pa.table({"image": images(*cells), "other": pa.array([b"x" * 10_000] * 400)})
    # Or all rows of a group are one page, which is read as a whole.
    small = {"write_batch_size": 4, "data_page_size": 100_000}
    pq.write_table(table, file, row_group_size=200, compression="none", **small)
    source = Counting(file.getvalue())
    pictures = PictureTable("a.parquet", source)
    opened = source.read_bytes
    assert opened < 150_000

    assert pictures.read("image/205") == cells[204]
    assert source.read_bytes - opened < 2.5e6  # of 12 million, and 4 of its row group
    source.read_bytes = 0
    for first in range(0, 400, 4):  # four threads of a worker, which overtake each other
        for k in (first + 2, first, first + 3, first + 1):
            assert pictures.read(f"image/{k + 1}") == cells[k]
    assert source.read_bytes < 1.3 * 400 * 20_000


def test_pictures_in_a_table_on_s3_are_read_by_range(s3_rig: Rig, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": images(*(cell(k) for k in range(10)))})
    s3_rig.open().put("sets/a.parquet", path.read_bytes())
    inputs = Inputs(tmp_path, s3_rig.options)
    uri = f"{s3_rig.url}/sets/a.parquet"
    assert inputs.expand(f"{s3_rig.url}/sets/*.parquet")[:2] == [
        f"{uri}::image/1",
        f"{uri}::image/2",
    ]
    assert inputs.read(f"{uri}::image/10").data == cell(9)
    alone = inputs.stat(uri)
    there = inputs.stat(f"{uri}::image/10")
    assert alone is not None
    assert there is not None
    assert (there.etag, there.modified) == (alone.etag, alone.modified)


def test_what_is_kept_to_read_on_is_given_back(tmp_path: Path) -> None:
    """A row group of pictures takes tens of megabytes, and a dataset has hundreds of files."""
    for k in range(12):
        big = images(*(cell(k, 1_000_000) for _ in range(20)))
        write(tmp_path / f"{k}.parquet", {"image": big}, compression="none")
    inputs = Inputs(tmp_path)
    before = psutil.Process().memory_info().rss
    for k in range(12):
        assert len(inputs.read(f"{k}.parquet::image/1").data) == 1_000_006
    assert psutil.Process().memory_info().rss - before < 8 * 20e6
    assert inputs.read("0.parquet::image/2").data == cell(0, 1_000_000)


# -- what is wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("image/0", r"There is no row 0 in a\.parquet, which has 3"),
        ("image/4", r"There is no row 4 in a\.parquet, which has 3"),
        ("image/x", r"There is no row 0 in a\.parquet, which has 3"),
        ("photo/1", r"no column of pictures photo in a\.parquet: write a\.parquet::image/\*"),
        ("label/1", r"no column of pictures label"),
        (
            "image",
            r"a\.parquet::image/\* means all its pictures, and a\.parquet::image/1 the first",
        ),
        ("image/2", r"Row 2 of a\.parquet has no picture in column image"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, name: str, reason: str) -> None:
    columns = {"image": images(b"a", None, b"c"), "label": pa.array([1, 2, 3])}
    write(tmp_path / "a.parquet", columns)
    with pytest.raises(InputNotFoundError, match=reason):
        Inputs(tmp_path).read(f"a.parquet::{name}")


def test_a_picture_of_no_bytes_or_too_many_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": images(b"", b"123456")})
    with pytest.raises(InputError, match="empty"):
        Inputs(tmp_path).read("a.parquet::image/1")
    with pytest.raises(InputError, match="limit"):
        Inputs(tmp_path, max_bytes=5).read("a.parquet::image/2")


def test_a_table_without_pictures_is_refused_with_what_may_be_meant(tmp_path: Path) -> None:
    write(
        tmp_path / "pairs.parquet", {"content": pa.array(["a.jpg"]), "style": pa.array(["b.jpg"])}
    )
    with pytest.raises(InputError, match=r"no column of pictures.* write manifest: pairs\.parquet"):
        Inputs(tmp_path).expand("pairs.parquet")


@pytest.mark.parametrize("kept", [3, 100, 0.5, 0.99])
def test_a_damaged_table_is_refused_in_one_sentence(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "a.parquet", {"image": images(*(cell(k) for k in range(10)))})
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"^a\.parquet is damaged, or no Parquet file"):
        Inputs(tmp_path).read("a.parquet::image/1")


def test_damaged_bytes_of_a_column_cost_what_lies_in_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet", {"image": images(*(cell(k) for k in range(30)))}, row_group_size=10
    )
    data = bytearray(path.read_bytes())
    data[20:60] = bytes(40)  # the header of the first page
    path.write_bytes(data)
    inputs = Inputs(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=r"^a\.parquet is damaged"):
            inputs.read("a.parquet::image/1")
        assert inputs.read("a.parquet::image/25").data == cell(24)


def test_a_store_that_does_not_answer_is_not_the_tables_fault() -> None:
    file = io.BytesIO()
    pictures = images(*(cell(k, 50_000) for k in range(9)))
    pq.write_table(pa.table({"image": pictures}), file, compression="none")
    source = Counting(file.getvalue())
    table = PictureTable("a.parquet", source)

    def broken(start: int, size: int) -> bytes:
        raise StorageError("no answer")

    source.read = broken  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="no answer"):
        table.read("image/1")


# -- rows of manifests -------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, Any]]:
    found = list(Manifest("pairs.parquet", path).rows())
    assert all(isinstance(row, Row) for row in found)
    assert [row.place for row in found] == list(range(1, len(found) + 1))
    return [dict(row.cells) for row in found]  # type: ignore[union-attr]


def test_a_column_of_pictures_in_a_manifest_gives_their_addresses(tmp_path: Path) -> None:
    columns = {
        "content": images(b"a", b"b", b"c"),
        "style": pa.array(["x.jpg", "y.jpg", "z.jpg"]),
    }
    path = write(tmp_path / "pairs.parquet", columns, row_group_size=2)
    assert rows(path) == [
        {"content": f"pairs.parquet::content/{k + 1}", "style": f"{style}.jpg"}
        for k, style in enumerate("xyz")
    ]


def test_a_picture_that_is_not_in_the_table_is_at_its_path(tmp_path: Path) -> None:
    """As the library leaves those that it did not embed; in one row group all, in the other some."""
    content = [{"bytes": None, "path": "a.jpg"}] * 2 + [{"bytes": b"c", "path": "c.jpg"}, None]
    columns = {"content": pa.array(content, IMAGE), "style": pa.array(["s.jpg"] * 4)}
    path = write(tmp_path / "pairs.parquet", columns, row_group_size=2)
    assert [row.get("content") for row in rows(path)] == [
        *("a.jpg", "a.jpg", "pairs.parquet::content/3", None)
    ]


def test_bytes_in_a_column_that_names_no_picture_are_no_picture(tmp_path: Path) -> None:
    """As the text of a name is, where a program does not mark it as text."""
    columns = {"content": images(b"a"), "name": pa.array([b"harbour"], pa.binary())}
    path = write(tmp_path / "pairs.parquet", columns)
    assert rows(path) == [{"content": "pairs.parquet::content/1", "name": b"harbour"}]


def test_bytes_are_not_read_to_know_addresses(tmp_path: Path) -> None:
    """Nor decoded: in this file they are damaged."""
    pictures = pa.array([cell(k) for k in range(100)], pa.binary())
    columns = {"content": pictures, "style": pa.array(["s.jpg"] * 100)}
    path = write(tmp_path / "pairs.parquet", columns, compression="none")
    data = bytearray(path.read_bytes())
    data[20:60] = bytes(40)
    path.write_bytes(data)
    assert len(rows(path)) == 100


def test_a_dataset_is_painted_from_end_to_end(tmp_path: Path) -> None:
    """A table of photos as a pattern, and one of pairs as a manifest whose styles are in it, too."""
    pairs = [
        {"content": "photos.parquet::image/*", "style": "styles/"},
        {"manifest": "pairs.parquet"},
    ]
    job = write_job(tmp_path, photos=2, styles=1, pairs=pairs)
    photos = [path.read_bytes() for path in sorted((tmp_path / "photos").iterdir())]
    style = (tmp_path / "styles" / "s0.png").read_bytes()
    write(tmp_path / "photos.parquet", {"image": images(*photos)})
    write(tmp_path / "pairs.parquet", {"content": images(*photos), "style": images(style, style)})

    planned = json.loads(stylefarm("plan", job, "--json").stdout)
    ran = stylefarm("run", job, "--pool", "inline")

    assert planned["tasks"] == 4
    assert ran.returncode == 0, ran.stderr
    by_content = {record.content: record for record in records_of(job).values()}
    assert set(by_content) == {
        *("photos.parquet::image/1", "photos.parquet::image/2"),
        *("pairs.parquet::content/1", "pairs.parquet::content/2"),
    }
    for k in (1, 2):
        twice = [
            by_content[f"{name}/{k}"]
            for name in ("photos.parquet::image", "pairs.parquet::content")
        ]
        first, second = (Image.open(tmp_path / "out" / record.output.key) for record in twice)
        assert first.tobytes() == second.tobytes()
    again = stylefarm("run", job, "--pool", "inline", "--if-changed")
    assert "already done" in again.stdout + again.stderr
