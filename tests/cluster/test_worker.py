"""One worker, in this process: what comes back from each kind of attempt."""

from __future__ import annotations

import hashlib
import json
import threading
import time

import pytest

from cluster.messages import WorkerSetup
from cluster.renderer import Painted
from cluster.run import PAINTER, open_agenda
from cluster.worker import Worker
from jobs import keys, losslog
from jobs.load import load_job
from jobs.storage import open_storage
from tests.farm import STAND_IN, wait_for, write_job, write_stand_in_job


def make_worker(job, renderer=STAND_IN):
    setup = WorkerSetup(
        output=job.spec.output,
        storage=job.spec.storage,
        base=str(job.base),
        inputs=job.spec.inputs,
        image=job.spec.image,
        losses_every=job.spec.losses.every,
        renderer=renderer,
    )
    return Worker(setup, "w0")


@pytest.fixture
def farm(tmp_path):
    """directives -> (worker, tasks, storage)"""

    def make(*directives):
        job = write_stand_in_job(tmp_path, directives)
        storage = open_storage(job.spec.output, base=job.base)
        return make_worker(job), list(open_agenda(job).tasks()), storage

    return make


def test_a_finished_attempt_has_stored_picture_and_log_but_no_record(farm):
    worker, (task,), storage = farm({"seconds": 0})

    outcome = worker.run(task, "1-aa")

    record = outcome.record
    stored = storage.get(record.output.key)
    assert record.status == "done"
    assert record.output.key == keys.image("c000--style", task.id, "png")
    assert record.output.sha256 == hashlib.sha256(stored).hexdigest()
    assert losslog.parse(storage.get(keys.losses(task.id)))[-1].total == 9.0
    assert record.losses["total"] == 9.0
    # The record is the commit, and committing is the driver's.
    assert storage.stat(keys.record(task.id)) is None


def test_the_record_says_what_went_in_and_who_did_it(farm, tmp_path):
    worker, (task,), _ = farm({"seconds": 0})

    record = worker.run(task, "1-aa").record

    data = (tmp_path / "c000.png").read_bytes()
    assert record.inputs[0].sha256 == hashlib.sha256(data).hexdigest()
    assert record.inputs[0].size == len(data)
    assert [i.uri for i in record.inputs] == ["c000.png", "style.png"]
    assert [a.id for a in record.attempts] == ["1-aa"]
    assert record.attempts[0].worker == "w0"
    assert set(record.seconds) == {"fetch", "wait", "render", "store"}
    assert record.recipe["size"] == 32


def test_masks_are_fetched_once_each_and_the_record_says_which(tmp_path):
    blend = {
        "other.png": {"share": 3, "mask": "masks/c000.png"},
        "style.png": {"mask": "masks/{content}.png"},
        "third.png": 2,
    }
    pairs = [{"content": "c000.png", "style": {"blend": blend}}]
    job = write_stand_in_job(tmp_path, [{"seconds": 0}], pairs=pairs)
    (tmp_path / "masks").mkdir()
    for name in ("other.png", "third.png", "masks/c000.png"):
        (tmp_path / name).write_text(json.dumps({"name": name}))
    (task,) = open_agenda(job).tasks()
    worker = make_worker(job)
    worker._renderer.paint = lambda task, content, styles, *_, **__: Painted(list(styles))

    record = worker.run(task, "1-aa").record

    mask = {"name": "masks/c000.png"}
    painted = json.loads((tmp_path / "out" / record.output.key).read_text())
    assert painted == [
        [{"name": "other.png"}, 3.0, mask],
        [{}, 1.0, mask],
        [{"name": "third.png"}, 2.0, None],
    ]
    assert record.styles == [
        ("other.png", 3.0, "masks/c000.png"),
        ("style.png", 1.0, "masks/c000.png"),
        ("third.png", 2.0),
    ]
    assert [(i.uri, i.share, i.mask) for i in record.inputs] == [
        ("c000.png", 1.0, None),
        ("other.png", 3.0, "masks/c000.png"),
        ("style.png", 1.0, "masks/c000.png"),
        ("third.png", 2.0, None),
        ("masks/c000.png", 1.0, None),
    ]


def test_the_record_says_what_was_done_for_lack_of_memory(farm):
    worker, tasks, _ = farm({"n": 0}, {"concessions": ["painted in strips"]})

    records = [worker.run(task, "1-aa").record for task in tasks]

    assert [record.concessions for record in records] == [[], ["painted in strips"]]


def test_what_the_painter_did_for_lack_of_memory_is_in_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr("stylize.backoff.available_bytes", lambda device: 1)
    job = load_job(write_job(tmp_path, photos=1, styles=1))
    (task,) = open_agenda(job).tasks()

    record = make_worker(job, PAINTER).run(task, "1-aa").record

    assert record.concessions == ["painted in strips"]


