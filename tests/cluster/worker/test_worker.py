"""One worker, in this process: what comes back from each kind of attempt."""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import json
import re
import tarfile
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from PIL import ExifTags, Image

import cluster.worker.renderer
from cluster.messages import Assignment, DeviceInfo
from cluster.open_job import open_agenda
from cluster.run.options import PAINTER
from cluster.worker.heartbeat import Heartbeat
from cluster.worker.isolated import VERDICT_SECONDS
from cluster.worker.renderer import Painted
from cluster.worker.uploads import Checkpoints
from cluster.worker.worker import Worker
from jobs.jobfile.load import load_job
from jobs.records import loss_log
from jobs.storage import keys
from jobs.storage.open import open_storage
from jobs.storage.s3 import S3Storage
from stylize.pictures.codec import decode
from stylize.pictures.gamuts import profile_of
from stylize.render.checkpoint import Checkpoint
from tests.support.farm import STAND_IN, attempt, setup_of, wait_for, write_job, write_stand_in_job


def make_worker(job, renderer=STAND_IN, **changes):
    devices = changes.pop("devices", 1)
    return Worker(setup_of(job, renderer, **changes), "w0", devices=devices)


@pytest.fixture
def farm(tmp_path):
    """directives, settings of the worker -> (worker, tasks, storage)"""

    def make(*directives, **changes):
        job = write_stand_in_job(tmp_path, directives)
        storage = open_storage(job.spec.output, base=job.base)
        return make_worker(job, **changes), list(open_agenda(job).tasks()), storage

    return make


def test_a_finished_attempt_has_stored_picture_and_log_but_no_record(farm):
    worker, (task,), storage = farm({"seconds": 0})

    outcome = attempt(worker, task, "1-aa")

    record = outcome.record
    stored = storage.get(record.output.key)
    assert record.status == "done"
    assert record.output.key == keys.image("c000--style", task.id, "png")
    assert record.output.sha256 == hashlib.sha256(stored).hexdigest()
    assert loss_log.parse(storage.get(keys.losses(task.id)))[-1].total == 9.0
    assert record.losses["total"] == 9.0
    # The record is the commit, and committing is the driver's.
    assert storage.stat(keys.record(task.id)) is None


def test_the_record_says_what_went_in_and_who_did_it(farm, tmp_path):
    worker, (task,), _ = farm({"seconds": 0})

    record = attempt(worker, task, "1-aa").record

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
    (renderer,) = worker._renderers
    renderer.paint = lambda orders, _: [Painted(list(order.styles)) for order in orders]

    record = attempt(worker, task, "1-aa").record

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


def test_a_doubtful_mask_is_told_with_the_outcome(tmp_path):
    blend = {
        "style.png": {"mask": "doubtful.png"},
        "other.png": {"mask": "doubtful.png"},
        "third.png": {"mask": "clear.png"},
    }
    job = write_stand_in_job(
        tmp_path, [{"seconds": 0}], pairs=[{"content": "c000.png", "style": {"blend": blend}}]
    )
    for name in ("other.png", "third.png", "clear.png"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "doubtful.png").write_text(json.dumps({"doubt": "is black everywhere"}))
    (task,) = open_agenda(job).tasks()

    outcome = attempt(make_worker(job), task)

    assert outcome.record is not None
    assert outcome.doubts == ("doubtful.png is black everywhere",)


def test_a_mask_with_alpha_paints_what_its_grey_twin_does(tmp_path):
    """White on transparency, as painting programs export a layer, in either half of the picture."""
    style = {"picture": "styles/s0.png", "mask": "masks/{content}.png"}
    file = write_job(
        tmp_path, photos=1, styles=1, pairs=[{"content": ["grey.png", "alpha.png"], "style": style}]
    )
    grey = np.zeros((40, 48), np.uint8)
    grey[:, :24] = 255
    layer = np.full((40, 48, 4), 255, np.uint8)
    layer[..., 3] = grey
    (tmp_path / "masks").mkdir()
    for name, mask in (("grey", grey), ("alpha", layer)):
        (tmp_path / f"{name}.png").write_bytes((tmp_path / "photos" / "p0.png").read_bytes())
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    job = load_job(file)
    worker = make_worker(job, PAINTER)

    painted = [attempt(worker, task).record.output.key for task in open_agenda(job).tasks()]

    assert len(painted) == 2
    first, second = (np.asarray(Image.open(tmp_path / "out" / key)) for key in painted)
    assert np.array_equal(first, second)


