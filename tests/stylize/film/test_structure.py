"""Which frames a frame holds to."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.film.structure import (
    KEY_DISTANCE,
    KEYS_BACK,
    interval,
    keys_of,
    place_of,
    places,
)


def depths(found: list) -> dict[int, int]:
    """The generations before each frame; it fails where a frame comes before what it needs."""
    depth: dict[int, int] = {}
    for place in found:
        depth[place.index] = 1 + max((depth[need] for need in place.needs), default=-1)
    return depth


@given(st.integers(1, 700), st.integers(0, 5), st.booleans())
def test_every_frame_comes_once_and_after_what_it_needs(length: int, first: int, loop: bool):
    found = list(places([(first, first + length)], loop=loop))
    depth = depths(found)
    assert sorted(depth) == list(range(first, first + length))
    assert len(found) == length
    assert max(depth.values()) <= length // KEY_DISTANCE + math.ceil(math.log2(KEY_DISTANCE)) + 1
    for place in found:
        assert place == place_of(place.index, [(first, first + length)], loop=loop)


@given(st.integers(2, 300), st.booleans())
def test_of_two_neighbours_one_holds_to_the_other(length: int, loop: bool):
    needs = {place.index: place.needs for place in places([(0, length)], loop=loop)}
    pairs = [(k, k + 1) for k in range(length - 1)]
    if loop and length > 2:
        pairs.append((length - 1, 0))
    for one, other in pairs:
        assert other in needs[one] or one in needs[other]
    for index, own in needs.items():
        assert len(set(own)) == len(own) <= 3
        assert index not in own


def test_between_keys_both_sides_hold():
    needs = {place.index: place.needs for place in places([(0, 33)])}
    assert needs[0] == ()
    assert needs[16] == (0,)
    assert needs[32] == (16, 0)
    assert set(needs[8]) == {0, 16}
    assert set(needs[5]) == {4, 6}
    assert all(len(own) == 2 for index, own in needs.items() if index % 16)


def test_keys_hold_to_earlier_keys_too():
    needs = {place.index: place.needs for place in places([(3, 3 + 100)]) if place.key}
    assert needs[3] == ()
    assert needs[3 + 64] == (3 + 48, 3 + 32, 3)
    assert needs[3 + 99] == (3 + 96, 3 + 80, 3 + 48)


@given(st.integers(1, 200))
def test_interval_by_interval_it_is_the_same(length: int):
    whole = {place.index: place for place in places([(0, length)])}
    keys = keys_of(0, length)
    found = []
    for end in range(len(keys)):
        window = keys[max(0, end - max(KEYS_BACK)) : end + 1]
        found += list(interval(window))
    assert [place.index for place in sorted(found, key=lambda one: one.index)] == list(
        range(length)
    )
    assert all(place == whole[place.index] for place in found)


def test_a_longer_film_leaves_all_but_the_last_interval_as_it_was():
    before = {place.index: place for place in places([(0, 100)])}
    after = {place.index: place for place in places([(0, 140)])}
    assert all(before[k] == after[k] for k in range(96 + 1))


def test_shots_know_nothing_of_each_other():
    found = list(places([(0, 20), (20, 21), (21, 60)]))
    assert [place.index for place in found if not place.needs] == [0, 20, 21]
    for place in found:
        shot = (0, 20) if place.index < 20 else (20, 21) if place.index < 21 else (21, 60)
        assert all(shot[0] <= need < shot[1] for need in place.needs)


def test_the_key_after_next_comes_before_what_lies_between():
    order = [place.index for place in places([(0, 100)])]
    assert order[:4] == [0, 16, 32, 8]
    assert order.index(48) < order.index(17)


def test_an_empty_shot_and_a_loop_with_a_cut_are_errors():
    with pytest.raises(ValueError, match="has no frame"):
        list(places([(3, 3)]))
    with pytest.raises(ValueError, match="a loop is one shot"):
        list(places([(0, 3), (3, 6)], loop=True))
