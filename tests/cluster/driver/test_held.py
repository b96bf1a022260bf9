"""Frames wait for those that they hold to, and fail with them by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from cluster.driver.backlog import WINDOW, Backlog
from cluster.driver.held import MOST_HELD, Held, as_told
from jobs.records.record import TaskRecord
from jobs.spec.styles import StylePart
from jobs.tasks.films.part import FilmPart
from jobs.tasks.task import Task
from stylize.film.structure import places
from stylize.recipe import resolve

STYLE = (StylePart("wave.jpg", 1.0),)
RECIPE = resolve({"size": 64})


@dataclass
class Candidate:
    memory_bytes: int | None = None
    styles: OrderedDict[object, None] = field(default_factory=OrderedDict)


def frame(index: int, *needs: int, level: int = 0) -> Task:
    part = FilmPart(
        film="film",
        index=index,
        number=1001 + index,
        needs=tuple((n, f"{n:016x}") for n in needs),
        level=level,
        first=index,
        around=(f"{index}.png",),
        joints=(0,),
    )
    return Task(f"{index:016x}", f"f{index}", f"{index}.png", STYLE, None, RECIPE, "digest", part)


def picture(number: int) -> Task:
    return Task(f"{number:016x}", f"t{number}", f"{number}.jpg", STYLE, None, RECIPE, "digest")


def film(length: int) -> Iterator[Task]:
    return (frame(place.index, *place.needs) for place in places([(0, length)]))


def done(task: Task) -> TaskRecord:
    return task.record("done")


def failed(task: Task, error: str = "the loss became nan.") -> TaskRecord:
    return task.record("failed", error=error)


def backlog_of(*tasks: Task, **options) -> Backlog:
    backlog = Backlog(iter(tasks), **options)
    backlog.fill(0.0)
    return backlog


def names(backlog: Backlog, batch: int | None = 1) -> list[str]:
    return [run.task.name for run in backlog.take(Candidate(), (), batch=batch)]


def test_a_frame_waits_until_those_that_it_holds_to_are_written() -> None:
    root, key, middle = frame(0), frame(2, 0), frame(1, 0, 2)
    backlog = backlog_of(root, key, middle, picture(99))

    assert (backlog.waiting, backlog.held, len(backlog)) == (2, 2, 4)
    assert [names(backlog) for _ in range(3)] == [["f0"], ["t99"], []]
    assert not backlog.empty
    backlog.ended(done(root))
    assert (names(backlog), names(backlog)) == (["f2"], [])
    backlog.ended(done(key))
    assert names(backlog) == ["f1"]
    assert backlog.empty


def test_what_waited_comes_where_it_would_have_been() -> None:
    root, key = frame(0), frame(16, 0)
    backlog = backlog_of(root, key, picture(50), picture(51))
    names(backlog)

    backlog.ended(done(root))

    assert [names(backlog) for _ in range(3)] == [["f16"], ["t50"], ["t51"]]


def test_what_the_most_others_wait_for_comes_first() -> None:
    leaf, key = frame(1, 0, level=4), frame(16, 0)
    backlog = backlog_of(frame(0), leaf, frame(2, 0, level=3), picture(50), key)
    assert names(backlog) == ["f0"]

    backlog.ended(done(frame(0)))

    assert [names(backlog) for _ in range(4)] == [["f16"], ["f2"], ["f1"], ["t50"]]


def test_a_batch_has_no_frame_together_with_one_that_it_holds_to_or_with_another_kind() -> None:
    roots = [frame(0), frame(100)]
    backlog = backlog_of(*roots, frame(2, 0), frame(102, 100), picture(7))

    assert names(backlog, batch=8) == ["f0", "f100", "t7"]
    backlog.ended(done(roots[0]))
    backlog.ended(done(roots[1]))
    backlog.fill(0.0)
    assert names(backlog, batch=8) == ["f2", "f102"]


def test_a_retried_frame_keeps_the_others_waiting() -> None:
    backlog = backlog_of(frame(0), frame(1, 0))
    (run,) = backlog.take(Candidate(), ())
    backlog.put_back(run, due=5.0)
    backlog.fill(0.0)

    assert (backlog.waiting, backlog.retrying, backlog.held) == (0, 1, 1)
    backlog.fill(5.0)
    assert names(backlog) == ["f0"]


def test_what_holds_to_a_failed_frame_is_lost_by_name_and_nothing_else_is() -> None:
    root, key, other = frame(0), frame(16, 0), frame(32, 16)
    backlog = backlog_of(root, key, frame(8, 0, 16), other, frame(40, 32), frame(500))
    names(backlog)
    backlog.ended(done(root))
    assert names(backlog) == ["f16"]

    backlog.ended(failed(key))

    told = "frame 1017 has failed, which this frame holds to: the loss became nan"
    lost = backlog.lost()
    assert [(one.what.task.name, one.reason) for one in lost] == [("f8", told), ("f32", told)]
    # What holds to these follows once they are recorded, and names the one that failed by itself.
    assert backlog.lost() == []
    backlog.ended(failed(other, told))
    assert [(one.what.task.name, one.reason) for one in backlog.lost()] == [("f40", told)]
    assert names(backlog) == ["f500"]
    assert backlog.empty


def test_what_is_read_after_the_failure_is_lost_too() -> None:
    root = frame(0)

    def tasks() -> Iterator[Task | None]:
        yield root
        yield None
        yield frame(1, 0)
        yield frame(2, 1)

    backlog = Backlog(tasks())
    backlog.fill(0.0)
    names(backlog)
    backlog.ended(failed(root))
    backlog.fill(0.0)

    assert [one.what.task.name for one in backlog.lost()] == ["f1", "f2"]
    assert backlog.empty


def test_a_frame_that_failed_in_an_earlier_run_is_asked_for_once() -> None:
    asked: list[str] = []

    def failed_before(task_id: str) -> str | None:
        asked.append(task_id)
        return (
            "frame 1001 has failed, which this frame holds to: x" if int(task_id, 16) == 0 else None
        )

    backlog = backlog_of(frame(16, 0), frame(8, 0, 16), frame(40, 32), failed_before=failed_before)

    assert {one.what.task.name for one in backlog.lost()} == {"f16", "f8"}
    assert names(backlog) == ["f40"]  # what it holds to is done
    assert asked == [f"{0:016x}", f"{32:016x}"]


def test_pictures_are_asked_nothing() -> None:
    def failed_before(task_id: str) -> str | None:
        raise AssertionError(task_id)

    backlog = backlog_of(*map(picture, range(5)), failed_before=failed_before)
    backlog.ended(failed(picture(3)))
    assert (backlog.waiting, backlog.held, backlog.lost()) == (5, 0, [])


@pytest.mark.parametrize("length", [1, 2, 16, 17, 333, 10_000])
def test_a_film_comes_to_its_end_with_few_frames_in_sight(length: int) -> None:
    backlog = Backlog(film(length))
    seen: list[int] = []
    running: list[Task] = []
    finished: set[int] = set()
    while running or not backlog.empty:
        backlog.fill(0.0)
        assert backlog.waiting <= WINDOW
        assert backlog.held <= MOST_HELD
        while len(running) < 8 and backlog.waiting:
            running += [run.task for run in backlog.take(Candidate(), ())]
        task = running.pop(len(seen) % len(running))  # they end in no order
        assert task.part is not None
        assert finished.issuperset(index for index, _ in task.part.needs)
        seen.append(task.part.index)
        finished.add(task.part.index)
        backlog.ended(done(task))
    assert running == []
    assert sorted(seen) == list(range(length))


def test_no_more_is_read_than_may_wait() -> None:
    def tasks() -> Iterator[Task]:
        yield frame(0)
        for index in range(1, 3 * MOST_HELD):
            yield frame(index, 0)

    backlog = Backlog(tasks())
    backlog.fill(0.0)

    assert (backlog.waiting, backlog.held) == (1, MOST_HELD)
    assert not backlog.hungry


def test_what_is_told_names_the_first_cause() -> None:
    told = as_told(failed(frame(5)))

    assert told == "frame 1006 has failed, which this frame holds to: the loss became nan"
    assert as_told(failed(frame(6, 5), told)) == told


def test_a_frame_that_waits_for_two_that_fail_is_lost_once() -> None:
    held: Held[str] = Held(lambda task_id: None)
    left, right = frame(0), frame(2)
    assert held.may_start(left, "left")
    assert held.may_start(right, "right")
    assert not held.may_start(frame(1, 0, 2), "middle")

    held.ended(failed(left))
    held.ended(failed(right))

    assert [one.what for one in held.lost()] == ["middle"]
    assert (held.waiting, len(held)) == (0, 0)
