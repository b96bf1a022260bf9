"""What a frame holds to is read from the output, by its record, and told when it is not there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.messages import Assignment
from cluster.open_job import open_agenda
from cluster.worker.films.needs import ReplacedError, fetch_needs
from cluster.worker.worker import Worker
from jobs.errors import InputError
from jobs.records.commit import Records
from jobs.records.record import OutputRecord
from jobs.storage.folder import FolderStorage
from jobs.tasks.films.part import FilmPart
from tests.jobs.support import a_record
from tests.support.farm import StandIn, attempt, setup_of, write_film_job

PART = FilmPart("film", 1, 1002, ((2, f"{2:016x}"), (0, f"{0:016x}")), 0, ("a", "b", "c"), (0, 2))


@pytest.fixture
def output(tmp_path: Path) -> FolderStorage:
    storage = FolderStorage(tmp_path / "out")
    records = Records(storage)
    for number in (0, 2):
        data = f"picture {number}".encode()
        storage.put(f"images/{number}.png", data)
        digest = hashlib.sha256(data).hexdigest()
        made = OutputRecord(
            key=f"images/{number}.png", sha256=digest, size=len(data), width=1, height=1
        )
        records.commit(a_record(number, output=made))
    return storage


def test_pictures_come_in_the_order_of_the_needs(output: FolderStorage) -> None:
    found = fetch_needs(output, PART)

    assert [(one.index, one.task_id, one.key, one.data) for one in found] == [
        (2, f"{2:016x}", "images/2.png", b"picture 2"),
        (0, f"{0:016x}", "images/0.png", b"picture 0"),
    ]
    assert [one.sha256 for one in found] == [hashlib.sha256(one.data).hexdigest() for one in found]
    assert fetch_needs(output, None) == []
    assert fetch_needs(output, replace(PART, needs=())) == []


def test_what_is_not_there_is_told(output: FolderStorage) -> None:
    other = replace(PART, needs=((7, f"{7:016x}"),))
    with pytest.raises(InputError, match=f"task {7:016x}, which this frame holds to, is not done"):
        fetch_needs(output, other)
    Records(output).commit(a_record(7, status="failed", error="x"))
    with pytest.raises(InputError, match="is not done"):
        fetch_needs(output, other)
    output.put("images/0.png", b"another")
    with pytest.raises(ReplacedError, match=r"images/0.png, .* is not as it was recorded"):
        fetch_needs(output, PART)
    output.delete("images/0.png")
    with pytest.raises(InputError, match=r"images/0.png, .* is gone; run again with --verify"):
        fetch_needs(output, PART)


def test_a_worker_hands_them_to_the_renderer_and_records_them(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(3)])
    root, last, middle = open_agenda(job).tasks()
    worker = Worker(setup_of(job), "worker")
    records = Records(FolderStorage(tmp_path / "out"))

    for task in (root, last):
        record = attempt(worker, task).record
        assert record is not None
        records.commit(record)
    outcome = attempt(worker, middle)

    assert outcome.record is not None
    assert outcome.record.film is not None
    done = {record.id: record.output for record in records.all()}
    assert [(need.index, need.id) for need in outcome.record.film.needs] == [
        (0, root.id),
        (2, last.id),
    ]
    for need in outcome.record.film.needs:
        picture = done[need.id]
        assert picture is not None
        assert need.sha256 == picture.sha256
    failure = attempt(worker, replace(middle, part=replace(PART, needs=((9, "9" * 16),)))).failure
    assert failure is not None
    assert failure.kind == "picture"


def test_frames_that_hold_to_others_are_painted_apart_from_those_that_do_not(
    tmp_path: Path,
) -> None:
    job = write_film_job(tmp_path, [{"n": k, "shape": 1} for k in range(3)])
    root, last, middle = open_agenda(job).tasks()
    worker = Worker(setup_of(job), "worker")
    records = Records(FolderStorage(tmp_path / "out"))
    for task in (root, last):
        record = attempt(worker, task).record
        assert record is not None
        records.commit(record)
    (renderer,) = worker._renderers
    assert isinstance(renderer, StandIn)
    renderer.batches.clear()

    outcomes = worker.run(
        [Assignment(task, f"1-{k}") for k, task in enumerate((root, middle, last))]
    )

    assert all(outcome.record is not None for outcome in outcomes)
    assert sorted(renderer.batches) == [1, 2]
