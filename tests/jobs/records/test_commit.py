"""What was committed is read back, on every storage; what is damaged counts as not done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.records.commit import Records, write_json
from jobs.records.record import AttemptRecord, InputRecord, OutputRecord, TaskRecord
from jobs.storage import keys
from jobs.storage.base import ObjectStat
from jobs.storage.folder import FolderStorage
from tests.jobs.support import a_record, tasks_of, touch
from tests.support.rigs import Rig

FULL = a_record(
    0xFF,
    name="海 & Bär",
    content="photos/海.jpg",
    styles=[("b.jpg", 0.25), ("c.jpg", 0.75)],
    init="d.png",
    inputs=[
        InputRecord(uri="photos/海.jpg", sha256="0" * 64, size=7, etag='"e"', modified=1.25),
        InputRecord(uri="b.jpg", sha256="1" * 64, size=8, share=0.25),
    ],
    output=OutputRecord(key="images/x.png", sha256="2" * 64, size=9, width=64, height=48),
    losses={"total": 1 / 3, "tv": 1e-300},
    losses_key="losses/00/x.csv",
    recipe={"size": 64, "start_size": None, "style_layers": {"conv1_1": 1.0}},
    steps=210,
    concessions=["painted in strips"],
    seconds={"fetch": 0.1, "render": 12.0},
    versions={"torch": "2.9"},
    attempts=[
        AttemptRecord(
            id="1", worker="w", node="n", device="cpu", started=1.0, seconds=2.0, error="killed"
        ),
        AttemptRecord(id="2", worker="w", node="n", device="cpu", started=4.0, seconds=2.0),
    ],
)


def test_what_was_committed_is_read_back(rig: Rig) -> None:
    records = Records(rig.open())
    records.commit(FULL)
    for reader in (records, Records(rig.open())):
        assert reader.read(FULL.id) == FULL
        assert list(reader.all()) == [FULL]


def test_a_record_lies_where_it_is_documented(rig: Rig) -> None:
    storage = rig.open()
    Records(storage).commit(FULL)
    (found,) = storage.list()
    assert found.key == "tasks/00/00000000000000ff.json"
    assert json.loads(storage.get(found.key))["name"] == "海 & Bär"


def test_a_record_says_which_mask_and_those_of_before_are_read(rig: Rig) -> None:
    storage = rig.open()
    styles = [("b.jpg", 0.5), ("c.jpg", 1.0, "masks/a.png")]
    inputs = [InputRecord(uri="c.jpg", sha256="1" * 64, size=8, mask="masks/a.png")]
    record = a_record(1, styles=styles, inputs=inputs)
    Records(storage).commit(record)
    plain = json.loads(storage.get(keys.record(record.id)))
    assert plain["styles"] == [["b.jpg", 0.5], ["c.jpg", 1.0, "masks/a.png"]]
    assert Records(storage).read(record.id) == record

    del plain["inputs"][0]["mask"]
    plain["styles"] = [["b.jpg", 1.0]]
    storage.put(keys.record(record.id), json.dumps(plain).encode())
    read = Records(storage).read(record.id)
    assert read is not None
    assert (read.styles, read.inputs[0].mask) == ([("b.jpg", 1.0)], None)


GOOD = OutputRecord(key="kept/a.png", sha256="2" * 64, size=1, width=1, height=1)
BETTER = GOOD.model_copy(update={"key": "kept/b.png"})


@pytest.mark.parametrize(
    ("status", "kept", "names", "left"),
    [
        pytest.param("done", None, None, ["kept/b.png"], id="done"),
        pytest.param("failed", None, GOOD, ["kept/a.png", "kept/b.png"], id="failed otherwise"),
        pytest.param("failed", GOOD, GOOD, ["kept/a.png", "kept/b.png"], id="written anew"),
        pytest.param("failed", BETTER, BETTER, ["kept/b.png"], id="in another format"),
    ],
)
def test_a_kept_picture_is_there_while_its_record_names_it(
    rig: Rig, status: str, kept: OutputRecord | None, names: OutputRecord | None, left: list[str]
) -> None:
    storage = rig.open()
    for picture in (GOOD, BETTER):
        storage.put(picture.key, b"picture")
    Records(storage).commit(a_record(1, status=status, kept=kept), GOOD)
    (record,) = Records(storage).all()
    assert record.kept == names
    assert [found.key for found in storage.list(keys.KEPT)] == left


def test_what_is_forgotten_keeps_no_picture(rig: Rig) -> None:
    storage = rig.open()
    records = Records(storage)
    for number, picture in enumerate((GOOD, BETTER)):
        storage.put(picture.key, b"picture")
        records.commit(a_record(number, status="failed", kept=picture))
    records.forget([a_record(0).id], {a_record(0).id: GOOD, a_record(1).id: BETTER})
    assert list(records.ids()) == [a_record(1).id]
    assert [found.key for found in storage.list(keys.KEPT)] == ["kept/b.png"]


SMALL = GOOD.model_copy(update={"thumbnail": keys.thumb(a_record(1).id)})


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        pytest.param({"status": "done", "output": BETTER}, [], id="done without"),
        pytest.param(
            {
                "status": "done",
                "output": BETTER.model_copy(update={"thumbnail": SMALL.thumbnail}),
                "card": "cards/x",
            },
            ["card", "thumb"],
            id="done with its own",
        ),
        pytest.param({"status": "failed"}, ["card", "thumb"], id="failed without another"),
        pytest.param({"status": "failed", "kept": GOOD}, [], id="failed with another, not small"),
        pytest.param(None, [], id="forgotten"),
    ],
)
def test_what_shows_a_kept_picture_goes_with_it(
    rig: Rig, fields: dict[str, object] | None, left: list[str]
) -> None:
    storage = rig.open()
    records = Records(storage)
    places = {"card": keys.card(a_record(1).id), "thumb": keys.thumb(a_record(1).id)}
    for key in (*places.values(), SMALL.key):
        storage.put(key, b"picture")
    records.commit(a_record(1, status="failed", kept=SMALL, card=places["card"]))
    if fields is None:
        records.forget([a_record(1).id], {a_record(1).id: SMALL})
    else:
        records.commit(a_record(1, **fields), SMALL)
        record = records.read(a_record(1).id)
        assert record is not None
        assert ("card" in left) == (record.card is not None)
    assert [name for name, key in places.items() if storage.stat(key) is not None] == left


def test_a_preview_goes_some_time_after_the_commit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = rig.open()
    first, second, third = (keys.preview(a_record(number).id) for number in (1, 2, 3))
    for key in (first, second, third):
        storage.put(key, b"picture")
    records = Records(storage)
    records.commit(a_record(1), preview=True)
    assert len(list(storage.list(keys.PREVIEWS))) == 3  # a page may just be asking for it
    monkeypatch.setattr("jobs.records.commit.PREVIEW_SECONDS", -1.0)
    records.commit(a_record(2), preview=False)
    assert [found.key for found in storage.list(keys.PREVIEWS)] == [second, third]
    monkeypatch.undo()
    records.commit(a_record(2), preview=True)
    records.close()
    assert [found.key for found in storage.list(keys.PREVIEWS)] == [third]
    Records(storage).sweep_previews()
    assert list(storage.list(keys.PREVIEWS)) == []


@pytest.mark.parametrize(("records", "requests"), [(3, 1), (5, 1 + 256)])
def test_only_many_records_of_a_slow_storage_are_listed_side_by_side(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, records: int, requests: int
) -> None:
    monkeypatch.setattr("jobs.records.commit.FEW_RECORDS", 4)
    monkeypatch.setattr("jobs.records.commit.SLOW_LISTING", 0.0)
    storage = rig.open()
    there = Records(storage)
    tasks = [a_record(number) for number in range(records)]
    for task in tasks:
        there.commit(task)
    asked: list[str] = []
    listed = storage.list

    def count(prefix: str = "", **how: bool) -> Iterator[ObjectStat]:
        asked.append(prefix)
        return listed(prefix, **how)

    monkeypatch.setattr(storage, "list", count)

    assert sorted(there.ids()) == sorted(task.id for task in tasks)
    assert len(asked) == requests


def test_the_last_commit_counts(rig: Rig) -> None:
    records = Records(rig.open())
    records.commit(a_record(1, status="failed", error="no such picture"))
    records.commit(a_record(1))
    assert records.read(a_record(1).id) == a_record(1)
    assert records.statuses() == {a_record(1).id: "done"}


def test_an_output_without_records(rig: Rig) -> None:
    records = Records(rig.open())
    assert records.read("0" * 16) is None
    assert (list(records.ids()), records.statuses()) == ([], {})


def test_statuses_are_those_of_all_tasks(rig: Rig) -> None:
    records = Records(rig.open())
    made = [
        a_record(k << 56, status="failed" if k % 3 == 0 else "done", error=None) for k in range(20)
    ]
    for record in made:
        records.commit(record)
    assert records.statuses() == {record.id: record.status for record in made}
    assert sorted(records.ids()) == sorted(record.id for record in made)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(FULL.model_dump_json().encode()[:200], id="cut"),
        pytest.param(b"\xff\x00\xfe", id="binary"),
        pytest.param(b"[]", id="no mapping"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(FULL.model_dump_json().replace('"version":1', '"version":2').encode(), id="2"),
        pytest.param(FULL.model_dump_json().replace('"done"', '"maybe"').encode(), id="status"),
    ],
)
def test_a_damaged_record_is_none(data: bytes, tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    records = Records(storage)
    records.commit(a_record(1))
    storage.put(keys.record(FULL.id), data)
    assert records.read(FULL.id) is None
    assert records.statuses() == {a_record(1).id: "done"}
    records.commit(FULL)
    assert records.read(FULL.id) == FULL


def test_a_damaged_record_is_none_everywhere(rig: Rig) -> None:
    storage = rig.open()
    storage.put(keys.record(FULL.id), b"half of a")
    assert Records(storage).statuses() == {}


def test_damaged_records_are_named_once_by_whoever_asks(rig: Rig) -> None:
    storage = rig.open()
    records = Records(storage)
    for number in range(3):
        records.commit(a_record(number))
    records.close()  # what was packed is read anew where a record has changed since
    for number in (1, 2, 3):
        storage.put(keys.record(f"{number:016x}"), b"")
    unreadable: list[str] = []
    assert [entry.id for entry in Records(storage).entries(unreadable.append)] == [f"{0:016x}"]
    assert sorted(unreadable) == [keys.record(f"{number:016x}") for number in (1, 2, 3)]


def test_foreign_objects_are_no_records(rig: Rig) -> None:
    storage = rig.open()
    records = Records(storage)
    records.commit(FULL)
    for key in (
        "job.json",
        "images/a.png",
        "tasks.json",
        "tasks/readme.txt",
        "tasks/00/00000000000000ff.json.bak",
        "tasks/00/00000000000000FF.json",
        "tasks/00/ff.json",
        "tasks/00/old/00000000000000ff.json",
        "tasks/zz/00000000000000ff.json",
        "tasks/00000000000000ff.json",
    ):
        storage.put(key, b"{}")
    assert list(records.ids()) == [FULL.id]


def test_losses_that_are_no_numbers_are_kept(tmp_path: Path) -> None:
    """Or a task that ended so would be rendered again in every run."""
    records = Records(FolderStorage(tmp_path))
    records.commit(a_record(1, losses={"total": float("inf"), "tv": float("nan")}))
    found = records.read(a_record(1).id)
    assert found is not None
    assert found.losses["total"] == float("inf")


def test_a_picture_whose_name_is_not_utf_8_has_a_record(tmp_path: Path) -> None:
    """Linux allows any bytes; Python shows those that are no text as lone surrogates."""
    touch(tmp_path, "photos/caf\udce9.jpg")
    (task,) = tasks_of("output: o\npairs: [{content: photos/, style: b.jpg}]", tmp_path)
    records = Records(FolderStorage(tmp_path / "out"))
    record: TaskRecord = a_record(1, id=task.id, content=task.content, name=task.name)
    records.commit(record)
    assert records.read(task.id) == record


def test_json_for_people(rig: Rig) -> None:
    storage = rig.open()
    write_json(storage, keys.JOB, {"name": "Bär", "digests": [1, None]})
    assert json.loads(storage.get("job.json")) == {"name": "Bär", "digests": [1, None]}
    assert "Bär".encode() in storage.get("job.json")
