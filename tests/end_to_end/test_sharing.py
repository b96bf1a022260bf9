"""Several runs on one cluster: each has its share, and what it gives back costs nothing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.events.live import read_live
from jobs.errors import ExitStatus
from jobs.jobfile.job import Job
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from tests.support.cluster import Cluster, Run, chain_of, title, write_tasks
from tests.support.displays import Stream, started
from tests.support.farm import PATIENCE, ROOT, command, hurry, stylefarm, wait_for, write_job

pytestmark = pytest.mark.slow

STEPS = 3000

PACE = 0.1
"""Seconds of a step: a render lasts longer than all that is to be seen of it, unless it is told to hurry."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster({"num_gpus": 2}, {"num_gpus": 2})
    yield made
    made.close()


def records_of(job: Job) -> list[TaskRecord]:
    return list(Records(open_storage(job.spec.output, base=job.base)).all())


def assert_undisturbed(job: Job) -> None:
    """Every picture is that of a render that nobody interrupted, and no attempt is held against a task."""
    storage = open_storage(job.spec.output, base=job.base)
    records = records_of(job)
    assert {record.status for record in records} == {"done"}
    for record in records:
        assert record.output is not None
        picture = json.loads(storage.get(record.output.key))
        assert picture["chain"] == chain_of(picture["n"], STEPS)


def managers(cluster: Cluster) -> list[psutil.Process]:
    return [p for p in cluster.processes() if title(p).startswith("ray::ManagerActor")]


def workers(run: Run) -> int:
    beats = run.said("progress")
    return beats[-1]["workers"] if beats else 0


def test_two_runs_share_and_the_second_gives_back(tmp_path: Path, cluster: Cluster) -> None:
    first_job = write_tasks(tmp_path / "first", 20, STEPS, pace=PACE, name="first")
    second_job = write_tasks(tmp_path / "second", 6, STEPS, pace=PACE, name="second")
    first = Run(tmp_path / "first" / "job.yaml", cluster.address)
    wait_for(lambda: workers(first) == 4, 120)
    second = Run(tmp_path / "second" / "job.yaml", cluster.address)

    wait_for(lambda: (workers(first), workers(second)) == (2, 2), 120)
    # Without the manager all goes on, and another one takes its place.
    (manager,) = managers(cluster)
    manager.kill()
    wait_for(lambda: managers(cluster) not in ([], [manager]), 60)
    hurry(second_job)
    assert second.wait(120) == 0, second.log.read_text()
    wait_for(lambda: workers(first) == 4, 60)
    hurry(first_job)
    assert first.wait(120) == 0, first.log.read_text()
    for job in (first_job, second_job):
        assert_undisturbed(job)
    shares = [event["workers"] for event in first.said("share")]
    assert 2 in shares
    waits = [event["waits"] for event in first.said("progress") if event["waits"]]
    assert "waits for GPUs: 2 held by second (normal)" in waits
    # Once it knew its share, it asked for no worker that it was not to have.
    known = second.said("share")[0]["at"]
    beats = [beat for beat in second.said("progress") if beat["at"] > known]
    assert max(beat["workers"] + beat["pending"] for beat in beats) == 2


def test_an_urgent_run_comes_at_once_and_takes_no_step_back(
    tmp_path: Path, cluster: Cluster
) -> None:
    low_job = write_tasks(tmp_path / "low", 4, STEPS, pace=PACE, name="low", priority="low")
    urgent_job = write_tasks(
        tmp_path / "urgent", 3, STEPS, pace=PACE, name="urgent", priority="urgent"
    )

    low = Run(tmp_path / "low" / "job.yaml", cluster.address)

    def beyond_two_checkpoints() -> int:
        return sum(picture["step"] > 20 for picture in low.painting())

    wait_for(lambda: beyond_two_checkpoints() == 4, 120)
    urgent = Run(tmp_path / "urgent" / "job.yaml", cluster.address)

    wait_for(lambda: (len(urgent.painting()), workers(low)) == (3, 1), 120)
    hurry(urgent_job)
    assert urgent.wait(120) == 0, urgent.log.read_text()
    wait_for(lambda: beyond_two_checkpoints() == 4, 120)
    hurry(low_job)
    assert low.wait(120) == 0, low.log.read_text()
    assert_undisturbed(low_job)
    assert_undisturbed(urgent_job)
    assert low.said("worker_lost") == low.said("retry") == []
    # No step before a stored checkpoint is made again: there is one every ten.
    made: dict[str, int] = {}
    for beat in low.said("progress"):
        for picture in beat["running"]:
            assert picture["step"] >= made.get(picture["task_id"], 0) - 10
            made[picture["task_id"]] = picture["step"]


