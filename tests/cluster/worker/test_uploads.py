"""A task's render is gone on with by whichever worker gets it next, to the same picture and log."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import stylize.api
from cluster.messages import Assignment, Outcome, WorkerSetup
from cluster.open_job import open_agenda
from cluster.run.options import PAINTER
from cluster.worker.uploads import Checkpoints, LossStream
from cluster.worker.worker import Worker
from jobs.jobfile.job import Job
from jobs.jobfile.load import load_job
from jobs.records import loss_log
from jobs.records.commit import Records
from jobs.records.statuses import Ledger
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from jobs.tasks.task import Task
from tests.support.event_files import scalars
from tests.support.farm import attempt, picture, setup_of, wait_for, write_job, write_stand_in_job
from tests.support.rigs import Rig

RECIPE = {"size": 64, "start_size": 32, "steps": 6, "refine_steps": 8, "segment": 3}
ADAM = {"optimizer": "adam", "learning_rate": 2.0, "carry_moments": True, "average": 0.9}


def worker(job: Job, every: float = 0.0) -> Worker:
    return Worker(
        WorkerSetup(
            output=str(job.base / job.spec.output),
            storage=job.spec.storage,
            base=str(job.base),
            inputs=job.spec.inputs,
            image=job.spec.image,
            losses_every=job.spec.losses.every,
            renderer=PAINTER,
            threads=1,
            checkpoint_seconds=every,
        ),
        "w0",
    )


def one_task(folder: Path, every: int = 1, **recipe: Any) -> tuple[Job, Task, Storage]:
    file = write_job(
        folder, photos=1, styles=1, recipe={**RECIPE, **recipe}, losses={"every": every}
    )
    job = load_job(file)
    (task,) = open_agenda(job).tasks()
    return job, task, open_storage(job.spec.output, base=job.base)


def stop_at(mine: Worker, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the render off once checkpoint number ``cut`` is written."""
    offer = Checkpoints.offer
    seen = []

    def offered(self: Checkpoints, make: Any) -> None:
        offer(self, make)
        self.close()
        seen.append(1)
        if len(seen) == cut:
            mine.stop()

    monkeypatch.setattr(Checkpoints, "offer", offered)


def output(outcome: Outcome, storage: Storage) -> tuple[bytes, list[loss_log.LossRow]]:
    assert outcome.record is not None, outcome.failure
    assert outcome.record.output is not None
    rows = loss_log.parse(storage.get(keys.losses(outcome.record.id)))
    return storage.get(outcome.record.output.key), [row._replace(seconds=0) for row in rows]


def resumed_from(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What each render goes on from: the steps that were made, or None."""
    begun: list[int | None] = []
    stylize_ = stylize.api.stylize

    def noting(*args: Any, **kwargs: Any) -> Any:
        resume = kwargs["resume"]
        begun.append(None if resume is None else resume.steps)
        return stylize_(*args, **kwargs)

    monkeypatch.setattr(stylize.api, "stylize", noting)
    return begun


@pytest.mark.parametrize("recipe", [{}, ADAM], ids=["lbfgs", "adam"])
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize(("cut", "steps"), [(1, 3), (2, 6), (3, 8)])
def test_another_worker_ends_with_the_same_picture_and_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: dict[str, Any],
    every: int,
    cut: int,
    steps: int,
) -> None:
    job, task, storage = one_task(tmp_path / "a", every, **recipe)
    whole = output(worker(job, every=1e9).run([Assignment(task, "1-aa")])[0], storage)
    job, task, storage = one_task(tmp_path / "b", every, **recipe)
    with monkeypatch.context() as patch:
        first = worker(job)
        stop_at(first, cut, patch)
        outcome = first.run([Assignment(task, "1-aa")])[0]
    assert outcome.failure is not None
    assert outcome.failure.kind == "stopped"
    assert storage.stat(keys.checkpoint(task.id)) is not None
    begun = resumed_from(monkeypatch)

    again = worker(job, every=1e9).run([Assignment(task, "2-bb")])[0]

    assert begun == [steps]
    assert again.checkpoint
    assert output(again, storage) == whole


def test_a_checkpoint_of_pictures_that_were_changed_is_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, task, storage = one_task(tmp_path)
    with monkeypatch.context() as patch:
        first = worker(job)
        stop_at(first, 2, patch)
        first.run([Assignment(task, "1-aa")])
    picture(77).save(tmp_path / "photos" / "p0.png")
    begun = resumed_from(monkeypatch)

    again = output(worker(job, every=1e9).run([Assignment(task, "2-bb")])[0], storage)

    assert begun == [6, None]
    storage.delete(keys.checkpoint(task.id))
    assert output(worker(job, every=1e9).run([Assignment(task, "3-cc")])[0], storage) == again


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b"\xff" * 1000])
def test_a_damaged_checkpoint_is_no_use_and_no_harm(tmp_path: Path, data: bytes) -> None:
    job, task, storage = one_task(tmp_path)
    whole = output(worker(job, every=1e9).run([Assignment(task, "1-aa")])[0], storage)
    storage.put(keys.checkpoint(task.id), data)
    assert output(worker(job, every=1e9).run([Assignment(task, "2-bb")])[0], storage) == whole


def test_a_changed_recipe_has_a_checkpoint_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, task, storage = one_task(tmp_path)
    with monkeypatch.context() as patch:
        first = worker(job)
        stop_at(first, 1, patch)
        first.run([Assignment(task, "1-aa")])
    job, other, storage = one_task(tmp_path, steps=7)
    begun = resumed_from(monkeypatch)

    assert worker(job, every=1e9).run([Assignment(other, "1-aa")])[0].record is not None
    assert begun == [None]
    assert storage.stat(keys.checkpoint(task.id)) is not None


class SlowFolder(FolderStorage):
    """A folder whose first write of a loss log waits for ``go``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun, self.go = threading.Event(), threading.Event()

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        if key.startswith(keys.LOSSES) and not self.begun.is_set():
            self.begun.set()
            self.go.wait(600)
        return super().put(key, data, content_type=content_type)


def test_an_attempt_is_handed_back_after_the_last_write_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.worker.uploads.LOSS_LOG_SECONDS", 0.05)
    job = write_stand_in_job(tmp_path, [{"until": "never"}])
    (task,) = open_agenda(job).tasks()
    mine = Worker(setup_of(job), "w0")
    storage = mine._storage = SlowFolder(tmp_path / "out")
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(attempt(mine, task)), daemon=True)
    thread.start()
    assert storage.begun.wait(180)

    mine.stop()
    wait_for(lambda: mine.report().busy_seconds > 0 and not mine._devices._held)
    thread.join(0.5)
    handed_back = bool(outcomes)
    storage.go.set()
    thread.join(180)

    assert not handed_back
    assert outcomes[0].failure is not None
    assert outcomes[0].failure.kind == "stopped"
    assert storage.stat(keys.losses(task.id)) is not None


