"""Runs that wait for another run of their output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.schedule.history import History, Tick
from jobs.jobfile.job import open_output
from jobs.jobfile.parse import read_job
from jobs.storage.lease import Lease
from tests.support.farm import command, picture, records_of, stylefarm, wait_for, write_job


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return write_job(tmp_path, photos=1, styles=1)


@contextlib.contextmanager
def held(job: Path) -> Iterator[Lease]:
    """Another run has the job's output."""
    lease = Lease(open_output(read_job(job))).acquire()
    try:
        yield lease
    finally:
        lease.release()


@contextlib.contextmanager
def begun(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_event(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    event: dict[str, object] = json.loads(process.stdout.readline())
    return event


def test_a_run_that_waits_renders_what_is_to_do_then(job: Path) -> None:
    with contextlib.ExitStack() as stack:
        with held(job):
            process = stack.enter_context(
                begun("run", job, "--pool=inline", "--wait=10m", "--json")
            )
            waits = next_event(process)
            assert waits["event"] == "output_held"
            assert f"(process {os.getpid()})" in str(waits["reason"])
            # What is left of it: a machine that is slow had it wait before it could say so.
            assert 0 < float(str(waits["patience"])) <= 600
            # A picture that comes while it waits is rendered, too.
            picture(7).save(job.parent / "photos" / "late.png")
            time.sleep(1)
            assert records_of(job) == {}
        assert next_event(process)["event"] == "started"
        process.communicate(timeout=150)
        assert process.returncode == 0
    assert [record.status for record in records_of(job).values()] == ["done", "done"]


def test_a_wait_that_is_too_long_ends_with_the_reason(job: Path) -> None:
    with held(job):
        ran = stylefarm("run", job, "--pool=inline", "--wait=1s")
    assert ran.returncode == 3
    waits, reason = ran.stderr.splitlines()[-2:]
    assert waits.startswith("waiting for up to")
    assert "An output takes one run at a time; wait for that one (run --wait forever)" in reason
    assert records_of(job) == {}


def test_ctrl_c_ends_the_wait(job: Path) -> None:
    with held(job) as lease, begun("run", job, "--pool=inline", "--wait=forever") as process:
        assert process.stderr is not None
        assert "press Ctrl-C to wait no longer" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        lease.guard()


@pytest.mark.parametrize("wait", ["soon", "-1", "1y", "5 minutes"])
def test_how_long_must_be_a_duration(job: Path, wait: str) -> None:
    ran = stylefarm("run", job, f"--wait={wait}")
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1] == (
        f"--wait {wait} is no duration: give seconds, a number with s, m, h or d, such as 30m, or forever"
    )


@pytest.mark.slow
def test_a_tick_waits_for_a_run_by_hand(tmp_path: Path, job: Path) -> None:
    job.write_text(job.read_text() + yaml.safe_dump({"schedule": {"every": "3s"}}))
    state = tmp_path / "state"
    history = History(state / "history.jsonl")

    def ticks(outcome: str) -> list[Tick]:
        return [tick for tick in history.ticks() if tick.outcome == outcome]

    with held(job):
        clock = subprocess.Popen(command("schedule", job, "--state", state, "--pool=inline"))
        wait_for(lambda: any("output_held" in log.read_text() for log in state.rglob("*.log")))
        wait_for(lambda: ticks("skipped"))  # another tick, while the first one waits
    try:
        assert wait_for(lambda: ticks("done"))[0].done == 1
        # One that this machine had no time for is missed.
        assert {tick.outcome for tick in history.ticks()} <= {"done", "skipped", "missed"}
    finally:
        clock.terminate()
        clock.wait(60)