def paint_photo(folder, **image):
    """A photo that knows where it was taken and is in Display P3, painted: the task and the file."""
    file = write_job(folder, photos=1, styles=1, image=image)
    photo = folder / "photos" / "p0.png"
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif[ExifTags.Base.Make] = "Telephone"
    with Image.open(photo) as pixels:
        pixels.load()
    pixels.save(photo, exif=exif, icc_profile=profile_of("display-p3"))
    job = load_job(file)
    (task,) = open_agenda(job).tasks()
    return task, folder / "out" / attempt(make_worker(job, PAINTER), task).record.output.key


def test_a_picture_says_its_id_and_recipe_and_not_where_it_was_taken(tmp_path):
    task, path = paint_photo(tmp_path)
    with Image.open(path) as picture:
        xmp = picture.info["xmp"].decode()
        assert not picture.getexif()
    (found,) = re.findall(r'stylefarm:id="(\w+)"', xmp)
    (recipe,) = re.findall("stylefarm:recipe='(.*?)'", xmp)
    assert found == task.id
    assert json.loads(html.unescape(recipe)) == task.recipe.model_dump(mode="json")
    assert b"Telephone" not in path.read_bytes()


def test_the_outcome_says_which_pictures_have_further_pages(tmp_path):
    file = write_job(
        tmp_path, photos=1, styles=0, pairs=[{"content": "photos/", "style": "album.tif"}]
    )
    pages = [Image.new("RGB", (48, 40), colour) for colour in ("red", "green")]
    pages[0].save(tmp_path / "album.tif", save_all=True, append_images=pages[1:])
    job = load_job(file)
    (task,) = open_agenda(job).tasks()
    outcome = attempt(make_worker(job, PAINTER), task)
    assert outcome.pages == ("album.tif has 2 pages, of which the first counts",)
    assert outcome.record.status == "done"


def test_a_picture_says_nothing_where_nothing_is_wanted(tmp_path):
    _, path = paint_photo(tmp_path, metadata="none")
    with Image.open(path) as picture:
        assert set(picture.info) == {"icc_profile"}


def test_a_picture_is_painted_in_the_colours_that_the_job_asks_for(tmp_path):
    seen = {}
    for profile in ("srgb", "display-p3"):
        _, path = paint_photo(tmp_path / profile, profile=profile)
        seen[profile] = decode(path.read_bytes(), gamut="display-p3").rgb
        with Image.open(path) as picture:
            assert picture.info["icc_profile"] == profile_of(profile)
    # The same picture but for what srgb has clipped, and another way to it.
    apart = (seen["srgb"] - seen["display-p3"]).abs()
    assert 0.001 < apart.mean() < 0.1


def test_the_record_says_what_was_done_for_lack_of_memory(farm):
    worker, tasks, _ = farm({"n": 0}, {"concessions": ["painted in strips"]})

    records = [attempt(worker, task, "1-aa").record for task in tasks]

    assert [record.concessions for record in records] == [[], ["painted in strips"]]


def test_what_the_painter_did_for_lack_of_memory_is_in_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr("stylize.render.out_of_memory.available_bytes", lambda device: 1)
    job = load_job(write_job(tmp_path, photos=1, styles=1))
    (task,) = open_agenda(job).tasks()

    record = attempt(make_worker(job, PAINTER), task).record

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

    outcome = attempt(worker, task, "1-aa")

    assert outcome.record is None
    assert (outcome.failure.kind, outcome.failure.message) == (kind, sentence)
    assert outcome.attempt_record.error == sentence
    assert not list(storage.list(keys.IMAGES))


