"""Pictures that were changed in their place: the tasks that were rendered from them are found, no others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.records.commit import Records
from jobs.records.record import InputRecord, TaskRecord, style_records
from jobs.storage.open import open_storage
from jobs.tasks.changed_inputs import Change, find_changes
from jobs.tasks.task import Task
from jobs.tasks.todo import Agenda
from tests.jobs.support import read
from tests.support.rigs import Rig

JOB = """
output: out
pairs:
  - {content: [a.jpg, b.jpg], style: [s.jpg, {picture: t.jpg, mask: m.png}]}
"""
NAMES = ("a.jpg", "b.jpg", "s.jpg", "t.jpg", "m.png")


class Shop:
    """A job whose tasks were all rendered."""

    def __init__(self, base: Path, text: str = JOB) -> None:
        self.base = base
        for name in NAMES:
            (base / name).write_bytes(f"picture {name}".encode())
        self.job = read(text, base)
        self.agenda = Agenda(self.job, lambda _: "digest")
        self.inputs = Inputs(base, self.job.spec.storage)
        self.records = Records(open_storage("out", base=base))
        self.tasks = list(self.agenda.tasks())
        for task in self.tasks:
            self.records.commit(self.record(task))

    def record(self, task: Task, **fields: object) -> TaskRecord:
        uris = [
            task.content,
            *(p.uri for p in task.styles),
            *(p.mask for p in task.styles if p.mask),
        ]
        seen = []
        for uri in dict.fromkeys(uris):
            data = self.inputs.read(uri)
            seen.append(
                InputRecord(
                    uri=display(uri),
                    sha256=data.sha256,
                    size=len(data.data),
                    etag=data.etag,
                    modified=data.modified,
                )
            )
        return TaskRecord.model_validate(
            {
                "id": task.id,
                "name": task.name,
                "status": "done",
                "content": task.content,
                "styles": style_records(task.styles),
                "inputs": seen,
                "recipe": {},
                "weights_digest": "digest",
                "finished": 2e9,
                **fields,
            }
        )

    def changes(self) -> list[Change]:
        return list(find_changes(self.records, self.records.ledger(), self.agenda))

    def changed(self) -> list[str]:
        return sorted(change.name for change in self.changes() if change.what == "changed")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_nothing_has_changed(shop: Shop) -> None:
    assert len(shop.tasks) == 4
    assert shop.changes() == []


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("a.jpg", ["a--s", "a--t"]),
        ("s.jpg", ["a--s", "b--s"]),
        ("m.png", ["a--t", "b--t"]),  # a mask is a picture, too
    ],
)
def test_tasks_of_a_picture_that_changed_are_found(shop: Shop, name: str, tasks: list[str]) -> None:
    (shop.base / name).write_bytes(b"another picture altogether")

    assert shop.changed() == tasks


def test_bytes_count_not_times(shop: Shop) -> None:
    os.utime(shop.base / "a.jpg", (1, 1))
    assert shop.changes() == []

    same_size = b"PICTURE a.jpg"
    assert len(same_size) == (shop.base / "a.jpg").stat().st_size
    (shop.base / "a.jpg").write_bytes(same_size)
    os.utime(shop.base / "a.jpg", (2, 2))
    assert shop.changed() == ["a--s", "a--t"]


def test_what_is_gone_is_told_once_and_changes_nothing(shop: Shop) -> None:
    (shop.base / "s.jpg").unlink()

    (change,) = shop.changes()

    assert (change.what, change.uri) == ("gone", "s.jpg")


def test_tasks_of_other_jobs_are_left_alone(shop: Shop, tmp_path: Path) -> None:
    (shop.base / "a.jpg").write_bytes(b"new")
    other = read("output: out\npairs: [{content: b.jpg, style: s.jpg}]\n", tmp_path)
    shop.agenda = Agenda(other, lambda _: "digest")

    assert shop.changes() == []


def test_a_picture_is_looked_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    stat = Inputs.stat

    def counted(self: Inputs, uri: str) -> object:
        looks.append(uri)
        return stat(self, uri)

    monkeypatch.setattr(Inputs, "stat", counted)
    shop.changes()

    assert sorted(looks) == sorted(NAMES)


def test_a_failure_is_tried_again_when_its_picture_is_younger(shop: Shop) -> None:
    task = shop.tasks[0]
    moment = (shop.base / "a.jpg").stat().st_mtime
    for finished, found in ((moment - 60, [task.name]), (moment + 60, [])):
        failed = shop.record(task, status="failed", error="no picture", inputs=[])
        shop.records.commit(failed.model_copy(update={"finished": finished}))
        assert shop.changed() == found


def test_objects_are_told_apart_by_their_etag(s3_rig: Rig, tmp_path: Path) -> None:
    pictures = s3_rig.open("pictures")
    for name in ("a.jpg", "s.jpg"):
        pictures.put(name, f"picture {name}".encode())
    text = f"""
output: out
storage: {s3_rig.options.model_dump_json(exclude_none=True)}
pairs: [{{content: {pictures.url.rstrip("/")}/a.jpg, style: {pictures.url.rstrip("/")}/s.jpg}}]
"""
    shop = Shop(tmp_path, text)
    assert shop.changes() == []

    time.sleep(1.1)  # a server that keeps no ETag has only times, in whole seconds
    pictures.put("a.jpg", b"PICTURE a.jpg")  # of the same size
    assert shop.changed() == ["a--s"]
    pictures.put("a.jpg", b"picture a.jpg")  # as it was
    assert shop.changed() == []
    pictures.delete("a.jpg")
    assert [change.what for change in shop.changes()] == ["gone"]
