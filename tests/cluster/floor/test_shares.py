"""The shares of runs: never more than there is, nothing idle, no envy, and nothing that flaps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cluster.floor.shares import Demand, Placement, share_out

NODES = ["a", "b", "c", "d"]


def counts(shares: dict[str, Placement]) -> dict[str, int]:
    return {run: sum(nodes.values()) for run, nodes in shares.items()}


def four_by_four() -> dict[str, float]:
    return dict.fromkeys(NODES, 4)


def test_one_run_has_everything() -> None:
    assert share_out(four_by_four(), [Demand("one", 500, 1)]) == {"one": dict.fromkeys(NODES, 4)}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((1, 1), [8, 8]), ((3, 1), [12, 4]), ((1, 1, 1), [6, 5, 5]), ((0.5, 1.5), [4, 12])],
)
def test_runs_of_one_priority_share_by_weight(weights: tuple[float, ...], expected: list[int]):
    demands = [Demand(f"run-{k}", 500, 1, weight=w) for k, w in enumerate(weights)]
    assert list(counts(share_out(four_by_four(), demands)).values()) == expected


def test_an_urgent_run_leaves_a_low_one_its_fewest() -> None:
    low, urgent = Demand("low", 500, 1, priority=25), Demand("urgent", 8, 1, priority=100)
    assert counts(share_out(four_by_four(), [low, urgent])) == {"low": 8, "urgent": 8}
    more = Demand("urgent", 100, 1, priority=100)
    assert counts(share_out(four_by_four(), [low, more])) == {"low": 1, "urgent": 15}
    none = Demand("low", 500, 1, priority=25, fewest=0)
    assert counts(share_out(four_by_four(), [none, more])) == {"low": 0, "urgent": 16}


def test_where_not_everybody_can_have_one_rank_decides() -> None:
    demands = [Demand(f"run-{k}", 5, 1, priority=10 * k, rank=-k) for k in range(4)]
    shares = counts(share_out({"a": 3}, demands))
    assert shares == {"run-0": 0, "run-1": 1, "run-2": 1, "run-3": 1}


def test_workers_of_several_sizes_share_devices() -> None:
    demands = [Demand("four", 9, 4), Demand("one", 99, 1), Demand("half", 99, 0.5)]
    shares = share_out(four_by_four(), demands)
    assert counts(shares) == {"four": 1, "one": 6, "half": 12}


def test_shares_of_a_device_are_not_joined() -> None:
    assert counts(share_out({"a": 2}, [Demand("run", 9, 0.4)])) == {"run": 4}
    assert counts(share_out({"a": 2, "b": 3}, [Demand("run", 9, 2)])) == {"run": 2}


def test_a_run_that_can_go_elsewhere_makes_room() -> None:
    any_node, only_a = Demand("any", 4, 1), Demand("only a", 4, 1, nodes=frozenset("a"), rank=1)
    shares = share_out({"a": 4, "b": 4}, [any_node, only_a])
    assert shares == {"any": {"b": 4}, "only a": {"a": 4}}


def test_a_chain_of_runs_makes_room() -> None:
    demands = [
        Demand("ab", 1, 1, nodes=frozenset("ab")),
        Demand("bc", 1, 1, nodes=frozenset("bc")),
        Demand("cd", 1, 1, nodes=frozenset("cd")),
        Demand("a", 1, 1, nodes=frozenset("a"), rank=1),
    ]
    shares = share_out(dict.fromkeys(NODES, 1), demands)
    assert shares == {"ab": {"b": 1}, "bc": {"c": 1}, "cd": {"d": 1}, "a": {"a": 1}}


@pytest.mark.parametrize("node", ["a", "d"])
def test_whole_devices_make_room_for_shares_of_one(node: str) -> None:
    shares = Demand("shares", 5, 0.5, fewest=0, nodes=frozenset(node))
    whole = Demand("whole", 2, 1, fewest=0)
    assert counts(share_out({"a": 4, "d": 4}, [shares, whole])) == {"shares": 5, "whole": 2}
    more = Demand("more", 9, 1)
    assert counts(share_out({"a": 4, "d": 4}, [shares, more])) == {"shares": 5, "more": 5}


def test_what_is_held_stays_where_it_is() -> None:
    old = Demand("old", 9, 1, held={"b": 2, "c": 2, "d": 4})
    shares = share_out(four_by_four(), [old, Demand("new", 9, 1)])
    assert shares["old"] == {"b": 2, "c": 2, "d": 4}
    assert counts(shares) == {"old": 8, "new": 8}


runs = st.lists(
    st.builds(
        Demand,
        run=st.uuids().map(str),
        wanted=st.integers(0, 20),
        each=st.sampled_from([0.25, 0.3, 0.5, 1, 1, 1, 2, 4]),
        fewest=st.integers(0, 3),
        priority=st.sampled_from([25, 50, 75, 100]),
        weight=st.sampled_from([0.5, 1.0, 1.0, 2.0, 3.0]),
        rank=st.floats(-10, 10),
        nodes=st.none() | st.frozensets(st.sampled_from([*NODES, "gone"])),
        held=st.dictionaries(st.sampled_from([*NODES, "gone"]), st.integers(0, 6)),
    ),
    max_size=8,
    unique_by=lambda demand: demand.run,
)
floors = st.dictionaries(st.sampled_from(NODES), st.integers(0, 8))


def _whole_and_parts(placed: Counter[float]) -> float:
    """The fewest devices that can hold these workers, where shares of one size are packed by themselves:
    at least as many as they need."""
    return sum(each * n if each >= 1 else -(-n // int(1 / each)) for each, n in placed.items())


@given(floors, runs)
@settings(max_examples=400)
def test_never_more_than_there_is_and_nobody_gets_what_he_cannot_use(devices, demands) -> None:
    shares = share_out(devices, demands)
    assert shares.keys() == {demand.run for demand in demands}
    for node, room in devices.items():
        used = sum(shares[d.run].get(node, 0) * d.each for d in demands)
        assert used <= room + 1e-9
        whole = sum(shares[d.run].get(node, 0) * d.each for d in demands if d.each >= 1)
        largest = [d.each for d in demands if d.each < 1 for _ in range(shares[d.run].get(node, 0))]
        assert sum(share > 0.5 for share in largest) <= room - whole
    for demand in demands:
        assert sum(shares[demand.run].values()) <= demand.wanted
        assert all(demand.may_use(node) and node in devices for node in shares[demand.run])
        assert all(shares[demand.run].values())


@given(floors, runs)
@settings(max_examples=400)
def test_no_device_is_idle_while_anybody_wants_it(devices, demands) -> None:
    shares = share_out(devices, demands)
    for demand in demands:
        if sum(shares[demand.run].values()) == demand.wanted:
            continue
        for node, room in devices.items():
            if not demand.may_use(node):
                continue
            on_node: Counter[float] = Counter()
            for other in demands:
                on_node[other.each] += shares[other.run].get(node, 0)
            on_node[demand.each] += 1
            assert _whole_and_parts(on_node) > room - 1 + min(1, demand.each) - 1e-9


@given(floors, runs, st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_neither_what_is_held_nor_the_order_changes_how_many(devices, demands, random) -> None:
    found = counts(share_out(devices, demands))
    shuffled = [
        Demand(d.run, d.wanted, d.each, d.fewest, d.priority, d.weight, d.rank, d.nodes)
        for d in random.sample(demands, len(demands))
    ]
    assert counts(share_out(devices, shuffled)) == found


@given(floors, runs)
@settings(max_examples=400)
def test_who_has_his_share_keeps_his_place(devices, demands) -> None:
    assume(all(demand.each != 0.3 for demand in demands))  # no multiple of a quarter
    shares = share_out(devices, demands)
    again = [
        Demand(
            d.run, d.wanted, d.each, d.fewest, d.priority, d.weight, d.rank, d.nodes, shares[d.run]
        )
        for d in demands
    ]
    assert share_out(devices, again) == shares


@given(floors, runs, st.data())
@settings(max_examples=400)
def test_a_share_stays_where_it_is_while_its_workers_are_on_their_way(
    devices, demands, data
) -> None:
    """What runs hold lags behind their shares: nobody is sent elsewhere again for that."""
    demands = [replace(d, each=round(d.each) or 1) for d in demands]
    shares = share_out(devices, demands)
    places = st.dictionaries(st.sampled_from(NODES), st.integers(0, 6))
    lagging = [
        replace(
            d,
            held=data.draw(places),
            up={node: data.draw(st.integers(0, count)) for node, count in shares[d.run].items()},
            given=shares[d.run],
        )
        for d in demands
    ]
    assert share_out(devices, lagging) == shares


def test_of_a_share_that_becomes_smaller_what_is_held_stays() -> None:
    given = {"a": 2, "b": 2}
    fewer = Demand("run", 3, 1, given=given, up={"a": 1, "b": 2})
    assert share_out(four_by_four(), [fewer]) == {"run": {"a": 1, "b": 2}}
    more = Demand("run", 5, 1, given=given, held={"a": 2, "d": 3})
    assert share_out(four_by_four(), [more]) == {"run": {"a": 2, "b": 2, "d": 1}}


def test_two_runs_that_have_each_others_place_keep_it() -> None:
    """Else one waits for a place that the other has no reason to leave, and a device is idle."""
    one = Demand("one", 4, 1, given={"a": 4}, up={"a": 3, "b": 1})
    two = Demand("two", 4, 1, given={"b": 4}, up={"b": 3})
    shares = share_out({"a": 4, "b": 4}, [one, two])
    assert shares == {"one": {"a": 3, "b": 1}, "two": {"a": 1, "b": 3}}


of_one_kind = st.lists(
    st.builds(
        Demand,
        run=st.uuids().map(str),
        wanted=st.integers(0, 20),
        each=st.just(1),
        priority=st.sampled_from([25, 50, 100]),
        weight=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
        rank=st.floats(-10, 10),
    ),
    max_size=8,
    unique_by=lambda demand: demand.run,
)


@given(floors, of_one_kind)
@settings(max_examples=300)
def test_no_envy_inside_a_priority_and_none_of_a_lower_one(devices, demands) -> None:
    has = counts(share_out(devices, demands))
    for one in demands:
        if has[one.run] == one.wanted:
            continue
        for other in demands:
            if other.priority == one.priority and has[other.run] > 1:
                assert (has[other.run] - 1) / other.weight <= has[one.run] / one.weight + 1e-9
            if other.priority < one.priority:
                assert has[other.run] <= other.fewest


limited = st.lists(
    st.builds(
        Demand,
        run=st.uuids().map(str),
        wanted=st.integers(0, 6),
        each=st.just(1),
        fewest=st.just(0),
        rank=st.floats(-10, 10),
        nodes=st.frozensets(st.sampled_from(NODES)),
    ),
    max_size=5,
    unique_by=lambda demand: demand.run,
)


@given(floors, limited)
@settings(max_examples=300)
def test_as_much_is_used_as_any_placement_could(devices, demands) -> None:
    shares = share_out(devices, demands)
    assert sum(counts(shares).values()) == _most_workers(devices, demands)


def _most_workers(devices: dict[str, int], demands: list[Demand]) -> int:
    """The most workers that can be placed: by Hall's theorem, the least over all sets of runs of what the
    other runs want and what this set's nodes have."""
    least = sum(d.wanted for d in demands)
    for bits in range(2 ** len(demands)):
        inside = [d for k, d in enumerate(demands) if bits >> k & 1]
        nodes = {node for d in inside for node in d.nodes or ()}
        rest = sum(d.wanted for k, d in enumerate(demands) if not bits >> k & 1)
        least = min(least, rest + sum(devices.get(node, 0) for node in nodes))
    return least