def test_the_last_good_picture_of_a_failed_render_is_kept(farm):
    worker, (task,), storage = farm({"fail": "diverged", "good": [{"all": "well"}]})

    outcome = attempt(worker, task, "1-aa")

    kept = outcome.failure.kept
    assert outcome.failure.kind == "picture"
    assert kept.key == keys.kept("c000--style", task.id, "png") == f"kept/c000--style-{task.id}.png"
    assert json.loads(storage.get(kept.key)) == {"all": "well"}
    assert kept.sha256 == hashlib.sha256(storage.get(kept.key)).hexdigest()
    assert not list(storage.list(keys.IMAGES))


def test_a_picture_that_cannot_be_kept_changes_no_failure(farm, tmp_path):
    worker, (task,), _ = farm({"fail": "diverged", "good": [{}]})
    (tmp_path / "out").write_text("a file where the folder should be")

    failure = attempt(worker, task, "1-aa").failure

    assert (failure.kind, failure.message, failure.kept) == ("picture", "the loss became nan", None)


def test_a_missing_picture_is_the_users_mistake(farm, tmp_path):
    worker, (task,), _ = farm({})
    (tmp_path / "c000.png").unlink()

    failure = attempt(worker, task, "1-aa").failure

    assert failure.kind == "picture"
    assert "c000.png" in failure.message


def test_output_that_takes_nothing_is_storage_trouble(farm, tmp_path):
    worker, (task,), _ = farm({})
    (tmp_path / "out").write_text("a file where the folder should be")

    assert attempt(worker, task, "1-aa").failure.kind == "storage"


def test_attempts_take_turns_at_the_device(farm, tmp_path):
    # The stand-in fails, as a bug, when two paint at once.
    worker, tasks, _ = farm(*[{"until": "go", "n": k} for k in range(3)])
    outcomes = []
    threads = [
        threading.Thread(target=lambda t=task: outcomes.append(attempt(worker, t, t.id)))
        for task in tasks
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(worker._devices._queue) == 2)
    time.sleep(0.3)
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join()

    assert [o.failure for o in outcomes] == [None] * 3
    assert max(o.record.seconds["wait"] for o in outcomes) >= 0.3


def test_the_loss_log_can_be_read_while_the_task_runs(farm, monkeypatch):
    monkeypatch.setattr("cluster.worker.uploads.LOSS_LOG_SECONDS", 0.1)
    worker, (task,), storage = farm({"until": "never"})
    _, (thread,) = in_thread(worker, task)
    try:
        wait_for(lambda: storage.stat(keys.losses(task.id)))
        early = loss_log.parse(storage.get(keys.losses(task.id)))
        wait_for(lambda: len(loss_log.parse(storage.get(keys.losses(task.id)))) > len(early))
        assert thread.is_alive()
    finally:
        worker.stop()
        thread.join(180)


def test_the_promise_of_ten_seconds_is_kept_with_room():
    from cluster.worker import uploads

    assert uploads.LOSS_LOG_SECONDS <= 5


def test_progress_tells_the_step(farm):
    worker, (task,), _ = farm({"until": "never"})
    _, (thread,) = in_thread(worker, task)
    try:
        progress = wait_for(lambda: [p for p in worker.progress() if p.step > 2])[0]
        assert (progress.task_id, progress.attempt_id) == (task.id, task.id)
    finally:
        worker.stop()
        thread.join(180)
    assert worker.progress() == []


def test_draining_finishes_what_paints_and_drops_what_waits(farm, tmp_path):
    worker, (first, second), _ = farm({"until": "go", "n": 0}, {"until": "go", "n": 1})
    outcomes = {}
    run = lambda t: outcomes.update({t.id: attempt(worker, t, t.id)})  # noqa: E731
    one = threading.Thread(target=run, args=(first,))
    one.start()
    wait_for(worker.progress, 5)
    two = threading.Thread(target=run, args=(second,))
    two.start()
    wait_for(lambda: worker._devices._queue, 5)

    worker.drain()
    (tmp_path / "go").touch()
    one.join(60)
    two.join(60)

    assert outcomes[first.id].record is not None
    assert outcomes[second.id].failure.kind == "stopped"


def test_messages_survive_a_trip_between_processes(farm):
    import pickle

    worker, (task,), _ = farm({})
    outcome = attempt(worker, task, "1-aa")

    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert json.loads(outcome.record.model_dump_json())["id"] == task.id


