"""The floor on a real Ray with eight logical GPUs: pinning, loss, replacement."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from cluster.messages import Outcome, WorkerSetup
from cluster.pool import PREFETCH, Lost
from cluster.run import open_agenda
from jobs.errors import ClusterError
from jobs.spec import Workers
from tests.farm import ROOT, STAND_IN, wait_for, write_stand_in_job

ray = pytest.importorskip("ray")

from cluster.ray_pool import Layout, RayPool, connect, lay_out  # noqa: E402

GPUS = 8


@pytest.fixture(scope="module")
def eight_gpus() -> Iterator[None]:
    """Ray with eight GPUs that exist on paper: it counts and pins them like real ones."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=GPUS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def make_pool(tmp_path, eight_gpus):
    pools = []

    def make(directives, renderer=STAND_IN, **wanted):
        job = write_stand_in_job(tmp_path, directives)
        setup = WorkerSetup(
            output=str(tmp_path / "out"),
            storage=job.spec.storage,
            base=str(tmp_path),
            inputs=job.spec.inputs,
            image=job.spec.image,
            losses_every=1,
            renderer=renderer,
        )
        pool = RayPool(setup, Workers.model_validate(wanted))
        pools.append(pool)
        return pool, list(open_agenda(job).tasks())

    yield make
    for pool in pools:
        pool.close()


def up(pool, count):
    """Wait until so many workers are up; what ended meanwhile is returned."""
    ended = []
    wait_for(lambda: ended.extend(pool.wait(0.2)) or pool.workers == count, 90)
    return ended


def finish(pool, count):
    """Wait until so many attempts have ended."""
    ended = []
    wait_for(lambda: ended.extend(pool.wait(0.2)) or len(ended) >= count, 90)
    return ended


def test_eight_workers_each_see_exactly_one_gpu_and_all_different(make_pool):
    pool, tasks = make_pool([{"seconds": 0.3, "n": k} for k in range(16)])
    assert pool.layout == Layout(workers=GPUS, gpus=1.0, cpus=0.0, threads=None)

    up(pool, GPUS)
    abouts = ray.get([member.actor.about.remote() for member in pool._members])
    for task in tasks:
        pool.submit(task, f"1-{task.id}")
    ended = finish(pool, 16)

    assert sorted(about["gpus"] for about in abouts) == [[str(k)] for k in range(GPUS)]
    assert len({about["pid"] for about in abouts}) == GPUS
    assert all(isinstance(e, Outcome) and e.record for e in ended)
    # The record names the GPU, and every GPU worked.
    names = {e.record.attempts[0].worker for e in ended}
    assert {re.search(r"\(gpu (\d)\)", name)[1] for name in names} == set("01234567")


def test_a_killed_worker_loses_its_attempts_and_is_replaced(make_pool):
    pool, tasks = make_pool([{"seconds": 60, "n": k} for k in range(2)], max=1)
    up(pool, 1)
    (before,) = ray.get([m.actor.about.remote() for m in pool._members])
    for task in tasks:
        pool.submit(task, f"1-{task.id}")
    assert pool.free_slots == 0
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])

    os.kill(before["pid"], signal.SIGKILL)
    ended = finish(pool, 2)
    up(pool, 1)

    assert {e.attempt for e in ended if isinstance(e, Lost)} == {f"1-{t.id}" for t in tasks}
    assert {e.failure.kind for e in ended} == {"worker"}
    # Only the one that painted can have had a part in it; which of the two came first is Ray's choice.
    assert sorted(e.painting for e in ended) == [False, True]
    (after,) = ray.get([m.actor.about.remote() for m in pool._members])
    assert after["pid"] != before["pid"]
    assert pool.free_slots == 1 + PREFETCH


def test_workers_are_filled_evenly(make_pool):
    pool, tasks = make_pool([{"seconds": 0.1, "n": k} for k in range(4)], max=4)
    up(pool, 4)

    for task in tasks:
        pool.submit(task, f"1-{task.id}")

    assert [len(member.attempts) for member in pool._members] == [1, 1, 1, 1]
    finish(pool, 4)


def test_a_drained_pool_finishes_what_paints(make_pool):
    pool, tasks = make_pool([{"seconds": 1.5, "n": k} for k in range(2)], max=1)
    up(pool, 1)
    pool.submit(tasks[0], "1-a")
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])
    pool.submit(tasks[1], "1-b")

    pool.drain()
    ended = {e.attempt.id: e for e in finish(pool, 2)}

    assert ended["1-a"].record is not None
    assert ended["1-b"].failure.kind == "stopped"


def test_workers_that_never_come_up_end_the_run_with_their_reason(make_pool):
    pool, _ = make_pool([{}], renderer="tests.farm:NoSuchRenderer", max=1)

    with pytest.raises(ClusterError, match="NoSuchRenderer"):
        wait_for(lambda: pool.wait(0.2) and False, 90)


def test_a_cluster_that_is_not_there_is_one_sentence():
    with pytest.raises(ClusterError, match=r"Ray cannot be reached at 127\.0\.0\.1:1") as caught:
        connect("127.0.0.1:1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "resources", "layout"),
    [
        ({}, {"GPU": 8, "CPU": 64}, Layout(8, 1.0, 0.0, None)),
        ({"gpus": 0.5}, {"GPU": 8, "CPU": 64}, Layout(16, 0.5, 0.0, None)),
        # Three shares of 0.3 fit on a card; what is left of two cards is no third worker.
        ({"gpus": 0.3}, {"GPU": 2, "CPU": 64}, Layout(6, 0.3, 0.0, None)),
        # More than there is may be asked for: the autoscaler brings it.
        ({"max": 20}, {"GPU": 8, "CPU": 64}, Layout(20, 1.0, 0.0, None)),
        ({"max": 3}, {"GPU": 8, "CPU": 64}, Layout(3, 1.0, 0.0, None)),
        # No GPU: a CPU worker for every few cores, all cores used.
        ({}, {"CPU": 2}, Layout(1, 0.0, 2.0, 2)),
        ({}, {"CPU": 16}, Layout(4, 0.0, 4.0, 4)),
        ({"max": 2}, {"CPU": 2}, Layout(2, 0.0, 1.0, 1)),
        ({"max": 9}, {"CPU": 2}, Layout(2, 0.0, 1.0, 1)),
        ({"threads": 1}, {"CPU": 4}, Layout(4, 0.0, 1.0, 1)),
    ],
)
def test_layout(wanted, resources, layout):
    assert lay_out(Workers.model_validate(wanted), resources) == layout


def test_nothing_to_work_with_is_an_error():
    with pytest.raises(ClusterError, match="neither GPUs nor CPUs"):
        lay_out(Workers.model_validate({}), {})