def test_of_two_writes_of_a_log_the_later_one_stays(tmp_path: Path) -> None:
    storage = SlowFolder(tmp_path)
    log = loss_log.LossLog((), every=1)
    stream = LossStream(storage, "0" * 16, log)
    rows = [loss_log.LossRow(32, step, 1.0, 1.0, 0.0, (), 0.0, 0.0) for step in range(2)]
    stream.add(rows[:1])
    early = threading.Thread(target=stream.write, daemon=True)  # as a checkpoint's thread does
    early.start()
    assert storage.begun.wait(180)
    stream.add(rows[1:])
    last = threading.Thread(target=stream.finish, daemon=True)
    last.start()
    last.join(0.2)
    storage.go.set()
    early.join(180)
    last.join(180)

    assert loss_log.parse(storage.get(stream.key)) == rows


def test_checkpoints_are_not_written_too_often(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    made = []

    def make() -> bytes:
        made.append(1)
        return b"checkpoint"

    checkpoints = Checkpoints(storage, "0" * 16, every_seconds=3600)
    checkpoints.offer(make)
    checkpoints.close()
    assert (checkpoints.exists, list(storage.list())) == (False, [])


def test_a_checkpoint_that_cannot_be_written_stops_no_render(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    checkpoints = Checkpoints(FolderStorage(tmp_path), "0" * 16, every_seconds=0)
    checkpoints.offer(lambda: b"checkpoint")
    checkpoints.close()


def test_sweeping_leaves_checkpoints_of_what_is_still_to_do(rig: Rig) -> None:
    storage = rig.open()
    done, left = "0" * 15 + "1", "0" * 15 + "2"
    for task_id in (done, left):
        storage.put(keys.checkpoint(task_id), b"checkpoint")
    storage.put("checkpoints/readme.txt", b"not ours")
    records = Records(storage)
    records.sweep_checkpoints(Ledger.of({done: "done"}))
    assert [s.key for s in storage.list(keys.CHECKPOINTS)] == [
        keys.checkpoint(left),
        "checkpoints/readme.txt",
    ]
    records.sweep_checkpoints(Ledger.of({done: "done"}), every=True)
    assert [s.key for s in storage.list(keys.CHECKPOINTS)] == ["checkpoints/readme.txt"]


def test_a_log_is_also_an_event_file_where_that_is_asked_for(tmp_path: Path) -> None:
    job, task, storage = one_task(tmp_path)
    asked = replace(worker(job)._setup, tensorboard=True)
    (outcome,) = Worker(asked, "w0").run([Assignment(task, "1-a")])

    assert outcome.record is not None
    found = scalars(storage.get(keys.event_file(task.name, task.id)))
    rows = loss_log.parse(storage.get(keys.losses(task.id)))
    assert [(step, value) for step, value, _ in found["loss/total"]] == [
        (row.step, pytest.approx(row.total)) for row in rows
    ]
    layers = [tag.removeprefix("style/") for tag in found if tag.startswith("style/")]
    assert layers == list(task.recipe.style_layers)

    # A file where its folder should be: the picture is what counts.
    (tmp_path / "out" / keys.EVENT_FILES).rename(tmp_path / "out" / "aside")
    (tmp_path / "out" / keys.EVENT_FILES.rstrip("/")).write_text("")
    (outcome,) = Worker(asked, "w0").run([Assignment(task, "2-a")])
    assert outcome.record is not None