# Several at a time.


def run_all(worker, tasks, **how):
    outcomes = worker.run([Assignment(task, f"1-{task.id}", **how) for task in tasks])
    return {outcome.attempt_record.id[2:]: outcome for outcome in outcomes}


def test_pictures_of_one_shape_are_painted_together_and_the_others_beside(farm):
    worker, tasks, storage = farm(
        *[{"n": k, "seconds": 0, "shape": k % 2 if k < 4 else 7} for k in range(5)]
    )

    outcomes = run_all(worker, tasks)

    assert worker._renderers[0].batches == [2, 2, 1]
    assert all(outcomes[task.id].record.status == "done" for task in tasks)
    for k, task in enumerate(tasks):
        assert json.loads(storage.get(outcomes[task.id].record.output.key))["n"] == k


def test_a_bad_picture_in_a_batch_fails_alone(farm, tmp_path):
    worker, tasks, _ = farm({"n": 0}, {"fail": "diverged"}, {"n": 2}, {"n": 3})
    (tmp_path / "c003.png").write_text("not a picture")

    outcomes = list(run_all(worker, tasks).values())

    assert [o.record is not None for o in outcomes] == [True, False, True, False]
    assert outcomes[1].failure.kind == outcomes[3].failure.kind == "picture"
    assert worker._renderers[0].batches == [3, 1, 1, 1]


def test_the_seconds_of_a_batch_are_shared_out(farm):
    worker, tasks, _ = farm(*[{"n": k, "seconds": 0.4} for k in range(4)])
    began = time.perf_counter()

    records = [outcome.record for outcome in run_all(worker, tasks).values()]

    elapsed = time.perf_counter() - began
    assert worker._renderers[0].batches == [4]
    seconds = [record.seconds["render"] for record in records]
    assert len(set(seconds)) == 1
    # Not shared out, it would be four times as long as it took. The seconds are rounded.
    assert 0.35 <= sum(seconds) <= elapsed + 0.01


def test_a_batch_is_painted_by_the_real_painter_as_if_each_were_alone(tmp_path):
    job = load_job(write_job(tmp_path, photos=3, styles=1, recipe={"segment": 2}))
    tasks = list(open_agenda(job).tasks())
    storage = open_storage(job.spec.output, base=job.base)

    alone = {}
    for task in tasks:
        key = attempt(make_worker(job, PAINTER, threads=1), task).record.output.key
        alone[task.id] = np.asarray(Image.open(io.BytesIO(storage.get(key))), dtype=int)
    together = run_all(make_worker(job, PAINTER, threads=1), tasks)

    for task in tasks:
        data = storage.get(together[task.id].record.output.key)
        difference = np.abs(np.asarray(Image.open(io.BytesIO(data)), dtype=int) - alone[task.id])
        assert difference.max() <= 2
        rows = loss_log.parse(storage.get(keys.losses(task.id)))
        assert rows[-1].step == task.recipe.total_steps


def test_what_a_batch_left_each_goes_on_from_alone(tmp_path, monkeypatch):
    job = load_job(write_job(tmp_path, photos=2, styles=1, recipe={"segment": 2, "steps": 6}))
    tasks = list(open_agenda(job).tasks())
    storage = open_storage(job.spec.output, base=job.base)
    first = make_worker(job, PAINTER, threads=1, checkpoint_seconds=0.0)
    whole = run_all(make_worker(job, PAINTER, threads=1), tasks)
    pictures = {t: storage.get(o.record.output.key) for t, o in whole.items()}
    offer = Checkpoints.offer

    def stop_after(self, make):
        offer(self, make)
        first.stop()

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "offer", stop_after)
        stopped = run_all(first, tasks)
    assert {o.failure.kind for o in stopped.values()} == {"stopped"}
    assert all(o.checkpoint for o in stopped.values())
    begun = []
    from_bytes = Checkpoint.from_bytes
    monkeypatch.setattr(
        Checkpoint, "from_bytes", lambda data: begun.append(from_bytes(data)) or begun[-1]
    )

    again = run_all(make_worker(job, PAINTER, threads=1), tasks)

    assert [checkpoint.steps for checkpoint in begun] == [2, 2]
    for task in tasks:
        data = [pictures[task.id], storage.get(again[task.id].record.output.key)]
        one, other = (np.asarray(Image.open(io.BytesIO(d)), dtype=int) for d in data)
        assert np.abs(one - other).max() <= 2


