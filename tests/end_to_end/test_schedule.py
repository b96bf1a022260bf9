"""Jobs on the clock, for real: a service with a schedule of a second that is overtaken, killed and started
again."""

from __future__ import annotations

import calendar
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cluster.schedule.history import History, Tick
from tests.support.farm import (
    PATIENCE,
    ROOT,
    command,
    picture,
    records_of,
    stylefarm,
    wait_for,
    write_job,
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Start]:
    """Starts the clock; whatever is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str | Path) -> subprocess.Popen[str]:
        log = (tmp_path / "clock.log").open("a")
        words = [sys.executable, "-m", "tests.support.clock", tmp_path / "state"]
        started.append(
            subprocess.Popen(
                [*map(str, words), *map(str, options)], cwd=ROOT, stdout=log, stderr=log, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    for mark in runs(tmp_path):
        with contextlib.suppress(psutil.Error):
            psutil.Process(mark["pid"]).kill()


def a_job(folder: Path, **schedule: Any) -> Path:
    (folder / "job").mkdir(exist_ok=True)
    said = {
        "name": "harbour",
        "output": schedule.pop("output", "out"),
        "pairs": [{"content": "a.jpg", "style": "b.jpg"}],
        "schedule": {"every": "1s", **schedule},
    }
    file = folder / "job" / "job.yaml"
    file.write_text(yaml.safe_dump(said))
    return file


def told(folder: Path) -> list[Tick]:
    return list(History(folder / "state" / "history.jsonl").ticks())


def outcomes(folder: Path) -> list[str]:
    return [tick.outcome for tick in told(folder)]


def ticks(folder: Path) -> list[dict[str, Any]]:
    """What the ticks themselves say, in the order in which they ended."""
    file = folder / "job" / "ticks.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def runs(folder: Path) -> list[dict[str, Any]]:
    """What the clock keeps of what runs."""
    files = (folder / "state" / "jobs").glob("*.json")
    return [mark for file in files for mark in json.loads(file.read_text())["runs"]]


def overlap(found: list[dict[str, Any]]) -> bool:
    spans = sorted((t["began"], t["ended"]) for t in found)
    return any(a[1] > b[0] for a, b in itertools.pairwise(spans))


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(PATIENCE * 30)


@contextlib.contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """While entered, no thread of this child does anything."""
    process.send_signal(signal.SIGSTOP)
    seen = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert seen is not None
    assert seen.si_code == os.CLD_STOPPED
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def at_work(folder: Path) -> dict[str, Any]:
    """The only run that there is, once it has a process."""
    (mark,) = wait_for(lambda: (found := runs(folder)) and found[0]["pid"] and found, 30)
    return mark


def test_forbid_skips_what_comes_while_one_runs_and_says_so(tmp_path, farm):
    clock = farm(a_job(tmp_path, concurrency_policy="forbid"), "--seconds", "1.5")

    wait_for(lambda: outcomes(tmp_path).count("done") >= 2 and "skipped" in outcomes(tmp_path), 30)
    assert end(clock) == 0

    assert not overlap(ticks(tmp_path))
    skipped = next(tick for tick in told(tmp_path) if tick.outcome == "skipped")
    assert "was still running" in (skipped.reason or "")
    # Every tick is accounted for, once: a second lies between any two. A machine that is slow misses some.
    planned = [
        calendar.timegm(time.strptime(tick.planned, "%Y-%m-%dT%H:%M:%SZ")) + n
        for tick in told(tmp_path)
        for n in range(tick.count)
    ]
    assert sorted(planned) == [*range(min(planned), min(planned) + len(planned))]


def test_replace_stops_the_one_before_at_a_checkpoint(tmp_path, farm):
    clock = farm(a_job(tmp_path, concurrency_policy="replace"), "--seconds", "60")

    wait_for(lambda: outcomes(tmp_path).count("replaced") >= 2, 30)
    wait_for(lambda: [bool(mark["pid"]) for mark in runs(tmp_path)] == [True], 30)
    assert end(clock) == 0

    assert not overlap(ticks(tmp_path))
    assert {t["reason"] for t in ticks(tmp_path)} == {"preempted"}
    # The one that ran in the end; or it was just being replaced.
    assert outcomes(tmp_path)[-1] in ("interrupted", "replaced")
    assert not runs(tmp_path)


def test_allow_lets_them_run_side_by_side(tmp_path, farm):
    job = a_job(tmp_path, concurrency_policy="allow", output="out/{time}")
    clock = farm(job, "--seconds", "3")

    wait_for(lambda: outcomes(tmp_path).count("done") >= 2 and overlap(ticks(tmp_path)), 40)
    assert end(clock) == 0

    # A machine that is slow misses some.
    assert set(outcomes(tmp_path)) <= {"done", "interrupted", "missed"}


def test_a_clock_that_was_killed_knows_its_run_again_and_makes_up_for_one_tick(tmp_path, farm):
    job = a_job(tmp_path, concurrency_policy="forbid", starting_deadline="10m")
    log = tmp_path / "clock.log"
    clock = farm(job, "--seconds", "600")
    mark = at_work(tmp_path)
    clock.kill()
    clock.wait()
    time.sleep(2.5)  # for two ticks

    clock = farm(job, "--seconds", "0.1")
    wait_for(lambda: "still runs, started by an earlier service" in log.read_text(), 40)
    wait_for(lambda: {"missed", "skipped"} <= set(outcomes(tmp_path)), 40)
    (tmp_path / "job" / "enough").touch()
    wait_for(lambda: outcomes(tmp_path).count("done") >= 2, 40)
    assert end(clock) == 0

    # The run of before went on by itself, and its end was seen.
    first = next(tick for tick in told(tmp_path) if tick.planned == mark["planned"])
    assert (first.outcome, first.done) == ("done", 1)
    assert sum(t["planned"].startswith(mark["planned"][:19]) for t in ticks(tmp_path)) == 1
    assert not overlap(ticks(tmp_path))
    # Of those that were missed the latest came while it still ran; the others are told.
    missed = [tick for tick in told(tmp_path) if tick.outcome == "missed"]
    assert sum(tick.count for tick in missed) >= 1


def test_a_run_that_died_with_its_clock_was_interrupted_and_the_latest_tick_is_made_up_for(
    tmp_path, farm
):
    job = a_job(tmp_path, starting_deadline="10m")
    clock = farm(job, "--seconds", "600")
    mark = at_work(tmp_path)
    clock.kill()
    clock.wait()
    os.kill(mark["pid"], signal.SIGKILL)
    # On a machine that is slow the first clock has missed some, too.
    before = outcomes(tmp_path).count("missed")
    time.sleep(2.5)  # for two ticks

    clock = farm(job, "--seconds", "0.1")
    wait_for(lambda: outcomes(tmp_path).count("missed") > before, 40)
    up = time.time()
    wait_for(lambda: "done" in outcomes(tmp_path), 40)
    assert end(clock) == 0

    assert [tick.outcome for tick in told(tmp_path) if tick.planned == mark["planned"]] == [
        "interrupted"
    ]
    made_up_for = ticks(tmp_path)[0]
    due = time.mktime(time.strptime(made_up_for["planned"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert due - time.timezone <= up  # it was due before the clock was there again
    missed = [tick for tick in told(tmp_path) if tick.outcome == "missed"][before]
    assert missed.count >= 1


def test_what_was_missed_for_longer_than_the_deadline_is_told_and_not_run(tmp_path, farm):
    job = a_job(tmp_path, starting_deadline="1s")
    # Due long ago, and not again soon.
    text = job.read_text().replace("every: 1s", "every: 1d")
    job.write_text(text)
    clock = farm(job)
    wait_for(lambda: "next at" in (tmp_path / "clock.log").read_text(), 30)
    end(clock)
    (state,) = (tmp_path / "state" / "jobs").glob("*.json")
    known = json.loads(state.read_text())
    known["seen"] = "2026-01-01T00:00:00+00:00"
    state.write_text(json.dumps(known))

    clock = farm(job)
    wait_for(lambda: outcomes(tmp_path), 30)
    assert end(clock) == 0

    (missed,) = told(tmp_path)
    assert (missed.outcome, missed.planned) == ("missed", "2026-01-02T00:00:00Z")
    assert missed.count > 300
    assert "later than starting_deadline" in (missed.reason or "")
    assert ticks(tmp_path) == []
    # Told once.
    clock = farm(job)
    wait_for(lambda: (tmp_path / "clock.log").read_text().count("next at") == 3, 30)
    end(clock)
    assert len(told(tmp_path)) == 1


def test_a_tick_that_fails_stops_none_after_it(tmp_path, farm):
    clock = farm(a_job(tmp_path), "--status", "3", "--seconds", "0.1")

    wait_for(lambda: outcomes(tmp_path).count("failed") >= 2, 30)
    assert end(clock) == 0

    tick = next(tick for tick in told(tmp_path) if tick.outcome == "failed")
    assert (tick.exit_status, tick.reason) == (3, "nothing of this works")
    assert Path(tick.log or "").read_text() == "nothing of this works\n"


def test_ctrl_c_lets_what_runs_be_committed_and_twice_stores_checkpoints(tmp_path, farm):
    job, log = a_job(tmp_path, starting_deadline="1s"), tmp_path / "clock.log"
    asked, enough = tmp_path / "job" / "asked", tmp_path / "job" / "enough"
    clock = farm(job, "--seconds", "600")
    at_work(tmp_path)
    clock.send_signal(signal.SIGINT)
    wait_for(asked.exists)
    assert clock.poll() is None
    assert ticks(tmp_path) == []  # it goes on, until it has done what it does
    enough.touch()
    assert clock.wait(PATIENCE * 30) == 130
    assert ticks(tmp_path)[-1]["reason"] == "interrupted"
    enough.unlink()

    clock = farm(job, "--seconds", "600")
    at_work(tmp_path)
    clock.send_signal(signal.SIGINT)
    wait_for(lambda: log.read_text().count("press Ctrl-C again to stop now") == 2)
    assert clock.poll() is None
    assert end(clock, signal.SIGINT) == 130
    assert ticks(tmp_path)[-1]["reason"] == "preempted"
    assert runs(tmp_path) == []


def test_a_job_file_is_read_again_and_a_broken_one_is_told(tmp_path, farm):
    job = a_job(tmp_path)
    job.write_text(job.read_text().replace("every: 1s", "every: 1d"))
    clock = farm(job, "--seconds", "0.1")
    log = tmp_path / "clock.log"
    wait_for(lambda: "next at" in log.read_text(), 30)

    job.write_text(job.read_text().replace("every: 1d", "every: soon"))
    wait_for(lambda: "'soon' is not a duration" in log.read_text(), 30)
    assert ticks(tmp_path) == []
    job.write_text(job.read_text().replace("every: soon", "every: 1s"))
    wait_for(lambda: "done" in outcomes(tmp_path), 30)

    assert end(clock) == 0


def test_only_one_clock_works_in_a_folder(tmp_path, farm):
    job = a_job(tmp_path)
    job.write_text(job.read_text().replace("every: 1s", "every: 1d"))
    clock = farm(job)
    wait_for(lambda: "next at" in (tmp_path / "clock.log").read_text(), 30)

    other = stylefarm("schedule", job, "--state", tmp_path / "state")

    assert (other.returncode, other.stderr.count("Traceback")) == (2, 0)
    assert "another stylefarm schedule is using" in other.stderr
    assert end(clock) == 0


@pytest.mark.slow
def test_each_tick_renders_what_is_new_or_changed(tmp_path):
    job = write_job(
        tmp_path, photos=1, styles=1, schedule={"every": "2s", "time_zone": "Europe/Rome"}
    )
    state = ("--state", tmp_path / "state")
    log = (tmp_path / "clock.log").open("w")
    clock = subprocess.Popen(
        command("schedule", job, "--pool", "inline", *state),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=log,
        text=True,
    )

    def rendered() -> dict[str, float]:
        return {name.split("|")[0]: r.finished for name, r in records_of(job).items()}

    def looked() -> int:
        return outcomes(tmp_path).count("done")

    def put(seed: int, name: str) -> None:
        # A tick may read at any moment: the picture is there at once, or not yet.
        picture(seed).save(tmp_path / name)
        (tmp_path / name).replace(tmp_path / "photos" / name)

    try:
        wait_for(lambda: looked() >= 1 and rendered(), 90)
        first = rendered()["p0.png"]
        os.utime(tmp_path / "photos" / "p0.png")  # touched, which is no change
        put(7, "new.png")
        new = wait_for(lambda: rendered().get("new.png"), 90)
        assert rendered()["p0.png"] == first  # what is done stays
        put(8, "p0.png")
        wait_for(lambda: rendered().get("p0.png", first) != first, 90)
        # The run that rendered it may have begun before the picture was there: one more has seen all.
        again, before = rendered(), looked()
        wait_for(lambda: looked() >= before + 2, 90)
        assert rendered() == again
        assert again["new.png"] == new
    finally:
        clock.terminate()
        status = clock.wait(PATIENCE * 60)
    assert status == 0, (tmp_path / "clock.log").read_text()
    shown = stylefarm("schedule", "--history", *state, COLUMNS="200").stdout
    assert re.search(r"test +\d{4}-\d\d-\d\d .* done ", shown)
    assert "log of the last run:" in shown
    listed = stylefarm("schedule", job, "--history", "--json", *state).stdout.splitlines()
    # One that this machine had no time for is missed.
    expected = {"done", "skipped", "missed", "interrupted"}
    assert {json.loads(line)["outcome"] for line in listed} <= expected
    assert stylefarm("schedule", "other.yaml", "--history", "--json", *state).stdout == ""


def test_what_is_asked_wrongly_is_told_in_a_sentence(tmp_path):
    plain = write_job(tmp_path)
    for arguments, said in (
        ((), "name at least one job file"),
        ((plain,), "job.yaml:1: schedule: is not given"),
        ((plain, "--to", tmp_path), "need --export"),
        ((plain, "--next", "2", "--to", tmp_path), "need --export"),
        ((plain, "--pool", "inline", "--address", "http://head:8265"), "would have no effect"),
        ((plain, "--pool", "inline", "--workers", "2"), "would have no effect"),
        ((plain, "--address", "nonsense:::1"), "is not a cluster"),
        ((plain, "--ship-inputs"), "needs an --address"),
        ((plain, "--json"), "--json needs --history or --next"),
        ((plain, "--history", "--next", "2"), "give one of them"),
        ((plain, "--export", "systemd"), "schedule: is not given"),
        ((tmp_path / "none.yaml",), "cannot be read"),
    ):
        ran = stylefarm("schedule", *arguments, "--state", tmp_path / "state")
        assert (ran.returncode, ran.stderr.count("Traceback")) == (2, 0), ran.stderr
        assert said in ran.stderr, ran.stderr


def test_the_next_ticks_are_shown_and_exports_are_written(tmp_path):
    job = a_job(tmp_path)
    job.write_text(
        job.read_text().replace("every: 1s", "cron: 30 2 * * *\n  time_zone: Europe/Rome")
    )

    shown = stylefarm("schedule", job, "--next", "3").stdout.splitlines()
    assert len(shown) == 3
    assert all(re.fullmatch(r"harbour  \S+ 02:30:00 CES?T  \S+ 0[01]:30:00 UTC", s) for s in shown)
    made = stylefarm("schedule", job, "--export", "systemd", "--to", tmp_path / "units")
    assert made.returncode == 0, made.stderr
    assert {p.name for p in (tmp_path / "units").iterdir()} == {
        "stylefarm-harbour.service",
        "stylefarm-harbour.timer",
    }
    printed = stylefarm("schedule", job, "--export", "systemd").stdout
    assert "OnCalendar=*-*-* 02:30:00 Europe/Rome" in printed


def test_a_state_that_cannot_be_written_is_told_and_nothing_is_lost(tmp_path, farm):
    clock = farm(a_job(tmp_path), "--seconds", "0.1")
    wait_for(lambda: "done" in outcomes(tmp_path), 30)
    jobs, log = tmp_path / "state" / "jobs", tmp_path / "clock.log"

    with stopped(clock):
        jobs.rename(tmp_path / "elsewhere")
        jobs.write_text("in the way")
    wait_for(lambda: "it is tried again every 1 s" in log.read_text(), 30)
    time.sleep(2.5)  # for two more ticks
    ended = outcomes(tmp_path).count("done")
    with stopped(clock):
        jobs.unlink()
        (tmp_path / "elsewhere").rename(jobs)
    wait_for(lambda: outcomes(tmp_path).count("done") >= ended + 2, 30)

    assert end(clock) == 0
    assert "Traceback" not in log.read_text()
    # Those that could not be begun are told as missed.
    assert sum(tick.count for tick in told(tmp_path) if tick.outcome == "missed") >= 1
