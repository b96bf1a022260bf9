"""What is found ahead, in which order, where there is room, and when nothing is."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.events.events import Beat, Draining, Event, Paused, Resumed, WishesChanged
from cluster.open_job import open_agenda
from cluster.pools.ahead import motion_ahead
from cluster.pools.ahead.intervals import Intervals
from cluster.pools.ahead.motion_ahead import MotionAhead
from cluster.pools.ahead.room import room
from cluster.pools.ray_placement import Node, View, needs_of
from jobs.spec.workers import Workers
from jobs.tasks.films.stretch import Stretch
from jobs.tasks.task import Task
from tests.support.farm import wait_for, write_film_job


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    job = write_film_job(
        tmp_path, [{"n": k} for k in range(60)], sweep={"style_weight": [1.0, 2.0]}
    )
    return list(open_agenda(job).tasks())


def test_each_interval_comes_once_when_its_end_is_read(tasks: list[Task]) -> None:
    intervals = Intervals()
    for task in tasks:
        intervals.note(task)
    found = []
    while (stretch := intervals.take()) is not None:
        found.append((stretch.first, stretch.last))
    # As the tree needs them, and for both recipes together.
    assert found == [(0, 16), (16, 32), (32, 48), (48, 59)]


def test_given_motion_and_single_pictures_are_none_of_it(tasks: list[Task]) -> None:
    intervals = Intervals()
    for task in tasks:
        assert task.part is not None
        given = (("f", "b"),) * (len(task.part.around) - 1)
        intervals.note(replace(task, part=replace(task.part, way="given", given=given)))
        intervals.note(replace(task, part=None))
    assert sum(1 for _ in iter(intervals.take, None)) == 0


def nodes(*cpus: float, gpus: float = 0.0, **labels: str) -> View:
    return View(
        tuple(
            Node(str(k), f"host-{k}", {"CPU": count, "GPU": gpus}, labels)
            for k, count in enumerate(cpus)
        )
    )


def of(view: View, available: Mapping[str, float] | None = None, **wanted: Any) -> dict[str, int]:
    workers = Workers.model_validate(wanted)
    free = {node.id: node.resources["CPU"] for node in view.nodes}
    return room(
        view, free if available is None else available, workers, needs_of(workers, view.nodes)
    )


def test_workers_keep_their_cores() -> None:
    # Two cores, which are one worker's: nothing.
    assert of(nodes(2)) == {}
    assert of(nodes(8)) == {}
    # One worker is wanted, with one thread.
    assert of(nodes(8), max=1, threads=1) == {"0": 6}
    # A card's worker holds no core of Ray's, and needs one; one more is left to the machine.
    assert of(nodes(8, gpus=4)) == {"0": 3}
    assert of(nodes(8, gpus=4), max=2) == {"0": 5}
    assert of(nodes(2, gpus=1)) == {}
    # Others hold the rest.
    assert of(nodes(8, 8, gpus=1), {"0": 0.5, "1": 3.0}) == {"1": 3}
    assert of(nodes(8, gpus=1), {}) == {}


def test_nodes_without_the_jobs_labels_and_those_that_go_have_no_room() -> None:
    view = nodes(8, gpus=1, zone="a")
    assert of(view, labels={"zone": "b"}) == {}
    assert of(view, labels={"zone": "a"}) == {"0": 6}
    assert of(replace(view, draining=frozenset("0")), labels={"zone": "a"}) == {}


class Hands:
    """Helpers that do as they are told."""

    def __init__(self, **free: int) -> None:
        self.free = free
        self.started: list[tuple[str, Stretch]] = []
        self.done: dict[Any, str | None] = {}
        self.cancelled: list[Any] = []

    def room(self) -> Mapping[str, int]:
        taken = [self.started[k][0] for k in range(len(self.started)) if k not in self.done]
        found = {node: count - taken.count(node) for node, count in self.free.items()}
        return {node: count for node, count in found.items() if count > 0}

    def start(self, node: str, stretch: Stretch) -> Any:
        self.started.append((node, stretch))
        return len(self.started) - 1

    def ended(self, running: Collection[Any]) -> Mapping[Any, str | None]:
        return {k: self.done[k] for k in running if k in self.done}

    def cancel(self, running: Collection[Any]) -> None:
        self.cancelled += running

    @property
    def firsts(self) -> list[int]:
        return [stretch.first for _, stretch in self.started]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(motion_ahead, "SECONDS", 0.01)
    made: list[MotionAhead] = []

    def start(hands: Hands) -> tuple[MotionAhead, list[Event]]:
        heard: list[Event] = []
        made.append(MotionAhead(hands, heard.append).start())
        return made[-1], heard

    yield start
    for one in made:
        one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "motion-ahead"]


def beat(workers: int) -> Beat:
    return Beat(done=0, failed=0, workers=workers, running=())


def test_as_many_at_once_as_there_are_workers_spread_over_nodes(
    make: Any, tasks: list[Task]
) -> None:
    hands = Hands(a=2, b=4)
    ahead, heard = make(hands)
    assert list(ahead.watch([*tasks, None])) == [*tasks, None]
    wait_for(lambda: len(hands.started) == 2)
    ahead(beat(3))
    wait_for(lambda: len(hands.started) == 3)
    assert hands.firsts == [0, 16, 32]
    assert sorted(node for node, _ in hands.started) in (["a", "a", "b"], ["a", "b", "b"])
    hands.done[1] = None
    wait_for(lambda: len(hands.started) == 4)
    assert heard == [beat(3)]


def test_without_room_nothing_is_begun(make: Any, tasks: list[Task]) -> None:
    hands = Hands(a=0)
    ahead, _ = make(hands)
    list(ahead.watch(tasks))
    threading.Event().wait(0.1)
    assert hands.started == []


def test_what_runs_ends_with_the_run_and_waits_with_it(make: Any, tasks: list[Task]) -> None:
    hands = Hands(a=9)
    ahead, _ = make(hands)
    list(ahead.watch(tasks))
    wait_for(lambda: len(hands.started) == 2)
    ahead(WishesChanged(paused=True, workers=None, priority=None, by="me"))
    wait_for(lambda: hands.cancelled == [0, 1])
    ahead(WishesChanged(paused=False, workers=None, priority=None, by="me"))
    wait_for(lambda: len(hands.started) == 4)
    assert hands.firsts == [0, 16, 0, 16]
    # While the output is down nothing is begun, and what runs may end.
    ahead(Paused(reason="down", patience=1.0))
    hands.done |= {2: None, 3: "the disk is full"}
    threading.Event().wait(0.1)
    assert len(hands.started) == 4
    ahead(Resumed(seconds=1.0))
    wait_for(lambda: hands.firsts[4:] == [32, 48])
    ahead(Draining(running=1))
    wait_for(lambda: hands.cancelled == [0, 1, 4, 5])


def test_after_failures_in_a_row_all_is_left_to_the_workers(make: Any, tasks: list[Task]) -> None:
    hands = Hands(a=9)
    ahead, _ = make(hands)
    hands.done = {0: "no OpenCV", 1: "no OpenCV", 2: "no OpenCV"}
    list(ahead.watch(tasks))
    wait_for(lambda: not ahead._thread.is_alive())
    assert len(hands.started) <= 4
