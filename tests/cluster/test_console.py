"""What a person sees of a run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from cluster.console import ConsoleView, Meter
from cluster.events import Beat, Finished, Started, TaskDone, TaskFailed, TaskRetried, to_json
from cluster.messages import Progress
from stylize.recipe import Recipe


def shown(*events, terminal=False, quiet=False):
    text = io.StringIO()
    view = ConsoleView(Console(file=text, width=200, force_terminal=terminal), quiet=quiet)
    for event in events:
        view(event)
    view.close()
    return text.getvalue()


STARTED = Started("harbour", "out", 10, 4, 1, 1000)


def test_a_run_in_lines():
    text = shown(
        STARTED,
        TaskDone("ab", "a--b", "images/a--b-ab.png", 170, 100, 12.3, 4.5e6, "w"),
        TaskRetried("cd", "c--b", "its worker died", 1, 0.0),
        TaskFailed("ef", "e--b", "e.jpg is empty (0 bytes)", 100, 1),
        Finished(1, 1, 3, 65.0, "interrupted"),
    )
    assert "10 tasks, 4 done already, 1 failed earlier (--retry-failed" in text
    assert "done images/a--b-ab.png (170 steps in 12 s, loss 4.5e+06)" in text
    assert "again c--b-cd: its worker died" in text
    assert "failed e--b-ef: e.jpg is empty (0 bytes)" in text
    assert "1 done, 1 failed, 3 left in 0:01:05; run the same command again to go on" in text


def test_names_are_shown_as_they_are():
    # rich would take [red] for a colour
    text = shown(STARTED, TaskFailed("ef", "[red]e", "[bold] is empty", 1, 1))
    assert "failed [red]e-ef: [bold] is empty" in text


def test_nothing_left_says_so():
    done = Finished(0, 0, 0, 0.1, "complete")
    assert "everything is already done" in shown(Started("h", "out", 4, 4, 0, 0), done)
    # What failed is not done.
    assert "already done" not in shown(Started("h", "out", 4, 3, 1, 0), done).splitlines()[-1]


def test_quiet_is_quiet():
    assert shown(STARTED, Finished(1, 0, 0, 1.0, "complete"), quiet=True) == ""


def test_the_bar_tells_done_left_speed_and_time(monkeypatch):
    now = iter(range(0, 100, 10))
    monkeypatch.setattr("cluster.console.time.monotonic", lambda: next(now))
    beats = [
        Beat(1, 1, 2, (Progress("a", "1-a", "w", 32, step, 100, 10 * step, 1.0),))
        for step in (0, 20, 40)
    ]
    text = shown(STARTED, *beats, terminal=True)
    assert "1 done, 1 failed, 3 left, 2 workers, 2.0 steps/s, ETA 0:00:30" in text


def test_the_time_to_go_is_reckoned_in_work_not_steps():
    recipe = Recipe(size=256, start_size=128, steps=100, refine_steps=100)
    meter = Meter(recipe.total_work)
    # 100 steps at 128 px took 10 s; 100 at 256 px will take four times as long.
    meter.beat(0, recipe.work_at(0), 0.0)
    meter.beat(100, recipe.work_at(100), 10.0)
    assert meter.steps_per_second == pytest.approx(10)
    assert meter.seconds_left == pytest.approx(40)


def test_events_are_json_even_where_numbers_are_not():
    beat = Beat(0, 0, 1, (Progress("a", "1-a", "w", 32, 0, 5, 0, float("nan")),))
    line = to_json(beat)
    assert "\n" not in line
    assert json.loads(line)["running"][0]["total"] is None
