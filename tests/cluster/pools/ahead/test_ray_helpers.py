"""Motion that is found on a real Ray, with cores that exist on paper and without any worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.events.events import Event
from cluster.open_job import open_agenda
from cluster.pools.ahead.intervals import Intervals
from cluster.pools.ahead.motion_ahead import MotionAhead
from cluster.pools.ray_placement import needs_of
from jobs.spec.workers import Workers
from jobs.tasks.task import Task
from tests.support.cluster import title
from tests.support.farm import setup_of, wait_for, write_film_job
from tests.support.head import ray_here

ray = pytest.importorskip("ray")

from cluster.pools.ahead.ray_helpers import RayHelpers  # noqa: E402
from cluster.pools.ray_cluster import read_view  # noqa: E402

WANTED = Workers.model_validate({"gpus": 1})


@pytest.fixture(scope="module", autouse=True)
def cluster_of_one() -> Iterator[None]:
    """Ray with a card and four cores, of which the card's worker is left one, and the machine another."""
    with ray_here(cpus=4, gpus=1):
        yield


class Film:
    """A film whose motion is found, and what was."""

    def __init__(self, folder: Path, frames: list[dict[str, Any]]) -> None:
        job = write_film_job(folder, frames)
        self.tasks: list[Task] = list(open_agenda(job).tasks())
        self.setup = setup_of(job)
        self.flows = folder / "out" / "films"
        heard: list[Event] = []
        helpers = RayHelpers(self.setup, WANTED, needs_of(WANTED, read_view().nodes))
        self.ahead = MotionAhead(helpers, heard.append).start()

    def read(self) -> None:
        assert list(self.ahead.watch(self.tasks)) == self.tasks

    @property
    def found(self) -> dict[str, Any]:
        """What was found, by the indices of the frames between which it is."""
        files = self.flows.rglob("*.npz")
        return {path.name[:13]: json.loads(path.read_bytes()) for path in files}


def finders(name: str = "find_motion") -> list[psutil.Process]:
    """The processes that find motion now."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if name in title(process)]


def test_motion_is_there_without_a_worker(tmp_path: Path) -> None:
    frames: list[dict[str, Any]] = [{"n": k} for k in range(33)]
    film = Film(tmp_path, frames)
    film.read()
    try:
        wait_for(lambda: len(film.found) == 2)
    finally:
        film.ahead.close()
    assert film.found == {"000000-000016": frames[:17], "000016-000032": frames[16:]}


def test_a_frame_that_cannot_be_read_is_not_fatal(tmp_path: Path) -> None:
    film = Film(tmp_path, [{"n": k} for k in range(6)])
    (tmp_path / "shots/a.1003.png").write_text("no picture")
    film.read()
    try:
        wait_for(lambda: film.found)
    finally:
        film.ahead.close()
    assert [frame["n"] for frame in film.found["000000-000005"]] == [0, 1, 1, 3, 4, 5]


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    film = Film(tmp_path, [{"n": 0}, {"decode": "hang"}, {"n": 2}])
    film.read()
    try:
        (process,) = wait_for(finders)
        wait_for(lambda: process.nice() == 19)  # Ray starts it at 15
        (tmp_path / "shots/a.1002.png").write_text('{"n": 1}')
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: film.found)
    finally:
        film.ahead.close()


def test_a_process_finds_motion_after_motion_and_goes_when_there_is_no_more(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(33)])
    intervals = Intervals()
    for task in open_agenda(job).tasks():
        intervals.note(task)
    helpers = RayHelpers(setup_of(job), WANTED, needs_of(WANTED, read_view().nodes))
    (node,) = helpers.room()
    processes = []
    for _ in range(2):
        stretch = intervals.take()
        assert stretch is not None
        handle = helpers.start(node, stretch)
        assert wait_for(lambda h=handle: helpers.ended([h])) == {handle: None}
        processes += finders("MotionFinder")

    assert len(processes) == 2
    assert processes[0] == processes[1]
    assert helpers.ended([]) == {}
    wait_for(lambda: not finders("MotionFinder"))
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


def test_nothing_is_left_running(tmp_path: Path) -> None:
    film = Film(tmp_path, [{"decode": "hang"}, {"n": 1}])
    film.read()
    (process,) = wait_for(finders)

    film.ahead.close()

    wait_for(lambda: not process.is_running() or not title(process), 30)
    assert film.found == {}
    wait_for(lambda: ray.available_resources().get("CPU") == 4)