# Drain, preempt, recall.


def in_thread(worker, *tasks, **how):
    outcomes = {}
    # They end with the process of the tests, also where a test fails and nobody stops the worker.
    threads = [
        threading.Thread(
            target=lambda t=task: outcomes.update({t.id: attempt(worker, t, t.id, **how)}),
            daemon=True,
        )
        for task in tasks
    ]
    for thread in threads:
        thread.start()
    return outcomes, threads


def test_a_preempted_worker_paints_on_to_the_next_checkpoint_and_stores_it(farm, tmp_path):
    worker, (task,), storage = farm({"until": "never", "every": 40})
    outcomes, threads = in_thread(worker, task)
    wait_for(lambda: any(p.step > 45 for p in worker.progress()))

    worker.preempt(grace_seconds=600)
    threads[0].join(180)

    outcome = outcomes[task.id]
    assert (outcome.failure.kind, outcome.checkpoint) == ("preempted", True)
    assert int(storage.get(keys.checkpoint(task.id)).partition(b":")[0]) >= 80
    assert worker.report().preempted
    assert worker.idle


def test_without_a_checkpoint_in_time_it_stores_the_last_one_and_breaks_off(farm):
    worker, (task,), storage = farm({"until": "never", "checkpoint": 20}, checkpoint_seconds=1e9)
    outcomes, threads = in_thread(worker, task)
    wait_for(lambda: any(p.step > 30 for p in worker.progress()))
    assert storage.stat(keys.checkpoint(task.id)) is None  # it was not time for it

    worker.preempt(grace_seconds=0.2)
    threads[0].join(180)

    assert outcomes[task.id].failure.kind == "preempted"
    assert storage.get(keys.checkpoint(task.id)).startswith(b"20:")


def test_what_is_finished_in_the_time_of_grace_is_done(farm, tmp_path):
    worker, (task,), _ = farm({"until": "go"})
    outcomes, threads = in_thread(worker, task)
    wait_for(worker.progress)

    worker.preempt(grace_seconds=600)
    (tmp_path / "go").touch()
    threads[0].join(180)

    assert outcomes[task.id].record.status == "done"


def test_what_waits_can_be_recalled_and_what_paints_cannot(farm, tmp_path):
    worker, tasks, _ = farm({"until": "go", "n": 0}, {"until": "go", "n": 1})
    outcomes, threads = in_thread(worker, *tasks)
    painting = wait_for(worker.progress, 10)[0].attempt_id
    wait_for(lambda: worker._devices._queue, 10)

    worker.recall([task.id for task in tasks])
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(60)

    (waited,) = {task.id for task in tasks} - {painting}
    assert outcomes[painting].record is not None
    assert outcomes[waited].failure.kind == "recalled"


def test_a_worker_of_two_devices_paints_two_at_once(tmp_path):
    job = write_stand_in_job(tmp_path, [{"until": "go", "n": k} for k in range(2)])
    worker = make_worker(job, devices=2)
    outcomes, threads = in_thread(worker, *open_agenda(job).tasks())
    wait_for(lambda: len(worker.progress()) == 2, 5)
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(60)

    assert len(outcomes) == 2
    assert all(o.record for o in outcomes.values())


# In a process of its own.


def test_the_real_painter_paints_the_same_in_a_process_of_its_own(tmp_path):
    job = load_job(write_job(tmp_path, photos=1, styles=1))
    (task,) = open_agenda(job).tasks()
    storage = open_storage(job.spec.output, base=job.base)
    worker = make_worker(job, PAINTER, threads=1)
    here = storage.get(attempt(worker, task).record.output.key)

    outcome = attempt(worker, task, "2-bb", isolated=True)

    assert outcome.record.attempts[0].id == "2-bb"
    assert storage.get(outcome.record.output.key) == here


