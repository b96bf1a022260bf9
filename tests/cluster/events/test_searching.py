"""How far a film is looked through for cuts is told, and the looking ends when the run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

import cluster.events.searching
from cluster.events.events import Event, FilmSearched
from cluster.events.searching import Searching
from cluster.open_job import open_agenda
from jobs.jobfile.job import Job
from jobs.jobfile.load import load_job
from jobs.records.statuses import Ledger
from tests.support.farm import ROOT, command, write_job

FRAMES = 12


def job_of(folder: Path, frames: int, size: tuple[int, int] = (32, 18)) -> Job:
    (folder / "shots").mkdir()
    for number in range(frames):
        name = folder / f"shots/a.{number:04}.png"
        if number and size != (32, 18):
            name.hardlink_to(folder / "shots/a.0000.png")
        else:
            Image.new("RGB", size, (number, 9, 9)).save(name)
    pairs = [{"film": "shots/a.####.png", "style": "styles/s0.png"}]
    return load_job(write_job(folder, photos=0, styles=1, pairs=pairs))


def search(job: Job, watch: Searching) -> None:
    agenda = open_agenda(job, watch)
    agenda.census(Ledger.of({}))
    agenda.close()


def test_how_far_it_is_is_told_until_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster.events.searching, "TELL_SECONDS", 0.0)
    job = job_of(tmp_path, FRAMES)
    told: list[Event] = []
    search(job, Searching(told.append))
    steps = [(event.looked_at, event.frames) for event in told if isinstance(event, FilmSearched)]
    assert steps == [(number + 1, FRAMES) for number in range(FRAMES)]
    search(job, Searching(told.append))
    assert len(told) == FRAMES  # what was found is kept


def test_what_takes_no_time_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster.events.searching, "TELL_SECONDS", 3600.0)
    told: list[Event] = []
    search(job_of(tmp_path, FRAMES), Searching(told.append))
    assert told == []


def test_other_threads_are_told_of_by_the_one_that_listens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster.events.searching, "TELL_SECONDS", 0.0)
    told: list[Event] = []
    watch = Searching(told.append)

    def look(count: int) -> None:
        thread = threading.Thread(target=lambda: watch("a", count, 3))
        thread.start()
        thread.join()

    look(1)
    look(2)
    assert told == []
    watch.tell()
    watch.tell()
    look(3)
    watch.tell()
    assert [event.looked_at for event in told if isinstance(event, FilmSearched)] == [2, 3]
    watch.end()
    with pytest.raises(KeyboardInterrupt):
        watch("a", 1, 3)


def test_what_has_taken_no_time_is_not_told_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster.events.searching, "TELL_SECONDS", 0.0)
    told: list[Event] = []
    watch = Searching(told.append)
    thread = threading.Thread(target=lambda: watch("a", 3, 3))
    thread.start()
    thread.join()
    watch.tell()
    assert told == []


def test_ctrl_c_ends_a_run_that_looks_for_cuts(tmp_path: Path):
    job = job_of(tmp_path, 2000, (1600, 900))
    run = subprocess.Popen(
        command("run", job.file, "--pool", "inline", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert run.stdout is not None
    assert json.loads(run.stdout.readline())["event"] == "started"
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=180)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("stopped; what is committed stays")
    # It did not look to the end, which takes minutes.
    assert not list(tmp_path.glob("out/films/*/cuts.json"))
