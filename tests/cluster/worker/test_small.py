"""What a worker writes for the gallery, and that nothing depends on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cluster.messages import Assignment, Outcome
from cluster.open_job import open_agenda
from cluster.run.options import PAINTER
from cluster.worker.small import Small
from cluster.worker.uploads import Previews
from cluster.worker.worker import Worker
from jobs.errors import StorageError
from jobs.jobfile.job import Job
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from stylize.pictures.codec import decode
from stylize.pictures.resize import resize
from tests.support.farm import (
    STAND_IN,
    attempt,
    picture,
    setup_of,
    stylefarm,
    wait_for,
    write_job,
    write_stand_in_job,
)

SHOWN = (keys.THUMBS, keys.INPUTS, keys.CARDS)


class Watched(FolderStorage):
    """Notes what is put, and refuses some of it."""

    def __init__(self, folder: Path, refused: str = "-") -> None:
        super().__init__(folder)
        self.refused = refused
        self.put_keys: list[str] = []

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        self.put_keys.append(key)
        if key.startswith(self.refused):
            raise StorageError("503")
        return super().put(key, data, content_type=content_type)


def worker_of(job: Job, refused: str = "-", renderer: str = PAINTER) -> tuple[Worker, Watched]:
    worker = Worker(setup_of(job, renderer, threads=1), "w0")
    storage = Watched(job.base / "out", refused)
    worker._small = Small(storage, job.spec.image)
    return worker, storage


def all_of(worker: Worker, job: Job) -> list[Outcome]:
    tasks = open_agenda(job).tasks()
    return worker.run([Assignment(task, f"{k}-a") for k, task in enumerate(tasks)])


def card(storage: FolderStorage, key: str | None) -> dict[str, Any]:
    assert key is not None
    text = storage.get(key).decode("ascii")
    value = json.loads(text.removeprefix("stylefarm.card(").removesuffix(");\n"))
    assert isinstance(value, dict)
    return value


def record_of(outcome: Outcome) -> TaskRecord:
    assert outcome.record is not None, outcome.failure
    return outcome.record


def masked_job(folder: Path, **changes: Any) -> Job:
    """Two photos in a blend of two styles, one of which has a mask, from a first picture."""
    blend = {"styles/s0.png": {"mask": "mask.png"}, "styles/s1.png": 2}
    pair = {"content": "photos/", "style": {"blend": blend}, "init": "draft.png"}
    file = write_job(folder, pairs=[pair], recipe={"init": "image", "steps": 9}, **changes)
    picture(7).save(folder / "draft.png")
    Image.linear_gradient("L").resize((48, 40)).save(folder / "mask.png")
    return load_job(file)


def test_what_is_shown_agrees_with_record_and_loss_log(tmp_path: Path) -> None:
    job = masked_job(tmp_path, losses={"every": 1})
    worker, storage = worker_of(job)
    for outcome in all_of(worker, job):
        record = record_of(outcome)
        assert record.output is not None
        assert record.output.thumbnail == keys.thumb(record.id)
        large = decode(storage.get(record.output.key)).rgb
        small = decode(storage.get(record.output.thumbnail)).rgb
        assert small.shape == large.shape  # it is small itself
        assert (small - large).abs().mean() < 0.05

        shown = card(storage, record.card)
        said = json.loads(record.model_dump_json())
        for name in ("id", "name", "status", "recipe", "weights_digest", "steps", "precision"):
            assert shown[name] == said[name], name
        for name in ("content", "init", "losses", "seconds", "finished", "concessions"):
            assert shown[name] == said[name], name
        assert (shown["worker"], shown["device"], shown["node"]) == ("w0", "cpu", worker.node)
        assert record.losses_key is not None
        header, *lines = storage.get(record.losses_key).decode().splitlines()
        assert shown["columns"] == header.split(",")
        assert shown["rows"] == [[float(cell) for cell in line.split(",")] for line in lines]
        assert len(lines) == 10

        digests = {source.uri: source.sha256 for source in record.inputs}
        copies = {
            record.content: shown["content_copy"],
            "draft.png": shown["init_copy"],
            **{part["uri"]: part["copy"] for part in shown["styles"]},
        }
        assert len(copies) == 4
        for uri, key in copies.items():
            assert key == keys.input_copy(digests[uri])
            copied = decode(storage.get(key)).rgb
            assert (copied - decode((tmp_path / uri).read_bytes()).rgb).abs().mean() < 0.05
        (masked,) = [part for part in shown["styles"] if part["mask"]]
        assert masked["mask_copy"] == keys.input_copy(digests["mask.png"], mask=True)
        mask = decode(storage.get(masked["mask_copy"])).rgb[0, 0]
        assert (mask.mean(1) - torch.linspace(0, 1, 40)).abs().max() < 0.1


def test_an_input_that_many_have_in_common_is_copied_once(tmp_path: Path) -> None:
    job = masked_job(tmp_path)
    worker, storage = worker_of(job)
    all_of(worker, job)
    all_of(worker, job)
    copied = [key for key in storage.put_keys if key.startswith(keys.INPUTS)]
    assert len(copied) == len(set(copied)) == 6
    other, again = worker_of(job)
    all_of(other, job)
    assert not [key for key in again.put_keys if key.startswith(keys.INPUTS)]


def test_a_large_picture_is_shown_small(tmp_path: Path) -> None:
    job = load_job(write_job(tmp_path, photos=1, styles=1, recipe={"size": 400, "steps": 1}))
    picture(3, 1500, 900).save(tmp_path / "photos/p0.png")
    worker, storage = worker_of(job)
    (outcome,) = all_of(worker, job)
    record = record_of(outcome)
    assert record.output is not None
    small = decode(storage.get(keys.thumb(record.id))).rgb
    large = decode(storage.get(record.output.key)).rgb
    assert small.shape[2:] == (230, 384)
    assert (small - resize(large, 230, 384)).abs().mean() < 0.05
    content = card(storage, record.card)["content_copy"]
    assert decode(storage.get(content)).rgb.shape[2:] == (614, 1024)


@pytest.mark.parametrize("refused", SHOWN)
def test_a_storage_that_refuses_it_fails_no_task(
    tmp_path: Path, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = masked_job(tmp_path)
    worker, storage = worker_of(job, refused)
    for outcome in all_of(worker, job):
        record = record_of(outcome)
        assert record.output is not None
        assert storage.stat(record.output.key) is not None
        named = {keys.THUMBS: record.output.thumbnail, keys.CARDS: record.card}
        assert named.get(refused) is None
        if refused == keys.INPUTS:
            assert card(storage, record.card)["content_copy"] is None
            assert record.output.thumbnail is not None
    assert "the gallery lacks a part of it: 503" in caplog.text


def test_a_renderer_that_cannot_make_it_fails_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = write_stand_in_job(tmp_path, [{"seconds": 0}])
    worker, storage = worker_of(job, renderer=STAND_IN)
    monkeypatch.setattr(worker._renderers[0], "thumbnail", lambda *_: 1 / 0)
    (outcome,) = all_of(worker, job)
    record = record_of(outcome)
    assert record.output is not None
    assert record.output.thumbnail is None
    assert card(storage, record.card)["content_copy"] is None


def test_nobody_who_wants_none_gets_any(tmp_path: Path) -> None:
    job = masked_job(tmp_path, image={"thumbnails": False})
    worker, storage = worker_of(job)
    for outcome in all_of(worker, job):
        record = record_of(outcome)
        assert record.output is not None
        assert (record.output.thumbnail, record.card) == (None, None)
    assert not [found.key for found in storage.list() if found.key.startswith(SHOWN)]


def test_the_last_good_picture_of_a_failure_is_shown_too(tmp_path: Path) -> None:
    job = write_stand_in_job(tmp_path, [{"fail": "diverged", "good": [{"all": "well"}]}])
    worker, storage = worker_of(job, renderer=STAND_IN)
    (outcome,) = all_of(worker, job)
    assert outcome.failure is not None
    assert outcome.failure.kept is not None
    assert storage.get(outcome.failure.kept.thumbnail or "") == b"small"
    shown = card(storage, outcome.failure.card)
    assert (shown["status"], shown["output"]["key"]) == ("failed", outcome.failure.kept.key)


def test_a_task_in_a_process_of_its_own_is_shown_as_well(tmp_path: Path) -> None:
    job = load_job(write_job(tmp_path, photos=1, styles=1))
    (task,) = open_agenda(job).tasks()
    record = record_of(attempt(Worker(setup_of(job, PAINTER), "w0"), task, isolated=True))
    assert record.output is not None
    storage = FolderStorage(tmp_path / "out")
    assert decode(storage.get(record.output.thumbnail or "")).rgb.shape[2:] == (27, 32)
    assert card(storage, record.card)["id"] == task.id


# -- previews ----------------------------------------------------------------------------------------


def test_previews_appear_while_a_picture_is_painted_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Previews.take

    def stored(previews: Previews, picture: Any) -> None:
        take(previews, picture)
        previews.close()  # before the next step, however slow the disk is

    monkeypatch.setattr(Previews, "take", stored)
    job = load_job(write_job(tmp_path, photos=2, styles=1, recipe={"size": 64, "steps": 40}))
    plain = {r.id: r for r in map(record_of, all_of(worker_of(job)[0], job))}
    setup = setup_of(job, PAINTER, threads=1)
    image = setup.image.model_copy(update={"previews": 0.0})
    worker = Worker(replace(setup, image=image), "w0")
    worker._storage = storage = Watched(tmp_path / "out")

    outcomes = all_of(worker, job)

    for outcome in outcomes:
        record = record_of(outcome)
        assert record.output is not None
        assert record.output == plain[record.id].output
        key = keys.preview(record.id)
        assert storage.put_keys.count(key) > 1
        assert storage.put_keys.index(key) < storage.put_keys.index(record.output.key)
        assert decode(storage.get(key)).rgb.shape[2:] == (53, 64)
        assert outcome.preview
        committed = Records(storage)
        committed.commit(record, preview=outcome.preview)
        committed.close()
    assert not list(storage.list(keys.PREVIEWS))


def test_one_preview_is_stored_at_a_time_and_the_painter_waits_for_none(tmp_path: Path) -> None:
    going, go_on = threading.Event(), threading.Event()

    class Slow(FolderStorage):
        def put(self, key: str, data: bytes, *, content_type: str = "") -> str:
            going.set()
            assert go_on.wait(60)
            return super().put(key, data, content_type=content_type)

    previews = Previews(Slow(tmp_path), "0" * 16, 0.0, lambda picture: picture)
    assert previews.due
    previews.take(b"first")
    assert going.wait(60)
    assert not previews.due
    previews.take(b"second")  # returns at once, and is dropped
    go_on.set()
    previews.close()
    assert FolderStorage(tmp_path).get(keys.preview("0" * 16)) == b"first"
    wait_for(lambda: previews.due)
    previews.take(b"third")
    previews.close()
    assert FolderStorage(tmp_path).get(keys.preview("0" * 16)) == b"third"


def test_a_preview_that_cannot_be_made_or_stored_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for refused, make in ((keys.PREVIEWS, bytes), ("-", lambda _: 1 / 0)):
        storage = Watched(tmp_path, refused)
        previews = Previews(storage, "0" * 16, 0.0, make)  # type: ignore[arg-type]
        previews.take(b"first")
        previews.close()
    assert caplog.text.count("not written") == 2


def test_previews_come_no_more_often_than_asked(tmp_path: Path) -> None:
    previews = Previews(FolderStorage(tmp_path), "0" * 16, 3600.0, bytes)
    assert not previews.due


# -- a run -------------------------------------------------------------------------------------------


def left_in(folder: Path) -> Iterator[str]:
    for found in FolderStorage(folder).list():
        yield found.key.partition("/")[0]


def test_a_run_leaves_what_its_records_name(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=2, styles=1, image={"previews": "every 5 s"})
    storage = FolderStorage(tmp_path / "out")
    storage.put(keys.preview("0" * 16), b"of a run that was killed")
    ran = stylefarm("run", job, "--pool=inline", "--quiet")
    assert ran.returncode == 0, ran.stderr
    records = list(Records(storage).all())
    assert len(records) == 2
    for record in records:
        assert record.output is not None
        assert storage.stat(record.output.thumbnail or "") is not None
        assert card(storage, record.card)["status"] == "done"
    found = list(left_in(tmp_path / "out"))
    assert (found.count("thumbs"), found.count("cards"), found.count("inputs")) == (2, 2, 3)
    assert "previews" not in found
    rows = [row for table, _ in Records(storage).tables() for row in table.to_pylist()]
    assert [(row["thumbnail"], row["card"]) for row in rows] == [(True, True)] * 2
