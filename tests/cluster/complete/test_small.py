"""An output of an earlier version gets small pictures and cards, once, and nothing else of it changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster.complete.small import complete_small
from jobs.errors import LeaseHeldError, StorageError
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from jobs.storage.lease import Lease
from stylize.pictures.codec import decode
from tests.support.farm import picture, stylefarm, write_job

HARBOUR = Path(__file__).resolve().parents[2] / "fixtures" / "before_the_move" / "harbour"


def older(folder: Path, **changes: Any) -> FolderStorage:
    """An output that was rendered before there were small pictures."""
    image = {"thumbnails": False, **changes.pop("image", {})}
    job = write_job(folder, photos=2, styles=1, image=image, **changes)
    ran = stylefarm("run", job, "--pool=inline", "--quiet")
    assert ran.returncode == 0, ran.stderr
    storage = FolderStorage(folder / "out")
    known = json.loads(storage.get(keys.JOB))
    del known["job"]["image"]["thumbnails"]
    storage.put(keys.JOB, json.dumps(known).encode())
    return storage


def records_in(storage: FolderStorage) -> dict[str, TaskRecord]:
    return {record.id: record for record in Records(storage).all()}


def without_names(record: TaskRecord) -> TaskRecord:
    assert record.output is not None
    output = record.output.model_copy(update={"thumbnail": None})
    return record.model_copy(update={"output": output, "card": None})


def card_in(storage: FolderStorage, record: TaskRecord) -> dict[str, Any]:
    assert record.card is not None
    text = storage.get(record.card).decode()
    card = json.loads(text.removeprefix("stylefarm.card(").removesuffix(");\n"))
    assert isinstance(card, dict)
    return card


@pytest.mark.parametrize("image_format", ["png", "tiff", "jxl"])
def test_an_older_output_is_completed_once(tmp_path: Path, image_format: str) -> None:
    storage = older(tmp_path, image={"format": image_format}, losses={"every": 1})
    before = records_in(storage)
    seen: list[tuple[int, int]] = []

    assert complete_small(storage, lambda *progress: seen.append(progress)) == 2

    assert seen == [(0, 2), (1, 2), (2, 2)]
    after = records_in(storage)
    assert {i: without_names(record) for i, record in after.items()} == before
    for record in after.values():
        assert record.output is not None
        assert record.output.thumbnail == keys.thumb(record.id)
        small = decode(storage.get(record.output.thumbnail)).rgb
        large = decode(storage.get(record.output.key)).rgb
        assert (small - large).abs().mean() < 0.05
        card = card_in(storage, record)
        assert len(card["rows"]) == 6
        assert card["losses"] == record.losses
        digests = {source.uri: source.sha256 for source in record.inputs}
        assert card["content_copy"] == keys.input_copy(digests[record.content])
        assert storage.stat(card["styles"][0]["copy"]) is not None
    assert storage.stat(keys.LEASE) is None
    rows = [row for table, _ in Records(storage).tables() for row in table.to_pylist()]
    assert [(row["thumbnail"], row["card"]) for row in rows] == [(True, True)] * 2

    times = {found.key: found.modified for found in storage.list()}
    assert complete_small(storage, lambda *_: pytest.fail("it is complete")) == 0
    assert {found.key: found.modified for found in storage.list()} == times


def test_report_completes_what_an_earlier_version_rendered(tmp_path: Path) -> None:
    shutil.copytree(HARBOUR / "out", tmp_path / "out")
    storage = FolderStorage(tmp_path / "out")
    storage.delete(keys.LEASE)
    pictures = {found.key: storage.get(found.key) for found in storage.list(keys.IMAGES)}

    ran = stylefarm("report", tmp_path / "out")

    assert "making small ones of 2 pictures of an earlier version" in ran.stderr
    for record in records_in(storage).values():
        if record.status == "failed":
            assert record.card is None
            continue
        assert record.output is not None
        assert storage.stat(record.output.thumbnail or "") is not None
        card = card_in(storage, record)
        assert card["columns"][:3] == ["scale", "step", "total"]
        assert card["rows"]
        assert card["content_copy"] is None  # the job's folder is not on this machine
    assert {found.key: storage.get(found.key) for found in storage.list(keys.IMAGES)} == pictures
    assert "small ones" not in stylefarm("report", tmp_path / "out").stderr


def test_an_input_that_has_changed_is_not_shown_as_what_was_painted(tmp_path: Path) -> None:
    storage = older(tmp_path)
    picture(77).save(tmp_path / "photos" / "p0.png")
    (tmp_path / "photos" / "p1.png").unlink()
    assert complete_small(storage) == 2
    for record in records_in(storage).values():
        card = card_in(storage, record)
        assert card["content_copy"] is None
        assert card["styles"][0]["copy"] is not None


def test_a_picture_that_is_missing_or_damaged_stays_as_it_is(tmp_path: Path) -> None:
    storage = older(tmp_path)
    first, second = (found.key for found in list(storage.list(keys.IMAGES)))
    storage.delete(first)
    size = len(storage.get(second))
    storage.put(second, b"x" * size)
    before = records_in(storage)
    assert complete_small(storage) == 0
    assert records_in(storage) == before


def test_a_run_is_not_disturbed(tmp_path: Path) -> None:
    storage = older(tmp_path)
    before = records_in(storage)
    lease = Lease(storage).acquire()
    try:
        with pytest.raises(LeaseHeldError):
            complete_small(storage)
        ran = stylefarm("report", tmp_path / "out")
        assert ran.returncode == 0
        assert "older pictures get no small ones now" in ran.stderr
        lease.guard()
    finally:
        lease.release()
    assert records_in(storage) == before


def test_who_wants_no_small_pictures_gets_none(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=1, styles=1, image={"thumbnails": False})
    assert stylefarm("run", job, "--pool=inline", "--quiet").returncode == 0
    assert complete_small(FolderStorage(tmp_path / "out")) == 0
    assert not list(FolderStorage(tmp_path / "out").list(keys.THUMBS))


def test_what_is_done_when_it_is_interrupted_stays_done(tmp_path: Path) -> None:
    storage = older(tmp_path)

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete_small(storage, interrupt)
    assert storage.stat(keys.LEASE) is None
    left = [record for record in records_in(storage).values() if record.card is None]
    assert len(left) < 2
    assert complete_small(storage) == len(left)


def test_an_output_that_cannot_be_written_is_reported_all_the_same(tmp_path: Path) -> None:
    older(tmp_path)

    class ReadOnly(FolderStorage):
        def put(self, key: str, data: bytes, *, content_type: str = "") -> str:
            raise StorageError("it is read-only")

        def put_new(self, key: str, data: bytes, *, content_type: str = "") -> bool:
            raise StorageError("it is read-only")

    with pytest.raises(StorageError, match="read-only"):
        complete_small(ReadOnly(tmp_path / "out"))
