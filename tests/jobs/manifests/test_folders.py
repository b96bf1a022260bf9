"""Manifests that are folders, as Spark, pandas, Polars, DuckDB and Arrow write partitioned tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from jobs.errors import JobFileError
from jobs.storage.folder import FolderStorage
from jobs.tasks.todo import Agenda
from tests.jobs.support import read
from tests.support.rigs import Rig

ROWS = [
    {"content": f"{k}.jpg", "style": style, "recipe.size": size}
    for k, (style, size) in enumerate(
        [("art/wave.jpg", 64), ("art/scream.jpg", 64), ("art/wave.jpg", 128), ("a b=c%.jpg", 64)]
    )
]


def agenda(base: Path, manifest: str, rest: str = "") -> Agenda:
    pairs = json.dumps([{"manifest": manifest}])
    text = f"output: out\nrecipe: {{steps: 5, start_size: ~}}\n{rest}\npairs: {pairs}\n"
    return Agenda(read(text, base), lambda recipe: "digest")


def rows_of(job: Agenda) -> list[dict[str, Any]]:
    found = [
        {"content": t.content, "style": t.styles[0].uri, "recipe.size": t.recipe.size}
        for t in job.tasks()
    ]
    return sorted(found, key=lambda row: row["content"])


def write_partitioned(folder: Path, by: list[str], kind: str = "parquet") -> None:
    ds.write_dataset(
        pa.Table.from_pylist(ROWS),
        folder,
        format=kind,
        partitioning=ds.partitioning(
            pa.schema([(name, pa.int64() if "size" in name else pa.string()) for name in by]),
            flavor="hive",
        ),
    )


def move_to(storage: Any, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            storage.put(path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.mark.parametrize("by", [["style"], ["recipe.size"], ["recipe.size", "style"]])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_columns_that_a_table_is_partitioned_by_are_read(
    tmp_path: Path, by: list[str], kind: str
) -> None:
    write_partitioned(tmp_path / "lists", by, kind)
    job = agenda(tmp_path, "lists")
    assert rows_of(job) == ROWS
    assert job.unread.count == 0
    assert rows_of(agenda(tmp_path, f"lists/**/*.{kind}")) == ROWS


def test_a_partitioned_table_on_s3_is_the_same(tmp_path: Path, s3: Rig) -> None:
    write_partitioned(tmp_path / "lists", ["recipe.size", "style"])
    move_to(s3.open("lists"), tmp_path / "lists")
    rest = f"storage: {s3.options.model_dump_json(exclude_none=True)}"
    job = agenda(tmp_path, f"{s3.url}/lists/", rest)
    try:
        assert rows_of(job) == ROWS
    finally:
        job.close()


def test_what_spark_writes_beside_the_files_is_none_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    write_partitioned(folder, ["style"])
    (folder / "_SUCCESS").touch()
    (folder / "_metadata").write_bytes(b"PAR1")
    (folder / "_temporary/0").mkdir(parents=True)
    (folder / "_temporary/0/part-9.parquet").write_bytes(b"half of a fi")
    for part in list(folder.rglob("part*.parquet")):
        part.with_name(f".{part.name}.crc").write_bytes(b"crc")
    job = agenda(tmp_path, "lists")
    assert rows_of(job) == ROWS
    assert job.unread.count == 0


def test_a_folder_for_no_value_is_an_empty_cell(tmp_path: Path) -> None:
    for name, content in (("recipe.size=__HIVE_DEFAULT_PARTITION__", "a"), ("recipe.size=64", "b")):
        (tmp_path / "lists" / name).mkdir(parents=True)
        (tmp_path / "lists" / name / "p.csv").write_text(f"content,style\n{content}.jpg,s.jpg\n")
    assert {row["content"]: row["recipe.size"] for row in rows_of(agenda(tmp_path, "lists"))} == {
        "a.jpg": 512,
        "b.jpg": 64,
    }


def test_no_value_counts_where_the_file_has_one(tmp_path: Path) -> None:
    name = "lists/recipe.size=__HIVE_DEFAULT_PARTITION__"
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "p.csv").write_text("content,style,recipe.size\na.jpg,s.jpg,64\n")
    assert [row["recipe.size"] for row in rows_of(agenda(tmp_path, "lists"))] == [512]


def test_files_of_no_bytes_have_no_rows_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "lists/style=s.jpg").mkdir(parents=True)
    (tmp_path / "lists/style=s.jpg/a.csv").write_text("content\na.jpg\n")
    for name in ("b.csv", "c.parquet", "d.jsonl"):
        (tmp_path / "lists/style=s.jpg" / name).touch()
    job = agenda(tmp_path, "lists")
    assert [row["content"] for row in rows_of(job)] == ["a.jpg"]
    assert job.unread.first == [
        f"lists/style=s.jpg/{name} (empty)" for name in ("b.csv", "c.parquet", "d.jsonl")
    ]
    (tmp_path / "alone.csv").touch()
    with pytest.raises(JobFileError, match=r"alone\.csv has no column content; it is empty"):
        agenda(tmp_path, "alone.csv")


def test_the_folder_counts_where_the_file_has_the_column_too(tmp_path: Path) -> None:
    (tmp_path / "lists/style=wave.jpg").mkdir(parents=True)
    (tmp_path / "lists/style=wave.jpg/p.csv").write_text("content,style\na.jpg,other.jpg\n")
    assert [row["style"] for row in rows_of(agenda(tmp_path, "lists"))] == ["wave.jpg"]


def test_columns_without_a_meaning_are_named(tmp_path: Path) -> None:
    (tmp_path / "lists/style_set=dutch").mkdir(parents=True)
    (tmp_path / "lists/style_set=dutch/p.csv").write_text("content,style\na.jpg,s.jpg\n")
    assert agenda(tmp_path, "lists").unused_columns == ("style_set",)


def test_a_column_without_a_name_is_told_as_that(tmp_path: Path) -> None:
    """As pandas writes its index."""
    (tmp_path / "p.csv").write_text(",content,style\n0,a.jpg,s.jpg\n")
    job = agenda(tmp_path, "p.csv")
    assert len(rows_of(job)) == 1
    assert job.unused_columns == ("column without a name",)


def test_files_in_other_sub_folders_are_named(tmp_path: Path) -> None:
    for name in ("", "old/", "_x/", "style=s.jpg/", "style=s.jpg/old/"):
        (tmp_path / "lists" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "lists" / name / "p.csv").write_text(f"content,style\n{name}a.jpg,s.jpg\n")
    job = agenda(tmp_path, "lists")
    assert [row["content"] for row in rows_of(job)] == ["a.jpg", "style=s.jpg/a.jpg"]
    assert sorted(job.unread.first) == [
        "lists/_x/p.csv (in a sub-folder)",
        "lists/old/p.csv (in a sub-folder)",
        "lists/style=s.jpg/old/p.csv (in a folder that stands for no value)",
    ]


def test_a_delta_table_is_refused(tmp_path: Path) -> None:
    write_partitioned(tmp_path / "lists", ["style"])
    FolderStorage(tmp_path / "lists").put("_delta_log/00000000000000000000.json", b"{}")
    with pytest.raises(JobFileError, match=r"lists is a Delta table, .*: export the table"):
        agenda(tmp_path, "lists")
