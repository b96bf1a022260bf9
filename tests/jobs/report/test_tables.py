"""All tasks and all loss rows as tables, as other programs read them."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from jobs.errors import StorageError
from jobs.records.commit import Records
from jobs.records.loss_log import LossLog, LossRow
from jobs.report.tables import TableFormat, write_tables
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from tests.jobs.support import a_record
from tests.support.farm import stylefarm

LAYERS = ("relu1_1", "relu2_1")


def logged(storage: FolderStorage, number: int, rows: int, layers: tuple[str, ...] = LAYERS) -> Any:
    """Store a task's loss log; return its record."""
    log = LossLog(layers, every=1)
    log.add(
        [
            LossRow(
                32,
                k + 1,
                10.0 / (k + 1),
                1.5,
                2.5,
                tuple(0.5 + i for i in range(len(layers))),
                0.25,
                k / 8,
            )
            for k in range(rows)
        ]
    )
    record = a_record(number)
    storage.put(keys.losses(record.id), log.to_bytes())
    return a_record(
        number,
        losses=log.final_losses(),
        losses_key=keys.losses(record.id),
        recipe={"seed": number, "style_layers": dict.fromkeys(layers, 1.0)},
        steps=rows,
        seconds={"fetch": 0.5, "render": 2.0},
        output={
            "key": f"images/ä, {number}.png",
            "sha256": "0",
            "size": 9,
            "width": 3,
            "height": 2,
        },
        finished=1_800_000_000.125,
    )


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
    else:
        as_text = pyarrow.csv.ConvertOptions(column_types={"id": "string"})
        table = pyarrow.csv.read_csv(path, convert_options=as_text)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_every_task_and_every_row_is_there(tmp_path: Path, format_: TableFormat) -> None:
    storage = FolderStorage(tmp_path / "out")
    records = Records(storage)
    first = logged(storage, 1, 3)
    other = logged(storage, 2, 2, ("relu3_1",))
    failed = a_record(
        3, status="failed", error='no "such"\npicture, sadly', attempts=[], recipe={"seed": 3}
    )
    blend = a_record(4, styles=[("a.png", 0.5), ("b.png", 0.5, "m.png")])
    for record in (first, other, failed, blend):
        records.commit(record)
    records.close()

    of_tasks, of_losses = write_tables(storage, tmp_path / "new" / "tables", format_)

    assert (of_tasks.path.name, of_tasks.rows) == (f"tasks.{format_}", 4)
    assert (of_losses.path.name, of_losses.rows) == (f"losses.{format_}", 5)
    assert sorted(p.name for p in of_tasks.path.parent.iterdir()) == [
        of_losses.path.name,
        of_tasks.path.name,
    ]
    tasks = {row["id"]: row for row in read(of_tasks.path)}
    assert list(tasks) == sorted(record.id for record in (first, other, failed, blend))
    one = tasks[first.id]
    assert (one["picture"], one["width"], one["steps"], one["seed"]) == ("images/ä, 1.png", 3, 3, 1)
    assert one["total_loss"] == pytest.approx(10 / 3)
    assert (one["render_seconds"], one["fetch_seconds"]) == (2.0, 0.5)
    assert one["finished"] == datetime(2027, 1, 15, 8, 0, 0, 125000, tzinfo=timezone.utc)
    assert json.loads(one["recipe"]) == first.recipe
    assert tasks[failed.id]["error"] == failed.error
    assert not tasks[failed.id]["picture"]
    assert json.loads(tasks[blend.id]["style"]) == [["a.png", 0.5], ["b.png", 0.5, "m.png"]]

    losses = read(of_losses.path)
    kept = list(csv.DictReader(storage.get(keys.losses(first.id)).decode().splitlines()))
    found = [row for row in losses if row["id"] == first.id]
    assert len(found) == len(kept)
    for row, written in zip(found, kept, strict=True):
        assert {name: row[name] for name in written} == {
            name: pytest.approx(float(text)) for name, text in written.items()
        }
        assert row["style_relu3_1"] is None
    assert [row["style_relu3_1"] for row in losses if row["id"] == other.id] == [0.5, 0.5]


def test_logs_that_are_missing_or_damaged_are_named_and_cost_only_themselves(
    tmp_path: Path,
) -> None:
    storage = FolderStorage(tmp_path / "out")
    records = Records(storage)
    whole, gone, cut, other, empty, text, short = (logged(storage, k, 2) for k in range(7))
    bad = (gone, cut, other, empty, text, short)
    for record in (whole, *bad):
        records.commit(record)
    storage.delete(keys.losses(gone.id))
    storage.put(keys.losses(cut.id), storage.get(keys.losses(cut.id))[:-9])
    storage.put(keys.losses(other.id), b"\xff\xfe no log")
    storage.put(keys.losses(empty.id), b"")
    storage.put(keys.losses(text.id), b"garbage")
    all_but_the_last = storage.get(keys.losses(short.id)).splitlines(keepends=True)[:-1]
    storage.put(keys.losses(short.id), b"".join(all_but_the_last))

    unread: list[str] = []
    _, of_losses = write_tables(storage, tmp_path, "parquet", unread.append)

    assert sorted(unread) == sorted(keys.losses(record.id) for record in bad)
    assert {row["id"] for row in read(of_losses.path)} == {whole.id}


def test_an_output_without_records_makes_empty_tables(tmp_path: Path) -> None:
    for table in write_tables(FolderStorage(tmp_path / "out"), tmp_path, "parquet"):
        assert (table.rows, read(table.path)) == (0, [])


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "losses.csv").mkdir()
    (tmp_path / "tasks.csv").write_text("of before")
    for folder, reason in (
        (tmp_path / "file" / "below", "the tables cannot be written to"),
        (tmp_path / "file", "it is not a folder"),
        (tmp_path, "losses.csv is a folder"),
    ):
        with pytest.raises(StorageError, match=reason):
            write_tables(FolderStorage(tmp_path / "out"), folder, "csv")
    # Of two tables of different moments one would be wrong.
    assert (tmp_path / "tasks.csv").read_text() == "of before"
    assert not list(tmp_path.glob(".*.part"))


def test_the_command_says_where_the_tables_are(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "out")
    records = Records(storage)
    records.commit(logged(storage, 1, 3))
    records.close()
    words = ("report", tmp_path / "out", "--no-gallery")

    told = stylefarm(*words, "--format", "csv", "--to", tmp_path / "tables", "--json")
    document = json.loads(told.stdout)
    assert document["tasks"] == {"path": str(tmp_path / "tables" / "tasks.csv"), "rows": 1}
    assert document["losses"]["rows"] == 3
    assert "losses.csv (3 rows)" in stylefarm(*words, "--format", "csv", "--to", tmp_path).stdout
    refused = stylefarm(*words, "--to", tmp_path)
    assert (refused.returncode, refused.stderr) == (2, "--to needs --format\n")
