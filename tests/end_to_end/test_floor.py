"""What befalls workers and machines in a whole run, on two nodes of different cards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.jobfile.job import Job
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from tests.support.cluster import Cluster, Run, chain_of, title, write_tasks
from tests.support.farm import HURRY, ROOT, hurry, wait_for, write_stand_in_job

pytestmark = pytest.mark.slow

STEPS = 400


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster(
        {"num_gpus": 1, "labels": {"memory-gb": "8"}},
        {"num_gpus": 2, "labels": {"memory-gb": "80"}},
    )
    yield made
    made.close()


def records_of(job: Job) -> list[TaskRecord]:
    return list(Records(open_storage(job.spec.output, base=job.base)).all())


def assert_undisturbed(job: Job, steps: int = STEPS) -> None:
    storage = open_storage(job.spec.output, base=job.base)
    for record in records_of(job):
        assert record.output is not None
        picture = json.loads(storage.get(record.output.key))
        assert picture["chain"] == chain_of(picture["n"], steps)


def at_work(run: Run, step: int = 0) -> dict[str, dict[str, Any]]:
    """What each worker paints, by its name, if that is beyond this step."""
    return {p["worker"]: p for p in run.painting() if p["step"] > step}


def test_larger_renders_are_painted_by_larger_cards(tmp_path: Path, cluster: Cluster) -> None:
    job = write_stand_in_job(
        tmp_path,
        # Until the smaller card is at work, too, which may be the last to be up.
        [{"steps": 100, "pace": 1.0, "hurry": HURRY, "n": k} for k in range(10)],
        pairs=[
            {
                "content": [f"c{k:03}.png" for k in range(10)],
                "style": "style.png",
                "sweep": {"size": [64, 8192]},
            }
        ],
    )
    run = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: len(at_work(run)) == 3, 120)
    hurry(job)

    assert run.wait(120) == 0, run.log.read_text()
    memory: dict[int, set[int | None]] = {64: set(), 8192: set()}
    for record in records_of(job):
        memory[record.recipe["size"]].add(record.attempts[-1].memory_bytes)
    assert memory[8192] == {80 * 10**9}
    assert 8 * 10**9 in memory[64]


def test_a_stopped_workers_task_is_done_elsewhere(tmp_path: Path, cluster: Cluster) -> None:
    job = write_tasks(tmp_path, 4, STEPS, pace=1.0, workers={"max": 2, "stall_timeout": 6})
    run = Run(tmp_path / "job.yaml", cluster.address)
    name, *_ = wait_for(lambda: at_work(run, 20), 60)
    stopped = int(name.rpartition(":")[2])

    os.kill(stopped, signal.SIGSTOP)
    wait_for(lambda: name in [e["worker"] for e in run.said("worker_lost")], 60)
    hurry(job)

    assert run.wait(120) == 0, run.log.read_text()
    # Another may have been so slow to answer that it was taken for stalled, too.
    lost = [(e["kind"], e["worker"]) for e in run.said("worker_lost")]
    assert ("stalled", name) in lost
    assert {kind for kind, _ in lost} == {"stalled"}
    assert len(run.said("done")) == 4
    assert all(event["worker"] != name for event in run.said("done"))
    assert_undisturbed(job)
    wait_for(lambda: not psutil.pid_exists(stopped) or not title(psutil.Process(stopped)), 20)


def test_a_picture_that_ends_or_holds_what_decodes_it_fails_alone(
    tmp_path: Path, cluster: Cluster
) -> None:
    bad = {1: "exit", 3: "kill", 5: "crash", 7: "hang", 9: "hold"}
    # Others may be in a worker at each of its deaths, so that three attempts could be too few for them.
    more = {"workers": {"max": 2, "stall_timeout": 5}, "retries": {"attempts": 5}}
    job = write_tasks(tmp_path, 12, 60, **more)
    for n, how in bad.items():
        (tmp_path / f"c{n:03}.png").write_text(json.dumps({"n": n, "decode": how}))
    run = Run(tmp_path / "job.yaml", cluster.address)

    assert run.wait(170) == 1, run.log.read_text()
    failed = {r.content: r.error or "" for r in records_of(job) if r.status == "failed"}
    assert sorted(failed) == [f"c{n:03}.png" for n in bad], failed
    for n, how in bad.items():
        said = f"content c{n:03}.png kills the process that decodes it: first a worker, then a"
        if how in ("hang", "hold"):
            said = f"s while it decoded content c{n:03}.png"
        assert said in failed[f"c{n:03}.png"], how
    assert "(exit status 7)" in failed["c001.png"]
    assert "SIGSEGV" in failed["c005.png"]
    done = [record for record in records_of(job) if record.status == "done"]
    assert len(done) == 7
    for record in done:
        assert record.output is not None
        picture = json.loads(FolderStorage(tmp_path / "out").get(record.output.key))
        assert picture["chain"] == chain_of(picture["n"], 60)


def test_a_node_that_is_taken_away_hands_its_tasks_to_others(
    tmp_path: Path, cluster: Cluster
) -> None:
    going = cluster.add(num_gpus=2, labels={"memory-gb": "80"})
    # Longer than all that is to be seen of it.
    steps = 10 * STEPS
    job = write_tasks(tmp_path, 5, steps, pace=0.1)
    run = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: len(cluster.workers(going)) == 2, 60)
    there = [worker.pid for worker in cluster.workers(going)]

    def is_there(picture: dict[str, Any]) -> bool:
        return int(picture["worker"].rpartition(":")[2]) in there

    wait_for(lambda: any(p["step"] > 20 and is_there(p) for p in run.painting()), 60)

    subprocess.run(
        [sys.executable, "-m", "cluster.leave", "--seconds", "30", "--node-id", going.node_id],
        cwd=ROOT,
        check=True,
    )
    left = [w for w in cluster.workers(going) if w.is_running()]
    cluster.remove(going, graceful=False)

    assert left == []
    begun = {p["task_id"] for beat in run.said("progress") for p in beat["running"] if is_there(p)}

    def is_handed_over() -> bool:
        """Whether one that stayed paints what those had begun; whatever else it paints is hurried."""
        others = [p for p in run.painting() if not is_there(p)]
        for picture in others:
            if picture["task_id"] not in begun:
                hurry(job, int(picture["name"][1:4]))
        return any(p["task_id"] in begun and p["step"] > 20 for p in others)

    wait_for(is_handed_over, 120)
    hurry(job)
    assert run.wait(120) == 0, run.log.read_text()
    # One that had given all back before its run heard of the node is not lost.
    assert {e["kind"] for e in run.said("worker_lost")} <= {"preempted"}
    assert len(run.said("done")) == 5
    records = records_of(job)
    moved = [record for record in records if len(record.attempts) > 1]
    assert moved
    # Nobody's attempts were used up, and what moved went on from its checkpoint.
    assert {a.id.partition("-")[0] for record in records for a in record.attempts} == {"1"}
    beats = [p for beat in run.said("progress") for p in beat["running"] if p["step"]]
    for record in moved:
        *_, before, after = (attempt.worker for attempt in record.attempts)
        own = [p for p in beats if p["task_id"] == record.id]
        reached = max((p["step"] for p in own if p["worker"] == before), default=0)
        assert all(p["step"] >= reached for p in own if p["worker"] == after)
    assert any(
        p["task_id"] == r.id and p["worker"] == r.attempts[-1].worker for r in moved for p in beats
    )
    assert_undisturbed(job, steps)


def test_sigterm_on_the_driver_keeps_checkpoints_and_the_next_run_goes_on(
    tmp_path: Path, cluster: Cluster
) -> None:
    steps = 3 * STEPS
    job = write_tasks(tmp_path, 3, steps, pace=0.1)
    first = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: len(at_work(first, 20)) == 3, 60)

    first.process.terminate()
    assert first.wait(30) == 130, first.log.read_text()
    kept = {s.key for s in FolderStorage(tmp_path / "out").list("checkpoints/")}
    second = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: len(at_work(second)) == 3, 60)
    hurry(job)

    assert second.wait(120) == 0, second.log.read_text()
    assert first.said("draining")[0]["leaving"]
    assert first.said("finished")[0]["reason"] == "preempted"
    assert not first.said("failed")
    assert len(kept) == 3
    # It goes on from where they were: nobody is seen at an earlier step.
    assert min(p["step"] for b in second.said("progress") for p in b["running"] if p["step"]) >= 20
    assert_undisturbed(job, steps)
    wait_for(lambda: not cluster.workers(), 20)


def test_the_end_of_a_job_is_not_as_long_as_the_longest_queue(
    tmp_path: Path, cluster: Cluster
) -> None:
    """The first worker that is up takes all; the others get what waits there."""
    job = write_tasks(tmp_path, 3, STEPS, pace=0.5)
    run = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: len(at_work(run)) == 3, 120)
    hurry(job)

    assert run.wait(120) == 0, run.log.read_text()
    done = run.said("done")
    assert len({event["worker"] for event in done}) == 3