def test_a_render_that_hangs_in_a_process_of_its_own_gives_no_sign_of_life(farm):
    worker, (task,), _ = farm({"fail": "hang"})
    _, threads = in_thread(worker, task, isolated=True)
    try:
        wait_for(worker.progress)
        wait_for(lambda: worker.report().quiet_seconds > 1)
    finally:
        end_processes_of_their_own()
        threads[0].join(180)


def end_processes_of_their_own():
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # of other tests some have ended, unreaped
            if "cluster.worker.isolated_process" in " ".join(process.cmdline()):
                process.kill()


LOOK_SECONDS = 0.05
"""The interval between two looks at how quiet a worker is."""


def longest_silence(worker, *tasks, **how):
    """Have a worker make an attempt at each task: the outcomes, and its longest silence meanwhile. It is in
    seconds in which the process of the tests was at work: all of its threads may stand still together."""
    now, looked = 0.0, time.monotonic()
    worker._heartbeat = Heartbeat(lambda: now)
    outcomes, threads = in_thread(worker, *tasks, **how)
    longest = 0.0
    while any(thread.is_alive() for thread in threads):
        time.sleep(LOOK_SECONDS)
        before, looked = looked, time.monotonic()
        now += min(looked - before, 2 * LOOK_SECONDS)
        longest = max(longest, worker.report().quiet_seconds)
    worker._heartbeat = Heartbeat()
    return outcomes, longest


def test_a_worker_that_is_ended_with_its_own_process_blames_no_picture(farm):
    """Who ends a worker may end its children first: only a worker that outlives them has a verdict."""
    worker, (task,), _ = farm({"fail": "die"})
    began = time.monotonic()

    outcomes, quiet = longest_silence(worker, task, isolated=True)

    (outcome,) = outcomes.values()
    assert outcome.failure.kind == "poison"
    assert time.monotonic() - began > VERDICT_SECONDS
    # Neither that its process starts nor the time until the verdict is a silence of the picture.
    assert quiet < VERDICT_SECONDS / 2


@pytest.mark.parametrize(
    ("file", "how", "sentence"),
    [
        (
            "c000.png",
            "exit",
            "content c000.png kills the process that decodes it: .* (exit status 7)",
        ),
        ("style.png", "crash", "style style.png kills the process that decodes it: .* (SIGSEGV)"),
        (
            "mask.png",
            "kill",
            "mask mask.png kills the process that decodes it: .* (SIGKILL, perhaps",
        ),
    ],
)
def test_what_kills_a_process_that_decodes_it_is_named(tmp_path, monkeypatch, file, how, sentence):
    monkeypatch.setattr("cluster.worker.isolated.VERDICT_SECONDS", 0.1)
    style = {"picture": "style.png", "mask": "mask.png"}
    (tmp_path / "mask.png").write_text("{}")
    pairs = [{"content": "c000.png", "style": style}]
    job = write_stand_in_job(tmp_path, [{}], pairs=pairs)
    (tmp_path / file).write_text(json.dumps({"decode": how}))
    (task,) = open_agenda(job).tasks()

    failure = attempt(make_worker(job), task, isolated=True).failure

    assert failure.kind == "poison"
    assert re.match(re.escape(sentence).replace(r"\.\*", ".*"), failure.message), failure.message


def test_folders_named_like_ours_are_not_taken_for_them(farm, tmp_path, monkeypatch):
    worker, (task,), _ = farm({"seconds": 0})
    for name in ("cluster", "jobs", "stylize"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)

    assert attempt(worker, task, isolated=True).record is not None


def test_a_process_of_its_own_that_cannot_begin_blames_no_picture(tmp_path):
    job = write_stand_in_job(tmp_path, [{}])
    (task,) = open_agenda(job).tasks()
    worker = make_worker(job)
    worker._setup = replace(worker._setup, renderer="tests.support.farm:NoSuchRenderer")

    failure = attempt(worker, task, isolated=True).failure

    assert (failure.kind, failure.message) == (
        "bug",
        "no separate process could be started (exit status 1)",
    )


