"""The floor manager: what it hears, forgets and answers. Time is the test's."""

from __future__ import annotations

import pytest

from cluster.floor.asking import Ask, Share
from cluster.floor.manager import (
    OTHERS_SECONDS,
    SETTLE_SECONDS,
    SILENT_SECONDS,
    FloorManager,
    Supply,
)

NODES = "ab"


class Floor:
    """A manager of two nodes with four GPUs each, and runs that take what they are given."""

    def __init__(self, token: str = "") -> None:
        self.now = 0.0
        self.manager = FloorManager(token, clock=lambda: self.now)
        self.asks: dict[str, Ask] = {}
        self.shares: dict[str, Share | None] = {}
        self.foreign = dict.fromkeys(NODES, 0.0)

    def join(self, run: str, wanted: int, **about: object) -> None:
        self.asks[run] = Ask(run, f"job {run}", "out", "me@here", wanted, 1.0, **about)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            used = {
                node: self.foreign[node] + sum(ask.up.get(node, 0) for ask in self.asks.values())
                for node in NODES
            }
            self.manager.see(
                [
                    Supply(
                        n, f"host-{n}", {"GPU": 4.0, "CPU": 8.0}, {"GPU": 4 - used[n], "CPU": 8.0}
                    )
                    for n in NODES
                ]
            )
            for run, ask in self.asks.items():
                share = self.manager.ask(ask)
                self.shares[run] = share
                if share is not None:
                    room = {node: int(4 - self.foreign[node]) for node in NODES}
                    held = {node: min(n, room[node]) for node, n in share.workers.items()}
                    self.asks[run] = Ask(
                        **{
                            **{f: getattr(ask, f) for f in Ask.__dataclass_fields__},
                            "held": held,
                            "up": held,
                        }
                    )

    def counts(self) -> dict[str, int | None]:
        return {
            run: None if share is None else sum(share.workers.values())
            for run, share in self.shares.items()
        }


@pytest.fixture
def floor() -> Floor:
    return Floor()


def test_a_new_manager_listens_before_it_answers(floor: Floor) -> None:
    floor.join("one", 9)
    floor.pass_time(SETTLE_SECONDS - 1)
    assert floor.counts() == {"one": None}
    floor.pass_time(1)
    assert floor.counts() == {"one": 8}


def test_two_runs_share_and_what_one_leaves_the_other_gets(floor: Floor) -> None:
    floor.join("one", 9)
    floor.pass_time(10)
    floor.join("two", 9)
    floor.pass_time(2)
    assert floor.counts() == {"one": 4, "two": 4}
    share = floor.shares["one"]
    assert share is not None
    assert share.waits == "waits for GPUs: 4 held by job two (normal)"
    del floor.asks["two"]
    floor.manager.leave("two")
    floor.pass_time(1)
    assert floor.counts()["one"] == 8


def test_a_run_that_is_silent_has_died(floor: Floor) -> None:
    floor.join("one", 9)
    floor.join("two", 9, priority=100)
    floor.pass_time(10)
    assert floor.counts() == {"one": 1, "two": 7}
    del floor.asks["two"]
    floor.pass_time(SILENT_SECONDS - 1)
    assert floor.counts()["one"] == 1
    floor.pass_time(3)
    assert floor.counts()["one"] == 8


def test_what_others_hold_for_long_is_not_shared_out(floor: Floor) -> None:
    floor.foreign["a"] = 3.0
    floor.join("one", 9)
    floor.pass_time(OTHERS_SECONDS - 2)
    assert floor.counts() == {"one": 8}
    floor.pass_time(3)
    assert floor.counts() == {"one": 5}
    share = floor.shares["one"]
    assert share is not None
    assert share.waits == "waits for GPUs: 3 held by others"
    node, _ = floor.manager.nodes()
    assert (node.host, dict(node.others)) == ("host-a", {"GPU": 3.0})
    floor.foreign["a"] = 0.0
    floor.pass_time(2)
    assert floor.counts() == {"one": 8}


def test_a_run_that_gets_none_is_told_who_has_them_and_when_it_comes(floor: Floor) -> None:
    for number in range(8):
        floor.join(f"old{number}", 1)
    floor.pass_time(10)
    floor.join("low", 5, priority=25)
    floor.join("late", 5)
    floor.pass_time(5)
    assert floor.counts()["low"] == floor.counts()["late"] == 0
    rows = {row.run: row for row in floor.manager.runs()}
    assert (rows["late"].next, rows["low"].next) == (1, 2)
    assert rows["late"].waits_seconds == pytest.approx(5, abs=1)
    assert rows["low"].waits == (
        "waits for GPUs: 1 held by job old0 (normal), 1 held by job old1 (normal), the rest by 6 more"
    )
    # After its turn an old run makes room, and the first in line comes.
    floor.pass_time(601)
    assert floor.counts()["late"] == 1


def test_runs_on_cpus_and_on_gpus_are_no_rivals(floor: Floor) -> None:
    floor.join("gpus", 9)
    floor.asks["cpus"] = Ask("cpus", "job cpus", "out", "me@here", 9, 4.0, resource="CPU")
    floor.pass_time(10)
    assert floor.counts() == {"gpus": 8, "cpus": 4}


def test_a_run_that_can_use_one_node_alone_gets_it(floor: Floor) -> None:
    floor.join("any", 4)
    floor.join("only a", 4, nodes=("a",))
    floor.pass_time(10)
    found = {run: share and dict(share.workers) for run, share in floor.shares.items()}
    assert found == {"any": {"b": 4}, "only a": {"a": 4}}


def test_very_many_runs_ask_less_often(floor: Floor) -> None:
    for number in range(200):
        floor.join(f"run{number:03}", 3)
    floor.pass_time(4)
    share = floor.shares["run000"]
    assert share is not None
    assert share.again_seconds == 4.0
    assert sum(count or 0 for count in floor.counts().values()) == 8


def test_who_does_not_know_the_token_is_not_served_before_others() -> None:
    floor = Floor(token="of the cluster")
    floor.join("plain", 9)
    floor.join("claims", 9, priority=100)
    floor.join("wrong", 9, priority=100, token="guessed")
    floor.join("low", 9, priority=25)
    floor.pass_time(10)
    assert floor.counts() == {"plain": 2, "claims": 3, "wrong": 2, "low": 1}
    share = floor.shares["claims"]
    assert share is not None
    assert share.waits.endswith(
        "; its priority counts as normal, because it does not know STYLEFARM_FLOOR_TOKEN"
    )
    floor.join("knows", 9, priority=75, token="of the cluster")
    floor.pass_time(2)
    assert floor.counts() == {"plain": 1, "claims": 1, "wrong": 1, "low": 1, "knows": 4}
    assert "of the cluster" not in repr(floor.manager.runs()) + repr(floor.asks["knows"])