@pytest.mark.parametrize(
    ("directive", "kind", "sentence"),
    [
        ({"fail": "diverged"}, "picture", "the loss became nan"),
        ({"fail": "memory"}, "memory", "out of memory"),
        (
            {"fail": "limit"},
            "memory",
            "out of memory: 9 x 9 px take about 1.0 GB; use a smaller size",
        ),
        ({"fail": "bug"}, "bug", "unexpected KeyError: 'nobody foresaw this'"),
    ],
)
def test_a_failing_render_comes_back_as_its_kind(farm, directive, kind, sentence):
    worker, (task,), storage = farm(directive)

    outcome = worker.run(task, "1-aa")

    assert outcome.record is None
    assert (outcome.failure.kind, outcome.failure.message) == (kind, sentence)
    assert outcome.attempt.error == sentence
    assert not list(storage.list(keys.IMAGES))


def test_the_last_good_picture_of_a_failed_render_is_kept(farm):
    worker, (task,), storage = farm({"fail": "diverged", "good": [{"all": "well"}]})

    outcome = worker.run(task, "1-aa")

    kept = outcome.failure.kept
    assert outcome.failure.kind == "picture"
    assert kept.key == keys.kept("c000--style", task.id, "png") == f"kept/c000--style-{task.id}.png"
    assert json.loads(storage.get(kept.key)) == {"all": "well"}
    assert kept.sha256 == hashlib.sha256(storage.get(kept.key)).hexdigest()
    assert not list(storage.list(keys.IMAGES))


def test_a_picture_that_cannot_be_kept_changes_no_failure(farm, tmp_path):
    worker, (task,), _ = farm({"fail": "diverged", "good": [{}]})
    (tmp_path / "out").write_text("a file where the folder should be")

    failure = worker.run(task, "1-aa").failure

    assert (failure.kind, failure.message, failure.kept) == ("picture", "the loss became nan", None)


def test_a_missing_picture_is_the_users_mistake(farm, tmp_path):
    worker, (task,), _ = farm({})
    (tmp_path / "c000.png").unlink()

    failure = worker.run(task, "1-aa").failure

    assert failure.kind == "picture"
    assert "c000.png" in failure.message


def test_output_that_takes_nothing_is_storage_trouble(farm, tmp_path):
    worker, (task,), _ = farm({})
    (tmp_path / "out").write_text("a file where the folder should be")

    assert worker.run(task, "1-aa").failure.kind == "storage"


def test_attempts_take_turns_at_the_device(farm):
    # The stand-in fails, as a bug, when two paint at once.
    worker, tasks, _ = farm(*[{"seconds": 0.2, "n": k} for k in range(3)])
    outcomes = []
    threads = [
        threading.Thread(target=lambda t=task: outcomes.append(worker.run(t, t.id)))
        for task in tasks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [o.failure for o in outcomes] == [None] * 3
    assert max(o.record.seconds["wait"] for o in outcomes) >= 0.3


def test_the_loss_log_can_be_read_while_the_task_runs(farm, monkeypatch):
    monkeypatch.setattr("cluster.loss_stream.EVERY_SECONDS", 0.1)
    worker, (task,), storage = farm({"seconds": 30})
    thread = threading.Thread(target=worker.run, args=(task, "1-aa"))
    thread.start()
    try:
        wait_for(lambda: storage.stat(keys.losses(task.id)), 5)
        early = losslog.parse(storage.get(keys.losses(task.id)))
        wait_for(lambda: len(losslog.parse(storage.get(keys.losses(task.id)))) > len(early), 5)
        assert thread.is_alive()
    finally:
        worker.stop()
        thread.join(5)


def test_the_promise_of_ten_seconds_is_kept_with_room():
    from cluster import loss_stream

    assert loss_stream.EVERY_SECONDS <= 5


def test_progress_tells_the_step(farm):
    worker, (task,), _ = farm({"seconds": 30})
    thread = threading.Thread(target=worker.run, args=(task, "1-aa"))
    thread.start()
    try:
        progress = wait_for(lambda: [p for p in worker.progress() if p.step > 2], 5)[0]
        assert (progress.task_id, progress.attempt) == (task.id, "1-aa")
    finally:
        worker.stop()
        thread.join(5)
    assert worker.progress() == []


def test_draining_finishes_what_paints_and_drops_what_waits(farm):
    worker, (first, second), _ = farm({"seconds": 0.5, "n": 0}, {"seconds": 0.5, "n": 1})
    outcomes = {}
    run = lambda t: outcomes.update({t.id: worker.run(t, t.id)})  # noqa: E731
    one = threading.Thread(target=run, args=(first,))
    one.start()
    wait_for(worker.progress, 5)
    two = threading.Thread(target=run, args=(second,))
    two.start()
    time.sleep(0.1)

    worker.drain()
    one.join(5)
    two.join(5)

    assert outcomes[first.id].record is not None
    assert outcomes[second.id].failure.kind == "stopped"


def test_messages_survive_a_trip_between_processes(farm):
    import pickle

    worker, (task,), _ = farm({})
    outcome = worker.run(task, "1-aa")

    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert json.loads(outcome.record.model_dump_json())["id"] == task.id