@pytest.mark.parametrize("isolated", [False, True])
def test_a_worker_says_which_picture_it_cannot_get_through(farm, tmp_path, isolated):
    worker, (task, other), _ = farm({"decode": "hang", "n": 0}, {"seconds": 60, "n": 1})
    if isolated:
        _, threads = in_thread(worker, task, isolated=True)
    else:
        # Threads that hang for ever end with the process of the tests.
        for one in (task, other):
            threading.Thread(target=attempt, args=(worker, one, one.id), daemon=True).start()
        wait_for(worker.progress, 10)
    try:
        wait_for(lambda: worker.report().decoding, 20)
        report = wait_for(lambda: (r := worker.report()).quiet_seconds > 0.5 and r, 5)

        assert (report.quiet, report.decoding) == (task.id, "content c000.png")
    finally:
        worker.stop()
        if isolated:
            end_processes_of_their_own()
            threads[0].join(20)


def test_the_list_of_an_archive_may_take_long(s3, tmp_path, monkeypatch):
    """A tar is read header by header, and a store may be far away."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for k in range(25):
            info = tarfile.TarInfo(f"{k:02}.png")
            directive = {"n": k, "padding": "x" * 20_000, "seconds": 0}
            if k == 3:
                directive["decode"] = "hang"
            data = json.dumps(directive).encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    archive = packed.getvalue()
    s3.open().put("shard.tar", archive)

    def slow(storage, known, start, size):
        """Takes its time, and no more than that."""
        time.sleep(0.1)
        return archive[start : start + size]

    monkeypatch.setattr(S3Storage, "read_range", slow)
    pairs = [
        {"content": f"{s3.url}/shard.tar::{k:02}.png", "style": "style.png"} for k in (3, 4, 5)
    ]
    options = s3.options.model_dump(exclude_none=True)
    job = write_stand_in_job(tmp_path, [], pairs=pairs, storage=options)
    worker = make_worker(job)
    hangs, *others = open_agenda(job).tasks()
    began = time.monotonic()

    outcomes, quiet = longest_silence(worker, *others)

    assert time.monotonic() - began > 2
    assert quiet < 1
    assert all(outcome.record for outcome in outcomes.values())
    # What hangs in a decoder gets no sign of life from what is read beside it.
    threading.Thread(target=attempt, args=(worker, hangs, hangs.id), daemon=True).start()
    wait_for(lambda: worker.report().decoding)
    for _ in range(8):
        attempt(worker, others[0])
    assert worker.report().quiet_seconds > 0.8
    assert worker.report().quiet == hangs.id


@pytest.mark.parametrize("request_", ["preempt", "stop"])
def test_a_process_of_its_own_gets_the_requests_that_its_worker_gets(farm, request_):
    worker, (task,), _ = farm({"until": "never", "every": 40}, grace_seconds=600)
    outcomes, (thread,) = in_thread(worker, task, isolated=True)
    wait_for(lambda: any(p.step > 45 for p in worker.progress()))

    getattr(worker, request_)()
    thread.join(180)

    outcome = outcomes[task.id]
    assert outcome.failure.kind == {"preempt": "preempted", "stop": "stopped"}[request_]
    assert outcome.checkpoint


def test_the_record_says_what_it_was_rendered_on(farm):
    worker, (task,), _ = farm({"seconds": 0})
    worker.device = DeviceInfo("NVIDIA H100", 80 * 10**9, "570.86.15")

    (made,) = attempt(worker, task).record.attempts

    assert (made.device, made.memory_bytes, made.driver) == (
        "NVIDIA H100",
        80 * 10**9,
        "570.86.15",
    )


def test_the_driver_is_read_as_the_kernel_names_it(tmp_path, monkeypatch):
    file = tmp_path / "version"
    monkeypatch.setattr(cluster.worker.renderer, "DRIVER_FILE", file)
    assert cluster.worker.renderer.driver_version() is None
    for text, version in (
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023",
            "535.104.05",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release",
            "570.86.15",
        ),
        ("something else", None),
    ):
        file.write_text(text + "\nGCC version: gcc 12.3.0\n")
        assert cluster.worker.renderer.driver_version() == version
