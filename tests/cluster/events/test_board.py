"""What a page reads while a run lasts: its workers, its newest pictures, the rows that it has committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from cluster.events import fresh, live
from cluster.events.board import MOST_WORKERS, NEWEST, Board
from cluster.events.events import Beat, Finished, Live, Started
from cluster.events.fresh import FreshRows
from cluster.events.json_lines import to_json
from cluster.events.live import LiveBoard, read_live
from cluster.messages import Progress, WorkerState
from jobs.errors import LeaseLostError, StorageError
from jobs.records.record import AttemptRecord, OutputRecord, TaskRecord
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from tests.support.farm import ROOT, stylefarm, wait_for, write_job

STARTED = Started(job="harbour", output="out", tasks=10, done=4, failed=1, work_left=1000)


def record(number=0, status="done", **changes):
    key = f"images/p{number}.png"
    picture = OutputRecord(key=key, sha256="0" * 64, size=70, width=32, height=24)
    attempt = AttemptRecord(
        id="1-a", worker="w", node="n", device="cpu", started=1000.0, seconds=3.0
    )
    values = {
        "id": f"{number:016x}",
        "name": f"p{number}",
        "status": status,
        "content": "a.jpg",
        "styles": [("x.jpg", 0.5), ("y.jpg", 0.5)],
        "output": picture if status == "done" else None,
        "losses": {"total": 4.5, "content": 1.0},
        "recipe": {"size": 32, "init_noise": float("nan"), "text": "</script>"},
        "weights_digest": "d",
        "steps": 50,
        "seconds": {"render": 2.5, "store": 0.5},
        "attempts": [attempt],
        "finished": 1003.0,
    }
    return TaskRecord(**values | changes)


def beat(step=0, workers=1):
    running = tuple(
        Progress("id", f"1-{k}", f"w{k}", 64, step, 100, 10 * step, float("nan"), f"p{k}")
        for k in range(workers)
    )
    fleet = tuple(WorkerState(f"w{k}", "node", "cpu", 0.8, 1.0, 1, "host") for k in range(workers))
    return Beat(done=1, failed=1, workers=workers, running=running, fleet=fleet)


def called(data: bytes, function: str):
    """What a script hands to a function of the page; the script calls nothing else."""
    text = data.decode("ascii")
    assert "<" not in text
    begin, end = f"stylefarm.{function}(", ");\n"
    assert text.startswith(begin)
    assert text.endswith(end)
    return json.loads(text[len(begin) : -len(end)])


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "out")


@pytest.fixture(autouse=True)
def _written(monkeypatch):
    # What is read after a board was left has been written by then.
    monkeypatch.setattr(live, "LAST_SECONDS", 600.0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live, "CANCEL_POLL_SECONDS", 0.02)
    monkeypatch.setattr(live, "LIVE_SECONDS", 0.05)


def shown(storage):
    return json.loads(storage.get(keys.LIVE))


# --- live.json -------------------------------------------------------------------------------------


def test_a_page_sees_who_paints_what_and_how_fast(storage, quick):
    heard = []
    with LiveBoard(storage, heard.append, "harbour", "run-1") as board:
        board(STARTED)

        def speed():
            board(beat(step=int(200 * (time.monotonic() - began))))
            fleet = storage.stat(keys.LIVE) and shown(storage)["fleet"]
            # After two seconds: steps and notes are timed by two threads, one of which may be held up.
            told = fleet and fleet[0]["tasks"][0]["per_second"]
            return told and time.monotonic() - began > 2 and fleet

        began = time.monotonic()
        (row,) = wait_for(speed, 20)
    assert (row["worker"], row["node"], row["device"], row["busy"]) == ("w0", "host", "cpu", 0.8)
    (task,) = row["tasks"]
    assert 100 < task.pop("per_second") < 400
    assert task.pop("step") > 0
    expected = {"id": "id", "name": "p0", "scale": 64, "steps": 100, "total": None}
    assert task == expected | {"preview": False}
    # What others hear is as short with many workers as with one.
    assert not any("fleet" in to_json(event) for event in heard if isinstance(event, Live))


def test_no_more_workers_are_listed_than_a_page_can_show(storage, quick):
    with LiveBoard(storage, lambda _: None, "harbour", "run-1") as board:
        board(STARTED)
        board(beat(workers=MOST_WORKERS + 5))
        fleet = wait_for(lambda: storage.stat(keys.LIVE) and shown(storage)["fleet"], 20)
    assert len(fleet) == MOST_WORKERS
    assert shown(storage)["fleet"] == []  # none is left when the run has ended


def test_a_page_sees_what_ended_last(storage):
    with LiveBoard(storage, lambda _: None, "harbour", "run-1") as board:
        for number in range(NEWEST):
            board.committed(record(number))
        kept = OutputRecord(
            key="kept/p.png", sha256="0" * 64, size=9, width=8, height=6, thumbnail="thumbs/p.webp"
        )
        board.committed(record(99, "failed", error="the loss diverges", kept=kept, losses={}))
    newest = shown(storage)["newest"]
    assert [row["name"] for row in newest] == ["p99", *(f"p{n}" for n in range(NEWEST - 1, 0, -1))]
    assert newest[0] == {
        "id": f"{99:016x}",
        "name": "p99",
        "status": "failed",
        "key": "kept/p.png",
        "width": 8,
        "height": 6,
        "steps": 50,
        "seconds": 2.5,
        "total": None,
        "error": "the loss diverges",
        "thumb": True,
        "finished": 1003.0,
    }
    assert (newest[1]["key"], newest[1]["thumb"], newest[1]["total"]) == (
        *("images/p23.png", False, 4.5),
    )


def test_documents_with_and_without_the_lists_are_read(storage):
    with LiveBoard(storage, lambda _: None, "harbour", "run-1") as board:
        board(STARTED)
        board.committed(record())
    new = read_live(storage)
    assert (new.job, new.tasks, new.state) == ("harbour", 10, "running")

    values = shown(storage)
    for name in ("fleet", "newest", "fresh", "truncated"):
        del values[name]
    storage.put(keys.LIVE, json.dumps(values).encode())  # as earlier versions write it
    assert read_live(storage) == new
    assert Board(live=new).to_json().keys() > values.keys()


def test_a_page_of_a_folder_reads_the_same_as_a_script(storage):
    with LiveBoard(storage, lambda _: None, "</script>\u2028", "run-1") as board:
        board(STARTED)
        board.committed(record())
        board(Finished(done=1, failed=0, left=0, seconds=1.0, reason="complete"))
    values = called(storage.get(keys.LIVE_SCRIPT), "live")
    assert values == shown(storage)
    assert (values["state"], values["job"]) == ("ended", "</script>\u2028")


def test_other_outputs_get_no_script():
    class Bucket:
        """An output that is no folder."""

        url = "s3://bucket/out"

        def __init__(self):
            self.keys = []

        def put(self, key, data, content_type=None):
            self.keys.append(key)

        def get(self, key):
            raise StorageError(key)

    bucket = Bucket()
    with LiveBoard(bucket, lambda _: None, "harbour", "run-1") as board:
        board(STARTED)
    assert set(bucket.keys) == {keys.LIVE}


# --- fresh rows ------------------------------------------------------------------------------------


def test_rows_tell_a_gallery_all_that_it_shows_and_filters_by(storage):
    rows = FreshRows(storage, "ab", proof=True)
    rows.add(record())
    rows.add(record(1, "failed", error="no photo", losses={}))
    rows.write()

    assert rows.keys == ("gallery/data/new-ab-0.js",)
    file = called(storage.get(rows.keys[0]), "fresh")
    done, failed = file.pop("rows")
    assert file == {"run": "ab", "k": 0, "sealed": False}
    assert done == {
        "id": f"{0:016x}",
        "name": "p0",
        "status": "done",
        "content": "a.jpg",
        "style": "x.jpg + y.jpg",
        "recipe": {"size": 32, "init_noise": None, "text": "</script>"},
        "loss": 4.5,
        "seconds": 2.5,
        "steps": 50,
        "finished": 1003.0,
        "width": 32,
        "height": 24,
        "key": "images/p0.png",
        "size": 70,
        "thumb": False,
        "attempts": 1,
        "film": None,
        "frame": 0,
        "held": None,
        "error": None,
        "kept": None,
        "proof": True,
    }
    assert (failed["status"], failed["error"], failed["key"], failed["loss"], failed["width"]) == (
        *("failed", "no photo", None, None, 0),
    )


def test_full_files_are_sealed_and_the_last_one_is_written_now_and_then(storage, monkeypatch):
    monkeypatch.setattr(fresh, "ROWS", 4)
    monkeypatch.setattr(fresh, "REWRITE_SECONDS", 3600.0)
    rows = FreshRows(storage, "ab")
    for number in range(3):
        rows.add(record(number))
    rows.write()
    for number in range(3, 6):
        rows.add(record(number))
        rows.write()

    assert rows.keys == tuple(keys.fresh("ab", k) for k in range(1))
    sealed = called(storage.get(rows.keys[0]), "fresh")
    assert (sealed["sealed"], [row["name"] for row in sealed["rows"]]) == (
        *(True, ["p0", "p1", "p2", "p3"]),
    )
    rows.write()
    assert len(rows.keys) == 1  # not yet: it was written a moment ago
    rows.write(last=True)
    last = called(storage.get(rows.keys[1]), "fresh")
    assert (last["k"], last["sealed"], len(last["rows"])) == (1, False, 2)


def test_an_endless_run_stops_writing_rows_and_says_so(storage, monkeypatch):
    monkeypatch.setattr(fresh, "ROWS", 2)
    monkeypatch.setattr(fresh, "FILES", 3)
    rows = FreshRows(storage, "ab")
    for number in range(20):
        rows.add(record(number))
        rows.write()
    rows.write(last=True)
    assert len(rows.keys) == 3
    assert rows.truncated
    assert all(called(storage.get(key), "fresh")["sealed"] for key in rows.keys)


def test_rows_that_cannot_be_written_stay_few_and_come_later(storage, monkeypatch):
    monkeypatch.setattr(fresh, "ROWS", 4)
    problems = [LeaseLostError("it is another's")]

    def guard():
        if problems:
            raise problems[0]

    rows = FreshRows(storage, "ab", guard=guard)
    for number in range(20):
        rows.add(record(number))
        with pytest.raises(StorageError):
            rows.write(last=True)
    assert rows.truncated
    assert not rows.keys
    problems.clear()
    rows.write(last=True)
    names = [row["name"] for key in rows.keys for row in called(storage.get(key), "fresh")["rows"]]
    assert names == [f"p{n}" for n in range(8)]


def test_the_thread_is_woken_before_rows_are_left_out(storage):
    with LiveBoard(storage, lambda _: None, "harbour", "run-1") as board:
        for number in range(3 * fresh.ROWS):
            board.committed(record(number))
            if number % 250 == 249:
                wait_for(lambda: not board._fresh._waiting, 10)
    values = shown(storage)
    assert values["truncated"] is False
    assert values["fresh"] == [keys.fresh("run-1", k) for k in range(3)]


def test_a_gallery_replaces_the_rows(storage):
    rows = FreshRows(storage, "ab")
    rows.add(record())
    rows.write()

    def gallery(written):
        def write():
            rows.add(record(1))
            rows.write(last=True)  # as the board's thread may, meanwhile
            return written

        return write

    rows.replaced_by(gallery(False))
    assert len(called(storage.get(rows.keys[0]), "fresh")["rows"]) == 1
    rows.write(last=True)
    assert len(called(storage.get(rows.keys[0]), "fresh")["rows"]) == 2  # there is no other yet
    rows.replaced_by(gallery(True))
    assert rows.keys == ()
    storage.delete(keys.fresh("ab", 0))
    rows.write(last=True)
    assert not list(storage.list(keys.FRESH))


# --- runs ------------------------------------------------------------------------------------------

WATCHED = """
import pathlib, time
from cluster.driver.driver import Driver
from cluster.events import fresh, live
live.CANCEL_POLL_SECONDS = live.LIVE_SECONDS = fresh.REWRITE_SECONDS = 0.05
run = Driver.run
def run_and_wait(driver):
    counts = run(driver)
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return counts
Driver.run = run_and_wait
from cluster.cli.app import main
main()
"""
"""The command, which writes its gallery only when it is told to."""


@pytest.mark.parametrize("proof", [False, True])
def test_a_run_shows_its_rows_until_the_gallery_has_them(tmp_path, proof):
    job = write_job(tmp_path, photos=3, styles=1)
    command = [sys.executable, "-c", WATCHED, "run", str(job), "--pool", "inline", "--limit", "2"]
    command += ["--proof", "--proof-size", "32"] if proof else []
    out = FolderStorage(tmp_path / "out")
    at = FolderStorage(tmp_path / "out" / keys.PROOFS) if proof else out

    def rows_shown():
        values = at.stat(keys.LIVE) and shown(at)
        rows = [called(at.get(key), "fresh")["rows"] for key in values["fresh"]] if values else []
        # The rows may be newer than what was shown a moment before.
        return values if rows and len(rows[0]) == len(values["newest"]) == 2 else None

    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE)
    try:
        seen = wait_for(rows_shown, 60)
        # There is a page to look at them, though nothing has been counted into it.
        assert out.stat(keys.INDEX) is not None
        rows = called(at.get(seen["fresh"][0]), "fresh")["rows"]
        assert [(row["status"], row["proof"]) for row in rows] == [("done", proof)] * 2
        assert all(at.stat(row["key"]) is not None for row in rows)
        assert {row["id"] for row in seen["newest"]} == {row["id"] for row in rows}
    finally:
        (tmp_path / "go").touch()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"gallery: {out.url}/{keys.INDEX}" in said.decode()
    ended = shown(at)
    assert (ended["state"], ended["fresh"], len(ended["newest"])) == ("ended", [], 2)
    assert called(at.get(keys.LIVE_SCRIPT), "live") == ended
    assert not [*out.list(keys.FRESH), *at.list(keys.FRESH)]


def test_leftovers_of_a_killed_run_do_no_harm(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1)
    out = FolderStorage(tmp_path / "out")
    out.put(keys.fresh("0123456789abcdef", 0), b"stylefarm.fresh({")
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    assert not list(out.list(keys.FRESH))
    assert shown(out)["fresh"] == []
