"""Nobody starves: where not everybody can have a worker, runs take turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.floor.shares import Demand, share_out
from cluster.floor.turns import TURN_MINUTES, Turn

STEP = 30.0
"""Seconds between two looks."""


def served(devices: int, priorities: list[int], minutes: float) -> Iterator[set[int]]:
    """The runs that have a worker, at every look, where each wants one."""
    turns = [Turn(0.0) for _ in priorities]
    for look in itertools.count():
        now = STEP * look
        if now > 60 * minutes:
            return
        demands = [
            Demand(str(k), 1, 1, priority=p, rank=-turns[k].points(p, now))
            for k, p in enumerate(priorities)
        ]
        shares = share_out({"node": devices}, demands)
        for k, turn in enumerate(turns):
            turn.note(now, has_fewest=bool(shares[str(k)]))
        yield {k for k in range(len(priorities)) if shares[str(k)]}


def spells(looks: list[set[int]]) -> list[tuple[int, float]]:
    """(run, minutes) of the one run that is served, in order."""
    runs = [next(iter(look)) for look in looks]
    return [(run, len(list(of)) * STEP / 60) for run, of in itertools.groupby(runs)]


def test_runs_of_one_priority_take_turns_of_ten_minutes() -> None:
    found = spells(list(served(1, [50, 50, 50], 60)))
    assert [run for run, _ in found[:6]] == [0, 1, 2, 0, 1, 2]
    assert all(TURN_MINUTES <= minutes <= TURN_MINUTES + 1 for _, minutes in found[:5])


def test_a_low_run_waits_for_an_urgent_one_and_is_not_forgotten() -> None:
    found = spells(list(served(1, [100, 25], 300)))
    assert [run for run, _ in found[:4]] == [0, 1, 0, 1]
    assert found[0][1] == pytest.approx(75, abs=1)
    assert found[1][1] == pytest.approx(TURN_MINUTES, abs=1)
    assert found[2][1] == pytest.approx(75, abs=1)


def test_an_urgent_run_need_not_wait_for_a_turn_to_end() -> None:
    turn, urgent = Turn(0.0), Turn(60.0)
    turn.note(30.0, has_fewest=True)
    assert turn.points(50, 60.0) == 50 + 0.5 + TURN_MINUTES < urgent.points(100, 60.0)


@given(st.integers(1, 3), st.lists(st.sampled_from([0, 25, 50, 75, 100]), min_size=1, max_size=7))
@settings(max_examples=60)
def test_every_wait_is_as_short_as_the_rule_says(devices: int, priorities: list[int]) -> None:
    looks = list(served(devices, priorities, 400))
    for run, priority in enumerate(priorities):
        waits = [
            len(list(of)) * STEP / 60
            for has, of in itertools.groupby(run in at for at in looks)
            if not has
        ]
        most = 100 - priority + len(priorities) * (TURN_MINUTES + 2 * STEP / 60)
        assert max(waits, default=0.0) <= most


@given(st.integers(1, 3), st.lists(st.sampled_from([0, 25, 50, 75, 100]), min_size=1, max_size=7))
@settings(max_examples=60)
def test_nobody_is_sent_away_in_his_turn_but_for_a_higher_priority(
    devices: int, priorities: list[int]
) -> None:
    looks = list(served(devices, priorities, 200))
    for run, priority in enumerate(priorities):
        spans = [(has, len(list(of))) for has, of in itertools.groupby(run in at for at in looks)]
        for has, length in spans[:-1]:
            if has and not any(p > priority for p in priorities):
                assert length * STEP / 60 >= TURN_MINUTES
