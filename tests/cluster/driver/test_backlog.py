"""Which task a worker gets next."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field

import pytest

from cluster.driver.backlog import BATCH_PIXELS, PATIENCE, WINDOW, Backlog
from jobs.spec.styles import StylePart
from jobs.tasks.task import Task
from stylize.memory import predict_bytes
from stylize.network.strips import ALL_BLOCKS
from stylize.recipe import resolve

GB = 10**9


@dataclass
class Candidate:
    memory_bytes: int | None = None
    styles: OrderedDict[object, None] = field(default_factory=OrderedDict)


RECIPES = {size: resolve({"size": size}) for size in (64, 128, 512, 1024, 2048, 4096)}


def whole(size, **how):
    return predict_bytes(RECIPES[size], size, size, process=False, **how)


TWO = int(whole(512, pictures=2) / 0.9) + 10**6
"""Memory for two pictures of that size and not for three."""


def task(number, style="wave.jpg", size=512):
    mix = (StylePart(style, 1.0),)
    return Task(f"{number:016x}", f"t{number}", f"{number}.jpg", mix, None, RECIPES[size], "digest")


def backlog_of(*tasks, **options):
    backlog = Backlog(iter(tasks), **options)
    backlog.fill(0.0)
    return backlog


def drain(backlog, *candidates, classes=()):
    """What each takes in turn, one at a time, until nobody gets anything."""
    taken = [[] for _ in candidates]
    while True:
        before = sum(map(len, taken))
        for candidate, mine in zip(candidates, taken, strict=True):
            mine += [e.task.name for e in backlog.take(candidate, classes)]
            backlog.fill(0.0)
        if sum(map(len, taken)) == before:
            return taken


def test_tasks_come_in_order_and_no_more_are_read_than_the_window_holds():
    read = itertools.count()
    backlog = Backlog(task(next(read)) for _ in range(10_000))
    backlog.fill(0.0)

    assert next(read) == WINDOW
    assert [backlog.take(Candidate(), ())[0].task.name for _ in range(3)] == ["t0", "t1", "t2"]


def test_a_limit_is_a_limit():
    backlog = backlog_of(*map(task, range(9)), limit=4)

    assert drain(backlog, Candidate()) == [["t0", "t1", "t2", "t3"]]
    assert backlog.cut_short
    assert backlog.empty


def test_none_means_not_yet():
    backlog = Backlog(iter([task(0), None, task(1)]))

    backlog.fill(0.0)
    assert (backlog.waiting, backlog.exhausted) == (1, False)
    backlog.fill(0.0)
    assert (backlog.waiting, backlog.exhausted) == (2, True)


def test_what_is_tried_again_comes_first_but_not_before_its_time():
    backlog = backlog_of(task(0), task(1), task(2))
    (task_run,) = backlog.take(Candidate(), ())
    backlog.put_back(task_run, due=5.0)

    backlog.fill(4.9)
    assert backlog.next_due == 5.0
    assert backlog.take(Candidate(), ())[0].task.name == "t1"
    backlog.fill(5.0)
    assert backlog.take(Candidate(), ())[0].task.name == "t0"
    assert not backlog.empty


def test_tasks_of_a_style_go_to_who_knows_it_unless_that_leaves_one_idle():
    tasks = [task(k, style=("wave", "scream")[k % 2]) for k in range(6)]
    one, other = Candidate(), Candidate()

    first, second = drain(backlog_of(*tasks), one, other)

    assert first == ["t0", "t2", "t4"]
    assert second == ["t1", "t3", "t5"]
    # With one style left, both do it.
    first, second = drain(backlog_of(*[task(k, style="wave") for k in range(6)]), one, other)
    assert (len(first), len(second)) == (3, 3)


def test_no_task_waits_for_ever_for_someone_who_knows_its_style():
    stranger = task(10**6, style="stranger")
    tasks = itertools.chain([task(0), stranger], (task(k) for k in range(1, 10 * PATIENCE)))
    backlog, candidate = Backlog(tasks), Candidate()

    taken = []
    while stranger not in taken:
        backlog.fill(0.0)
        taken += [task_run.task for task_run in backlog.take(candidate, ())]

    assert WINDOW < len(taken) <= PATIENCE + 3


def test_larger_renders_go_to_larger_cards_and_smaller_ones_to_the_rest():
    small, large = Candidate(5 * GB), Candidate(80 * GB)
    classes = (5 * GB, 80 * GB)
    assert whole(512) < 4 * GB < whole(4096)
    assert whole(4096, strips=ALL_BLOCKS) > 0.9 * 5 * GB
    tasks = [task(k, size=(512, 4096)[k % 2]) for k in range(8)]

    on_small, on_large = drain(backlog_of(*tasks), small, large, classes=classes)

    assert set(on_small) <= {"t0", "t2", "t4", "t6"}
    assert {"t1", "t3", "t5", "t7"} <= set(on_large)
    # The large one begins with what only it can do.
    assert on_large[0] == "t1"


def test_a_smaller_card_takes_in_strips_what_fits_so_before_it_is_idle():
    small, large = Candidate(8 * GB), Candidate(80 * GB)
    assert whole(2048) > 7.2 * GB > whole(2048, strips=ALL_BLOCKS)

    on_small, on_large = drain(
        backlog_of(*[task(k, size=2048) for k in range(4)], task(9, size=512)),
        small,
        large,
        classes=(8 * GB, 80 * GB),
    )

    assert on_small[0] == "t9"  # what it does as well as any
    assert len(on_small) > 1
    assert len(on_large) >= 2


def test_what_did_not_fit_waits_for_more_memory_while_there_is_any():
    backlog = backlog_of(task(0))
    (task_run,) = backlog.take(Candidate(8 * GB), (8 * GB, 80 * GB))
    task_run.above_bytes = 8 * GB
    backlog.put_back(task_run, 0.0)
    backlog.fill(0.0)

    assert backlog.take(Candidate(8 * GB), (8 * GB, 80 * GB)) == []
    # The larger ones are gone: better tried again than never.
    assert backlog.take(Candidate(8 * GB), (8 * GB, 8 * GB)) == [task_run]


def test_what_fits_nobody_waits_while_larger_ones_may_come():
    backlog = backlog_of(task(0, size=4096), task(1, size=512))
    candidate = Candidate(5 * GB)

    assert backlog.take(candidate, (5 * GB,), growing=True)[0].task.name == "t1"
    assert backlog.take(candidate, (5 * GB,), growing=True) == []
    # Nobody else comes: better tried than not.
    assert backlog.take(candidate, (5 * GB,))[0].task.name == "t0"


@pytest.mark.parametrize(
    ("size", "memory", "most"),
    [
        # As many as fill a GPU, and no more than fit it.
        (128, 80 * GB, 16),
        (512, 80 * GB, BATCH_PIXELS // 512**2),
        (1024, 80 * GB, 1),
        (2048, 80 * GB, 1),
        (512, TWO, 2),
        # What shares a machine's memory is painted one by one.
        (128, None, 1),
    ],
)
def test_how_many_are_painted_together(size, memory, most):
    backlog = backlog_of(*[task(k, size=size) for k in range(40)])

    taken = backlog.take(Candidate(memory), (memory or 0,), batch=None, share=100)

    assert len(taken) == most
    if memory is not None and most > 1:
        assert whole(size, pictures=most) <= 0.9 * memory


def test_a_batch_is_of_one_recipe_and_leaves_others_their_share():
    tasks = [task(k, size=(64, 128)[k % 2]) for k in range(12)]

    taken = backlog_of(*tasks).take(Candidate(), (), batch=4)
    assert [e.task.name for e in taken] == ["t0", "t2", "t4", "t6"]
    taken = backlog_of(*tasks).take(Candidate(80 * GB), (80 * GB,), batch=None, share=2)
    assert len(taken) == 2


def test_what_is_to_be_painted_apart_is_painted_alone():
    backlog = backlog_of(*[task(k) for k in range(4)])
    (suspect,) = backlog.take(Candidate(), ())
    suspect.isolated = True
    backlog.put_back(suspect, 0.0)
    backlog.fill(0.0)

    assert backlog.take(Candidate(), (), batch=4) == [suspect]
    assert [e.task.name for e in backlog.take(Candidate(), (), batch=4)] == ["t1", "t2", "t3"]
