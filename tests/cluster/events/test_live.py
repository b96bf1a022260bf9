"""live.json says how a run stands, by cancel.json it is asked to end; neither may cost the run anything."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from cluster.events import live
from cluster.events.events import (
    Beat,
    Counted,
    Draining,
    Finished,
    Live,
    NoVideo,
    Paused,
    Progress,
    Resumed,
    RowsSkipped,
    Started,
    TaskDone,
    TaskFailed,
    VideoProgress,
    WorkerState,
)
from cluster.events.json_lines import from_json, to_json
from cluster.events.live import LiveBoard, ask_to_end, read_live, wish
from cluster.messages import Wishes
from jobs.errors import LeaseLostError, StorageFullError
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from jobs.storage.lease import Lease
from tests.support.farm import stylefarm, wait_for, write_job

STARTED = Started(job="harbour", output="out", tasks=10, done=4, failed=1, work_left=1000)
DONE = TaskDone(
    id="ab",
    name="a",
    image="images/a-ab.png",
    steps=50,
    work=100,
    seconds=1.0,
    total=4.5,
    worker="w",
)
FAILED = TaskFailed(id="cd", name="c", error="c.jpg is empty (0 bytes)", work=100, attempts=1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(live, "CANCEL_POLL_SECONDS", 0.02)
    monkeypatch.setattr(live, "LIVE_SECONDS", 0.05)
    # What is read after a board was left has been written by then.
    monkeypatch.setattr(live, "LAST_SECONDS", 600.0)


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "out")


def board(storage, heard=None, **changes):
    listen = (lambda _: None) if heard is None else heard.append
    return LiveBoard(storage, listen, "harbour", "run-1", **changes)


def beat(step, workers=2):
    running = (Progress("ef", "1-a", "w", 32, step, 100, 10 * step, 1.0),)
    fleet = tuple(WorkerState(f"w{k}", "n", "cpu", 0.8 + k / 10, 1.0, 1) for k in range(workers))
    return Beat(
        done=1, failed=1, workers=workers, running=running, pending=3, gpu_hours=0.5, fleet=fleet
    )


def test_a_run_is_seen_from_its_output_while_it_lasts_and_after(storage):
    heard = []
    with board(storage, heard, submission="stylefarm-harbour-1a2b3c4d") as listen:
        for event in (STARTED, DONE, FAILED, beat(0), beat(20)):
            time.sleep(0.06)
            listen(event)
        shown = wait_for(
            lambda: (live_ := read_live(storage)) and live_.steps_per_second and live_, 10
        )
        assert (shown.job, shown.run, shown.state) == ("harbour", "run-1", "running")
        assert shown.submission == "stylefarm-harbour-1a2b3c4d"
        assert (shown.tasks, shown.done, shown.failed, shown.left) == (10, 5, 2, 3)
        assert (shown.workers, shown.pending, shown.busy) == (2, 3, 0.85)
        assert shown.eta is not None
        assert shown.gpu_hours == 0.5
        assert shown.updated >= shown.started
        listen(Finished(done=1, failed=1, left=3, seconds=9.0, reason="interrupted"))

    ended = read_live(storage)
    assert (ended.state, ended.reason, ended.left, ended.workers, ended.eta) == (
        *("ended", "interrupted", 3, 0, None),
    )
    # What it says of itself it also tells whoever listens, and last before the end.
    assert [type(event) for event in heard[-2:]] == [Live, Finished]
    assert sum(isinstance(event, Live) for event in heard) == 3


def test_a_video_that_is_made_is_what_the_run_waits_for(storage):
    heard = []
    with board(storage, heard) as live_board:
        live_board(STARTED)
        live_board(beat(10))
        time.sleep(0.06)
        live_board(VideoProgress(video="videos/a.mp4", frame=3, frames=9))
        wait_for(lambda: (seen := read_live(storage)) and seen.waits)
        seen = read_live(storage)
        assert (seen.state, seen.workers) == ("running", 0)
        assert seen.waits == "makes videos/a.mp4, frame 3 of 9"
        live_board(Finished(done=0, failed=0, left=0, seconds=1.0, reason="complete", videos=1))
    assert read_live(storage).waits == ""
    assert [event.waits for event in heard if isinstance(event, Live)][-2] != ""


def test_a_long_job_has_no_number_of_tasks_until_it_is_read(storage):
    heard = []
    with board(storage, heard) as listen:
        listen(
            Started(
                job="harbour", output="out", tasks=0, done=0, failed=0, work_left=0, counting=True
            )
        )
        listen(DONE)
        listen(beat(1))
        assert (heard[-1].tasks, heard[-1].done, heard[-1].left) == (None, 1, None)
        listen(Counted(tasks=10, done=4, failed=1, work_left=900))
        listen._emitted_at = 0.0
        listen(beat(2))
    assert (heard[-1].tasks, heard[-1].done, heard[-1].failed, heard[-1].left) == (10, 5, 1, 4)


def test_states(storage):
    heard = []
    with board(storage, heard) as listen:
        states = []
        for event in (
            STARTED,
            Paused(reason="no answer", patience=60),
            Resumed(seconds=3),
            Draining(running=1),
            Resumed(seconds=3),
        ):
            listen(event)
            listen._emitted_at = 0.0
            listen(beat(1))
            states.append(heard[-1].state)
    assert states == ["running", "paused", "running", "stopping", "stopping"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StorageFullError("no room"), "no room"),
        (KeyboardInterrupt(), "stopped"),
        (KeyError("x"), "a bug"),
    ],
)
def test_a_run_that_breaks_off_says_why(storage, error, reason):
    def run():
        with board(storage) as listen:
            listen(STARTED)
            raise error

    with pytest.raises(type(error)):
        run()
    ended = read_live(storage)
    assert ended.state == "ended"
    assert ended.reason.startswith(reason)


def test_a_storage_in_trouble_costs_the_run_nothing(tmp_path):
    (tmp_path / "out").write_text("a file where the output should be")
    heard = []
    with board(FolderStorage(tmp_path / "out"), heard) as listen:
        listen(STARTED)
        listen(Finished(done=0, failed=0, left=0, seconds=1.0, reason="complete"))
    assert isinstance(heard[-1], Finished)


def test_who_lost_the_output_writes_nothing_there(storage):
    def guard():
        raise LeaseLostError("it is another's")

    with board(storage, guard=guard) as listen:
        listen(STARTED)
    assert read_live(storage) is None


@pytest.mark.parametrize("name", [{"run": "run-1"}, {"submission": "stylefarm-x-1a2b3c4d"}])
def test_a_run_is_asked_to_end_by_its_output(storage, name):
    with board(storage, submission="stylefarm-x-1a2b3c4d") as listen:
        assert listen.asked() == "no"
        ask_to_end(storage, **name)
        wait_for(lambda: listen.asked() == "drain", 10)
    # Nobody after it is meant.
    assert storage.stat(keys.CANCEL) is None


def test_a_run_is_asked_before_it_has_begun(storage):
    ask_to_end(storage, submission="stylefarm-x-1a2b3c4d")
    with board(storage, submission="stylefarm-x-1a2b3c4d") as listen:
        wait_for(lambda: listen.asked() == "drain", 10)


@pytest.mark.parametrize("marker", [b'{"run": "run-0"}', b'{"submission": null}'])
def test_a_wish_for_another_run_is_cleared_away(storage, marker):
    storage.put(keys.CANCEL, marker)
    with board(storage) as listen:
        wait_for(lambda: storage.stat(keys.CANCEL) is None, 10)
        assert listen.asked() == "no"


def test_a_run_is_asked_things_while_it_lasts_one_after_another(storage):
    with board(storage) as listen:
        assert listen.wishes() == Wishes()
        wish(storage, "run-1", paused=True)
        wait_for(lambda: listen.wishes().paused, 10)
        asked = wish(storage, "run-1", priority=75)
        assert (asked.paused, asked.priority, asked.workers) == (True, 75, None)
        wait_for(lambda: listen.wishes() == asked, 10)
        assert "@" in asked.by
        wish(storage, "run-1", paused=False, workers=3)
        wait_for(lambda: listen.wishes().workers == 3, 10)
        assert listen.wishes() == replace(asked, paused=False, workers=3)
    # Nobody after it is meant.
    assert storage.stat(keys.WISHES) is None


def test_wishes_for_another_run_are_cleared_away(storage):
    wish(storage, "run-0", paused=True)
    with board(storage) as listen:
        wait_for(lambda: storage.stat(keys.WISHES) is None, 10)
        assert listen.wishes() == Wishes()
        # What was asked of it is nothing that is asked of this one.
        assert not wish(storage, "run-1", workers=2).paused


@pytest.mark.parametrize("asked", [{"paused": "maybe"}, {"workers": [3]}, {"priority": {}}])
def test_wishes_that_cannot_be_read_change_nothing(storage, asked):
    storage.put(keys.WISHES, json.dumps({"run": "run-1", **asked}).encode())
    with board(storage) as listen:
        listen(STARTED)
        wait_for(lambda: read_live(storage) is not None, 10)
        assert listen.wishes() == Wishes()


def test_garbage_is_no_run_and_no_wish(storage):
    for key in (keys.LIVE, keys.CANCEL, keys.WISHES):
        for data in (b"", b"[]", b"{}", b"\xff", b'{"job": 1}', b"[" * 100_000):
            storage.put(key, data)
            assert read_live(storage) is None
    with board(storage) as listen:
        listen(STARTED)
    assert listen.asked() == "no"


def test_every_run_writes_it(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1)
    assert stylefarm("run", job, "--pool", "inline").returncode == 0

    shown = read_live(FolderStorage(tmp_path / "out"))
    assert (shown.state, shown.reason, shown.tasks, shown.done) == ("ended", "complete", 1, 1)
    assert shown.submission is None


def test_a_lease_and_the_run_it_is_for_have_one_name(storage):
    lease = Lease(storage).acquire()
    assert json.loads(storage.get(keys.LEASE))["nonce"] == lease.nonce
    lease.release()


# --- lines back into events ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        DONE,
        FAILED,
        beat(3),
        RowsSkipped(rows=2, first=("a.csv:1: style: is empty",)),
        Draining(running=2),
        VideoProgress(video="videos/a.mp4", frame=3, frames=9),
        NoVideo(id="ab", name="a", reason="frame 3 has failed", failed=True),
        Finished(done=1, failed=0, left=None, seconds=1.0, reason="limit"),
    ],
    ids=lambda event: event.event,
)
@pytest.mark.parametrize("ensure_ascii", [False, True])
def test_a_line_is_the_event_again(event, ensure_ascii):
    assert from_json(to_json(event, ensure_ascii)) == event


def test_a_line_of_another_version_is_read_as_far_as_it_goes():
    line = json.dumps({**json.loads(to_json(STARTED)), "mood": "blue"})
    assert from_json(line) == STARTED
    shorter = json.loads(to_json(STARTED))
    del shorter["tasks"]
    assert from_json(json.dumps(shorter)) is None


@pytest.mark.parametrize(
    "line",
    [
        *("", "done images/a.png", "{", "{}", '{"event": "party"}', '{"event": ["done"]}', "[1]"),
        '{"event": "progress", "running": [1]}',
    ],
)
def test_what_is_no_event_is_none(line):
    assert from_json(line) is None
