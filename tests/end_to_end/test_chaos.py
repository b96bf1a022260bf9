"""The floor of a cluster whose machines come, go and die: four nodes, sixteen logical GPUs."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.records.commit import Records
from jobs.storage.open import open_storage
from tests.support.cluster import GPUS, Cluster, Run, chain_of, write_tasks
from tests.support.farm import hurry, wait_for


class Chaos:
    """Kills a worker, a raylet or a node every other second, or adds or removes one."""

    def __init__(self, cluster: Cluster, seed: int, pause: float = 1.5) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._pause = pause
        self.done: Counter[str] = Counter()

    def reign(self, over: Callable[[], bool], acts: int) -> None:
        """Until that much was done, and of each kind its part; Ray makes nodes only on the main thread."""
        kinds: list[Callable[[], bool]] = [
            self.kill_a_worker,
            self.kill_a_worker,
            self.kill_a_worker,
            self.kill_a_raylet,
            self.kill_a_node,
            self.remove_a_node,
        ]
        least = Counter(kind.__name__ for kind in (*kinds, self.add_a_node))
        while not over() and (self.done.total() < acts or least - self.done):
            time.sleep(self._pause * self._random.uniform(0.6, 1.4))
            short = len(self._cluster.others) < 3 and self._random.random() < 0.6
            act = self.add_a_node if short else self._random.choice(kinds)
            self.done[act.__name__] += act()

    def kill_a_worker(self) -> bool:
        workers = self._cluster.workers()
        if workers:
            self._random.choice(workers).kill()
        return bool(workers)

    def kill_a_raylet(self) -> bool:
        node = self._take()
        if node is not None:
            self._cluster.kill_raylet(node)
            time.sleep(1)
            self._cluster.remove(node, graceful=False)
        return node is not None

    def kill_a_node(self) -> bool:
        node = self._take()
        if node is not None:
            self._cluster.remove(node, graceful=False)
        return node is not None

    def remove_a_node(self) -> bool:
        node = self._take()
        if node is not None:
            self._cluster.remove(node, graceful=True)
        return node is not None

    def add_a_node(self) -> bool:
        self._cluster.others.append(self._cluster.add())
        return True

    def _take(self) -> Any:
        """A node other than the head, if enough are left then."""
        if len(self._cluster.others) < 2:
            return None
        return self._cluster.others.pop(self._random.randrange(len(self._cluster.others)))


@pytest.fixture(scope="module")
def make_cluster() -> Iterator[Callable[[int], Cluster]]:
    """Makes a cluster of so many nodes, of the one of the test before if that is still there."""
    made: list[Cluster] = []

    def make(nodes: int) -> Cluster:
        if not made or made[-1].closed:
            made.append(Cluster({}))
        cluster = made[-1]
        while len(cluster.others) < nodes - 1:
            cluster.others.append(cluster.add())
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.mark.slow
def test_the_gpus_of_a_node_that_joins_are_soon_at_work(
    tmp_path: Path, make_cluster: Callable[[int], Cluster]
) -> None:
    # More than is done before the node is up, however busy the machine.
    write_tasks(tmp_path, 100, 300, pace=0.1)
    cluster = make_cluster(1)
    run = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: len({progress["worker"] for progress in run.painting()}) == GPUS, 120)
    before = {state["name"] for state in run.said("progress")[-1]["fleet"]}

    cluster.others.append(cluster.add())
    joined = time.monotonic()

    def beats_until_asked_for() -> list[int]:
        since = [event for event in run.said("progress") if event["at"] > joined]
        return [n for n, e in enumerate(since) if e["workers"] + e["pending"] == 2 * GPUS]

    def new_at_work() -> set[str]:
        return {
            progress["worker"]
            for event in run.said("progress")
            for progress in event["running"]
            if progress["worker"] not in before
        }

    # How long their processes take to start is the machine's affair, and how often it lets the run go on.
    beats, *_ = wait_for(beats_until_asked_for, 60)
    wait_for(lambda: len(new_at_work()) >= GPUS, 120)
    took = time.monotonic() - joined
    print(
        f"the GPUs of a node are asked for {beats} beats after it is up, and at work after {took:.1f} s"
    )
    run.process.terminate()
    assert run.wait(60) == 130
    assert beats < 30  # which come twice a second


@pytest.mark.slow
def test_chaos_and_a_poison_picture(tmp_path: Path, make_cluster: Callable[[int], Cluster]) -> None:
    """Three hundred tasks are done, and the one that kills what paints it is found out."""
    count, steps, poison = 301, 60, 77
    job = write_tasks(tmp_path, count, steps, poison)
    # However fast the machine, the run lasts until enough has happened.
    for n in (0, 100, 200, 300):
        file = tmp_path / f"c{n:03}.png"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"steps": 3000, "pace": 0.1}))
    cluster = make_cluster(4)
    run = Run(tmp_path / "job.yaml", cluster.address)
    wait_for(lambda: run.said("done"), 120)

    chaos = Chaos(cluster, seed=5)
    chaos.reign(lambda: run.process.poll() is not None, 12)
    hurry(job)
    status = run.wait(120)

    print(
        dict(chaos.done), run.said("finished"), Counter(e["kind"] for e in run.said("worker_lost"))
    )
    assert status == 1, run.log.read_text()[-3000:]
    storage = open_storage(job.spec.output, base=job.base)
    records = list(Records(storage).all())
    done = [record for record in records if record.status == "done"]
    failed = [record for record in records if record.status == "failed"]
    assert len(done) == 300
    # Each is committed once.
    committed = Counter(event["id"] for event in run.said("done"))
    assert set(committed) == {record.id for record in done}
    assert set(committed.values()) == {1}
    # As they would be had nothing happened.
    for record in done:
        assert record.output is not None
        picture = json.loads(storage.get(record.output.key))
        assert picture["chain"] == chain_of(picture["n"], picture["steps"])
    assert len(list(storage.list("images/"))) == len(done)
    # Enough did happen, and it was noticed.
    assert chaos.done["kill_a_worker"] >= 3
    assert chaos.done.total() >= 12
    assert run.said("worker_lost")
    (record,) = failed
    assert "it kills the process that paints it" in (record.error or "")
    assert record.content == f"c{poison:03}.png"
    # It was held against it once that its worker died; then a process of its own did. A worker that is killed
    # beside that process counts for nothing, however often it happens.
    counted = [
        event
        for event in run.said("retry")
        if event["id"] == record.id and event["kind"] == "worker"
    ]
    assert len(counted) <= 1
    # No process of ours is left behind, and when the cluster goes, none of Ray's.
    wait_for(lambda: not cluster.workers(), 30)
    family = cluster.processes()
    cluster.close()
    wait_for(lambda: not [p for p in family if p.is_running() and p.status() != "zombie"], 90)
