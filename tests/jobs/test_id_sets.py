"""Sets and tables of ids against Python's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.id_sets import IdSet, IdTable, as_numbers

IDS = st.integers(0, 2**64 - 1) | st.integers(0, 40)


def numbers(ids: list[int]) -> np.ndarray:
    return np.array(ids, dtype=np.uint64)


@given(st.lists(st.lists(IDS)))
def test_a_set_knows_what_it_was_given_and_when_first(batches: list[list[int]]) -> None:
    ours, theirs = IdSet(), set()
    for batch in batches:
        assert ours.contains(numbers(batch)).tolist() == [i in theirs for i in batch]
        expected = []
        for number in batch:
            expected.append(number not in theirs)
            theirs.add(number)
        assert ours.add_new(numbers(batch)).tolist() == expected
        assert len(ours) == len(theirs)


@given(st.lists(st.tuples(IDS, st.integers(1, 200))), st.lists(IDS))
def test_a_table_gives_the_last_value_of_each_id(
    pairs: list[tuple[int, int]], asked: list[int]
) -> None:
    table = IdTable(numbers([i for i, _ in pairs]), np.array([v for _, v in pairs], dtype=np.uint8))
    known = dict(pairs)
    wanted = [*asked, *known]
    assert table.find(numbers(wanted)).tolist() == [known.get(i, 0) for i in wanted]
    assert len(table) == len(known)


def test_ids_become_numbers() -> None:
    assert as_numbers(["0" * 16, "f" * 16, "00000000000000ff"]).tolist() == [0, 2**64 - 1, 255]


def test_a_million_ids_take_a_dozen_bytes_each() -> None:
    ids = IdSet()
    for start in range(0, 1_000_000, 4096):
        ids.add_new(np.arange(start, start + 4096, dtype=np.uint64))
    assert sum(run.nbytes for run in ids._runs) <= 12 * len(ids)
    assert len(ids._runs) < 24
