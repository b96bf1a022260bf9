"""The floor on a real Ray with eight logical GPUs: pinning, loss, replacement."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from cluster.messages import Assignment
from cluster.open_job import open_agenda
from cluster.pools.base import Ended, Lost
from jobs.errors import ClusterError
from jobs.spec.workers import Workers
from tests.support.farm import STAND_IN, setup_of, wait_for, write_stand_in_job
from tests.support.head import ray_here

ray = pytest.importorskip("ray")

from ray.exceptions import ActorUnavailableError  # noqa: E402

from cluster.pools.ray_actor import About  # noqa: E402
from cluster.pools.ray_cluster import connect  # noqa: E402
from cluster.pools.ray_metrics import make_metrics  # noqa: E402
from cluster.pools.ray_placement import Needs, Node, capacity, check_room, needs_of  # noqa: E402
from cluster.pools.ray_pool import RayPool  # noqa: E402

GPUS = 8


@pytest.fixture(scope="module")
def eight_gpus() -> Iterator[None]:
    """Ray with eight GPUs that exist on paper."""
    with ray_here(cpus=2, gpus=GPUS):
        yield


def test_a_job_may_have_any_name(eight_gpus):
    counters, _, _ = make_metrics({"names": ("Of jobs.", ())}, {}, {}, "job", "H\u00e4fen \u6e2f")
    counters["names"].inc(1)  # it is here that Ray refuses what is not ASCII


def gpus_of(about: About) -> tuple[str, ...]:
    """Those that a worker sees; its name lists them."""
    (listed,) = re.findall(r"\(gpu ([\d,]+)\)", about.name)
    return tuple(listed.split(","))


@pytest.fixture
def make_pool(tmp_path, eight_gpus):
    pools = []

    def make(directives, renderer=STAND_IN, sharing=None, **wanted):
        job = write_stand_in_job(tmp_path, directives)
        pool = RayPool(
            setup_of(job, renderer, losses_every=1, grace_seconds=wanted.get("grace", 20.0)),
            Workers.model_validate(wanted),
            sharing,
        )
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
    """Wait until so many attempts have ended, one way or the other."""
    ended = []

    def enough():
        ended.extend(pool.wait(0.2))
        return sum(len(e.attempt_ids) if isinstance(e, Lost) else 1 for e in ended) >= count

    wait_for(enough, 90)
    return ended


def submit(pool, *tasks, isolated=False):
    """Each to whoever is least busy."""
    for task in tasks:
        worker = next(pool.open_workers())
        pool.submit(worker, [Assignment(task, f"1-{task.id}", isolated)])


def records(ended):
    return {e.outcome.attempt_record.id: e.outcome.record for e in ended if isinstance(e, Ended)}


def pids(pool):
    return [member.pid for member in pool._roster if member.up]


def test_eight_workers_each_see_exactly_one_gpu_and_all_different(make_pool):
    pool, tasks = make_pool([{"seconds": 0.3, "n": k} for k in range(16)])

    up(pool, GPUS)
    abouts = ray.get([member.actor.about.remote() for member in pool._roster])
    submit(pool, *tasks)
    ended = finish(pool, 16)

    assert pool.needs == Needs(gpus=1.0, cpus=0.0, threads=None)
    assert sorted(gpus_of(about) for about in abouts) == [(str(k),) for k in range(GPUS)]
    assert len({about.pid for about in abouts}) == GPUS
    assert all(records(ended).values())
    # The record names the GPU, and every GPU worked.
    names = {record.attempts[0].worker for record in records(ended).values()}
    assert {re.search(r"\(gpu (\d)\)", name)[1] for name in names} == set("01234567")


def test_two_workers_share_a_card_and_a_worker_holds_two(make_pool, tmp_path):
    pool, _ = make_pool([{}], gpus=0.5, max=4)
    up(pool, 4)
    halves = ray.get([member.actor.about.remote() for member in pool._roster])
    pool.close()
    pool, tasks = make_pool([{"until": "seen", "n": k} for k in range(2)], gpus=2, max=1)
    up(pool, 1)
    (about,) = ray.get([member.actor.about.remote() for member in pool._roster])
    submit(pool, *tasks)
    wait_for(lambda: (pool.wait(0.1), len(pool.progress()) == 2)[1], 30)
    (tmp_path / "seen").touch()

    assert all(len(gpus_of(half)) == 1 for half in halves)
    # Which cards, and whether two share one already, is Ray's choice; three never do.
    assert max(Counter(gpus_of(half) for half in halves).values()) <= 2
    assert len(gpus_of(about)) == 2
    # Two pictures are painted at once.
    assert all(records(finish(pool, 2)).values())


def test_a_killed_worker_loses_its_attempts_and_is_replaced(make_pool):
    pool, tasks = make_pool([{"until": "never", "n": k} for k in range(2)], max=1)
    up(pool, 1)
    (before,) = pids(pool)
    submit(pool, *tasks)
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])

    os.kill(before, signal.SIGKILL)
    (lost,) = finish(pool, 2)
    up(pool, 1)

    assert set(lost.attempt_ids) == {f"1-{task.id}" for task in tasks}
    assert lost.failure.kind == "worker"
    # Only the one that painted can have had a part in it; which of the two came first is Ray's choice.
    assert len(lost.painting) == 1
    assert pids(pool) != [before]
    assert len([*pool.open_workers()]) == 1


def test_an_idle_worker_that_dies_is_replaced_too(make_pool):
    pool, _ = make_pool([{}], max=2)
    up(pool, 2)
    before = set(pids(pool))

    os.kill(min(before), signal.SIGKILL)
    (lost,) = wait_for(lambda: pool.wait(0.2), 30)
    up(pool, 2)

    assert (lost.failure.kind, lost.attempt_ids) == ("worker", ())
    assert min(before) not in pids(pool)


def test_a_stopped_worker_is_noticed_killed_and_replaced(make_pool):
    pool, tasks = make_pool([{"until": "never", "n": 0}], max=1)
    usual = pool._wanted
    up(pool, 1)
    (before,) = pids(pool)
    submit(pool, *tasks)
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])

    os.kill(before, signal.SIGSTOP)
    # Not before: on a busy machine also who starts, or paints, may be silent for so long.
    pool._wanted = usual.model_copy(update={"stall_timeout": 3.0})
    began = time.monotonic()
    (lost,) = finish(pool, 1)
    noticed = time.monotonic() - began
    pool._wanted = usual
    up(pool, 1)

    assert lost.failure.kind == "stalled"
    assert lost.painting == {f"1-{tasks[0].id}"}
    assert "no sign of life" in lost.failure.message
    assert noticed < 150  # by its own stall_timeout, not by the five minutes that are usual
    wait_for(lambda: not Path(f"/proc/{before}/cmdline").exists(), 30)


def test_a_render_that_makes_no_step_is_a_stall(make_pool):
    pool, tasks = make_pool([{"fail": "hang"}], max=1, stall_timeout=2)
    up(pool, 1)
    submit(pool, *tasks)

    (lost,) = finish(pool, 1)

    assert lost.failure.kind == "stalled"


def test_a_spot_notice_stores_a_checkpoint_and_hands_the_tasks_back(make_pool, tmp_path):
    directives = [{"until": "never", "every": 50, "n": k} for k in range(2)]
    pool, tasks = make_pool(directives, max=1, grace=600)
    up(pool, 1)
    (before,) = pids(pool)
    submit(pool, *tasks)
    wait_for(lambda: (pool.wait(0.1), any(p.step > 60 for p in pool.progress()))[1])

    os.kill(before, signal.SIGTERM)
    ended = finish(pool, 2)
    ended += up(pool, 1)

    outcomes = [e.outcome for e in ended if isinstance(e, Ended)]
    assert [o.failure.kind for o in outcomes] == ["preempted"] * 2
    # What painted went on to its next cut, and what waited came back at once.
    stored = [o.checkpoint for o in outcomes]
    assert sorted(stored) == [False, True]
    (file,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert int(file.read_bytes().partition(b":")[0]) % 50 == 0
    # It is replaced, and its end is no fault.
    losses = [e for e in ended if isinstance(e, Lost)]
    assert [(e.failure.kind, e.attempt_ids) for e in losses] == [("preempted", ())]
    assert pids(pool) != [before]


def test_a_picture_that_kills_what_paints_it_is_found_out_by_a_process_of_its_own(make_pool):
    pool, tasks = make_pool([{"fail": "die"}, {"seconds": 0.1}], max=1)
    up(pool, 1)
    before = pids(pool)

    submit(pool, tasks[0], isolated=True)
    submit(pool, tasks[1], isolated=True)
    ended = finish(pool, 2)

    outcomes = {e.outcome.attempt_record.id: e.outcome for e in ended}
    bad, good = (outcomes[f"1-{task.id}"] for task in tasks)
    assert bad.failure.kind == "poison"
    assert "SIGKILL" in bad.failure.message
    assert good.record.status == "done"
    assert pids(pool) == before  # the worker lives


def test_a_process_of_its_own_goes_with_its_worker(make_pool):
    pool, tasks = make_pool([{"until": "never"}], max=1)
    up(pool, 1)
    submit(pool, tasks[0], isolated=True)
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])
    (worker,) = pids(pool)
    (own,) = psutil.Process(worker).children()

    os.kill(worker, signal.SIGKILL)
    (lost,) = finish(pool, 1)

    assert lost.failure.kind == "worker"
    wait_for(lambda: not own.is_running() or own.status() == psutil.STATUS_ZOMBIE)


def test_waiting_calls_are_sent_back_for_idle_workers(make_pool):
    pool, tasks = make_pool([{"seconds": 600, "n": k} for k in range(3)], max=1)
    up(pool, 1)
    submit(pool, *tasks)
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])

    pool.recall(1)
    (ended,) = finish(pool, 1)

    assert ended.outcome.failure.kind == "recalled"
    assert ended.outcome.attempt_record.id not in {p.attempt_id for p in pool.progress()}


def lose_answers(pool, monkeypatch):
    """Every answer of a call is lost on the way."""
    unavailable: Future = Future()
    unavailable.set_exception(ActorUnavailableError("the network broke", None))
    ended = pool._call_ended
    monkeypatch.setattr(
        pool, "_call_ended", lambda member, call, _: ended(member, call, unavailable)
    )


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again(make_pool, monkeypatch):
    pool, tasks = make_pool([{"seconds": 0.2, "n": k} for k in range(2)], max=1)
    up(pool, 1)
    lose_answers(pool, monkeypatch)
    submit(pool, *tasks)

    ended = finish(pool, 2)

    assert set(records(ended)) == {f"1-{task.id}" for task in tasks}
    assert all(records(ended).values())
    assert len([*pool.open_workers()]) == 1


def test_a_worker_that_stays_out_of_reach_is_replaced(make_pool, monkeypatch):
    monkeypatch.setattr("cluster.pools.ray_pool.UNAVAILABLE_SECONDS", 1.0)
    pool, tasks = make_pool([{"seconds": 0.2}], max=1)
    up(pool, 1)
    (before,) = pids(pool)
    lose_answers(pool, monkeypatch)
    fetched = pool._outcomes_fetched
    error: Future = Future()
    error.set_exception(ActorUnavailableError("the network broke", None))
    monkeypatch.setattr(
        pool, "_outcomes_fetched", lambda member, call, _: fetched(member, call, error)
    )
    submit(pool, *tasks)

    (lost,) = finish(pool, 1)
    up(pool, 1)

    assert lost.failure.kind == "unavailable"
    assert "cannot be reached" in lost.failure.message
    assert pids(pool) != [before]


def test_workers_are_filled_evenly(make_pool):
    pool, tasks = make_pool([{"seconds": 0.1, "n": k} for k in range(4)], max=4)
    up(pool, 4)

    submit(pool, *tasks)

    assert [len(member.handle.calls) for member in pool._roster] == [1, 1, 1, 1]
    finish(pool, 4)


def test_no_more_workers_than_there_are_tasks_and_idle_ones_are_released(make_pool):
    pool, _ = make_pool([{}], max=6)
    up(pool, 6)

    pool.want(2)
    wait_for(lambda: (pool.wait(0.2), pool.workers == 2)[1])
    pool.want(0)
    wait_for(lambda: (pool.wait(0.2), pool.workers == 1)[1], 20)  # workers.min

    assert pool.pending == 0


class Shares:
    """A floor that says what this run may have on the one node that there is."""

    def __init__(self, workers):
        self.share = {ray.get_runtime_context().get_node_id(): workers}
        self.waits = "waits for GPUs: 5 held by nightly (low)"
        self.undecided = True
        self.told = []

    def tell(self, wanted, held, up, nodes):
        self.told.append((wanted, sum(held.values()), sum(up.values())))


def test_beside_others_more_nodes_are_asked_for_and_no_more_than_the_share_is_taken(make_pool):
    shares = Shares(3)
    pool, _ = make_pool([{}], sharing=lambda needs: shares, max=GPUS + 4)
    pool.wait(0.5)
    assert (pool.pending, shares.told) == (0, [(GPUS + 4, 0, 0)] * len(shares.told))
    shares.undecided = False
    up(pool, 3)
    # Four more than the node has room for: an autoscaler sees them, and Ray places none on this node.
    wait_for(lambda: (pool.wait(0.2), pool.pending == 4)[1])
    assert (pool.wanted, pool.share, pool.given_back) == (GPUS + 4, 3, 0)
    wait_for(lambda: (pool.wait(0.2), shares.told[-1] == (GPUS + 4, 3, 3))[1])

    shares.share = dict.fromkeys(shares.share, 1)
    up(pool, 1)
    assert (pool.pending, pool.given_back) == (4, 2)
    assert pool.waits == shares.waits

    pool.want(GPUS + 1)
    wait_for(lambda: (pool.wait(0.2), pool.pending == 1)[1])
    pool.want(2)
    wait_for(lambda: (pool.wait(0.2), pool.pending == 0)[1])


def test_a_drained_pool_finishes_what_paints(make_pool, tmp_path):
    pool, tasks = make_pool([{"until": "drained", "n": k} for k in range(2)], max=1)
    up(pool, 1)
    submit(pool, tasks[0])
    wait_for(lambda: (pool.wait(0.1), pool.progress())[1])
    submit(pool, tasks[1])

    pool.drain()
    ended = finish(pool, 1)  # what waited comes back at once
    (tmp_path / "drained").touch()
    ended = {e.outcome.attempt_record.id: e.outcome for e in [*ended, *finish(pool, 1)]}

    assert ended[f"1-{tasks[0].id}"].record is not None
    assert ended[f"1-{tasks[1].id}"].failure.kind == "stopped"


def test_workers_that_never_come_up_end_the_run_with_their_reason(make_pool):
    pool, _ = make_pool([{}], renderer="tests.support.farm:NoSuchRenderer", max=1)

    with pytest.raises(ClusterError, match="NoSuchRenderer"):
        wait_for(lambda: pool.wait(0.2) and False, 90)


def test_a_cluster_that_is_not_there_is_one_sentence():
    with pytest.raises(ClusterError, match=r"Ray cannot be reached at 127\.0\.0\.1:1") as caught:
        connect("127.0.0.1:1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "machines", "needs", "count"),
    [
        ({}, [{"GPU": 8, "CPU": 64}], Needs(1.0, 0.0, None), 8),
        ({}, [{"GPU": 8, "CPU": 64}, {"GPU": 4}, {"CPU": 9}], Needs(1.0, 0.0, None), 12),
        ({"gpus": 0.5}, [{"GPU": 8, "CPU": 64}], Needs(0.5, 0.0, None), 16),
        # Three shares of 0.3 fit on a card; what is left of two cards is no third worker.
        ({"gpus": 0.3}, [{"GPU": 2, "CPU": 64}], Needs(0.3, 0.0, None), 6),
        # Two cards of one machine go together, those of two machines do not.
        ({"gpus": 2}, [{"GPU": 3}, {"GPU": 3}], Needs(2.0, 0.0, None), 2),
        # More than there is may be asked for: the autoscaler brings it.
        ({"max": 20}, [{"GPU": 8, "CPU": 64}], Needs(1.0, 0.0, None), 20),
        ({"max": 20}, [{}], Needs(1.0, 0.0, None), 20),
        ({"max": 3}, [{"GPU": 8, "CPU": 64}], Needs(1.0, 0.0, None), 3),
        # No GPU: a CPU worker for every few cores, all cores used.
        ({}, [{"CPU": 2}], Needs(0.0, 2.0, 2), 1),
        ({}, [{"CPU": 16}], Needs(0.0, 4.0, 4), 4),
        ({}, [{"CPU": 16}, {"CPU": 8}], Needs(0.0, 4.0, 4), 6),
        ({"max": 2}, [{"CPU": 2}], Needs(0.0, 1.0, 1), 2),
        ({"max": 9}, [{"CPU": 2}], Needs(0.0, 1.0, 1), 2),
        ({"threads": 1}, [{"CPU": 4}], Needs(0.0, 1.0, 1), 4),
        ({"device": "cpu"}, [{"CPU": 4, "GPU": 2}], Needs(0.0, 4.0, 4), 1),
        ({"device": "gpu", "max": 4}, [{"CPU": 4}], Needs(1.0, 0.0, None), 4),
    ],
)
def test_what_workers_hold_and_how_many_there_are(wanted, machines, needs, count):
    wanted = Workers.model_validate(wanted)
    nodes = [Node(str(k), str(k), resources) for k, resources in enumerate(machines)]

    assert needs_of(wanted, nodes) == needs
    assert capacity(wanted, needs, nodes) == count


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({}, None),
        (
            {"gpus": 8},
            "no node has room for a worker, which needs 8 GPUs (the largest has 4)",
        ),
        ({"gpus": 8, "max": 2}, None),  # an autoscaler may bring it
        ({"labels": {"zone": "in(a, b)"}}, None),
        ({"labels": {"zone": "!b"}}, None),
        ({"labels": {"zone": "b"}}, "with the labels {'zone': 'b'}"),
        ({"labels": {"zone": "!in(a, c)"}}, "no node with the labels"),
        ({"labels": {"other": "a"}}, "no node with the labels"),
        ({"labels": {"other": "!a"}}, None),
    ],
)
def test_what_no_node_can_ever_do_is_refused_at_once(wanted, sentence):
    wanted = Workers.model_validate(wanted)
    nodes = [Node("n", "n", {"GPU": 4, "CPU": 8}, {"zone": "a"})]
    needs = needs_of(wanted, nodes)

    if sentence is None:
        check_room(wanted, needs, nodes)
    else:
        with pytest.raises(ClusterError, match=re.escape(sentence)):
            check_room(wanted, needs, nodes)


def test_nothing_to_work_with_is_an_error():
    for wanted in ({}, {"device": "gpu"}):
        with pytest.raises(ClusterError, match="no GPU"):
            needs_of(Workers.model_validate(wanted), [Node("a", "a")])
    with pytest.raises(ClusterError, match="no CPUs"):
        needs_of(Workers.model_validate({"device": "cpu"}), [Node("a", "a")])