def test_a_run_that_is_held_begins_when_it_is_resumed(tmp_path: Path) -> None:
    file = write_job(tmp_path, photos=1, styles=1)
    log = tmp_path / "stderr.txt"
    run = subprocess.Popen(
        [*command("run", file, "--pool", "inline", "--hold")], cwd=ROOT, stderr=log.open("w")
    )
    try:
        storage = FolderStorage(tmp_path / "out")
        wait_for(lambda: (live := read_live(storage)) and live.waits.startswith("paused by "), 60)
        watched = subprocess.Popen(
            command("status", file, "--watch"), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        # Another wish leaves it held.
        assert stylefarm("set", file, "--priority", "low").returncode == 0
        wait_for(lambda: "asked by" in log.read_text())
        assert run.poll() is None
        assert not records_of(load_job(file))
        assert stylefarm("resume", file).returncode == 0
        assert run.wait(PATIENCE * 60) == 0
        seen, _ = watched.communicate(timeout=PATIENCE * 30)
        assert watched.returncode == 0
        assert "ended after" in seen
        assert "1 done, 0 failed, 0 left" in seen
    finally:
        run.kill()
        run.wait()
    assert [record.status for record in records_of(load_job(file))] == ["done"]


def test_a_run_is_paused_changed_and_resumed(tmp_path: Path, cluster: Cluster) -> None:
    job = write_tasks(tmp_path, 8, STEPS, pace=PACE, name="long")
    file = tmp_path / "job.yaml"
    asked = stylefarm("pause", file)
    assert asked.returncode == ExitStatus.USAGE
    assert "no run is working on" in asked.stderr

    run = Run(file, cluster.address)
    wait_for(lambda: len(run.painting()) == 4, 120)
    asked = stylefarm("pause", file)
    assert (asked.returncode, asked.stderr) == (
        0,
        "the run is asked to pause; it follows within seconds\n",
    )
    wait_for(lambda: run.said("progress")[-1]["waits"].startswith("paused by "), 60)
    wait_for(lambda: workers(run) == 0 and not cluster.workers(), 60)
    # Somebody watches, and goes on watching when the manager is killed.
    terminal = Stream("terminal")
    words = command("floor", "--address", cluster.address, "--watch")
    with started(words, terminal, Stream("normal"), folder=ROOT, COLUMNS="200") as watched:
        terminal.release()
        shown = wait_for(lambda: re.search(r"^long +normal +1 +0 .*", terminal.so_far(), re.M))
        for process in managers(cluster):
            process.kill()
        asked = stylefarm("set", file, "--workers", "2", "--priority", "high")
        wait_for(lambda: re.search(r"^long +high +1 +0 ", terminal.so_far(), re.M))
        watched.send_signal(signal.SIGINT)
        assert watched.wait(PATIENCE * 60) == 0

    assert "paused by" in shown[0]
    assert (asked.returncode, asked.stderr) == (
        0,
        "the run is asked for priority high and at most 2 workers, when it is resumed; it follows within "
        "seconds\n",
    )
    assert not run.said("done")
    assert not cluster.workers()
    asked = stylefarm("resume", file)
    assert "asked to go on, at most 2 workers, priority high" in asked.stderr
    wait_for(lambda: workers(run) == 2, 120)
    table = json.loads(stylefarm("floor", "--address", cluster.address, "--json").stdout)
    assert [(row["job"], row["priority"], row["wanted"]) for row in table["runs"]] == [
        ("long", 75, 2)
    ]
    assert stylefarm("set", file, "--workers", "4").returncode == 0
    wait_for(lambda: len(run.painting()) == 4, 120)
    hurry(job)
    assert run.wait(120) == 0, run.log.read_text()
    assert_undisturbed(job)
    assert not (tmp_path / "out" / "wishes.json").exists()
