"""Loss logs keep every N-th row and the ends of each size, and can be read while they grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.records.loss_log import LossLog, LossRow, parse

LAYERS = ("conv1_1", "conv2_1")


def row(scale: int, step: int) -> LossRow:
    """Every number another, so that no two columns can be mixed up."""
    total = scale + 1 / step
    return LossRow(
        scale, step, total, total / 2, total / 4, (total / 8, total / 16), 0.125, step / 8
    )


def rows(scale: int, steps: int) -> list[LossRow]:
    return [row(scale, step) for step in range(1, steps + 1)]


def logged(made: Sequence[LossRow], every: int = 10) -> LossLog:
    log = LossLog(LAYERS, every)
    log.add(made)
    return log


def steps_in(log: LossLog) -> list[tuple[int, int]]:
    return [(found.scale, found.step) for found in parse(log.to_bytes())]


def test_every_nth_row_and_the_ends_of_each_size() -> None:
    log = logged([*rows(128, 25), *rows(256, 20), *rows(512, 1)])
    assert steps_in(log) == [
        *((128, 1), (128, 10), (128, 20), (128, 25)),
        *((256, 1), (256, 10), (256, 20)),
        (512, 1),
    ]


def test_every_row_where_every_is_one() -> None:
    assert steps_in(logged(rows(64, 5), every=1)) == [(64, step) for step in range(1, 6)]


def test_the_newest_row_is_there_while_it_runs_and_leaves_with_the_next() -> None:
    log = logged(rows(64, 12))
    assert steps_in(log) == [(64, 1), (64, 10), (64, 12)]
    assert log.to_bytes() == log.to_bytes()
    log.add([row(64, 13)])
    assert steps_in(log) == [(64, 1), (64, 10), (64, 13)]


def test_a_log_without_rows_has_its_columns() -> None:
    log = LossLog(LAYERS, 10)
    assert log.to_bytes() == (
        b"scale,step,total,content,style,style_conv1_1,style_conv2_1,tv,seconds\n"
    )
    assert parse(log.to_bytes()) == []
    assert (log.final_losses(), log.last) == ({}, None)


def test_what_is_written_is_read_back() -> None:
    (found,) = parse(logged([row(640, 3)]).to_bytes())
    assert (found.scale, found.step) == (640, 3)
    for value, expected in zip(found[2:5], row(640, 3)[2:5], strict=True):
        assert value == pytest.approx(expected, rel=1e-6)
    assert found.style_layers == pytest.approx(row(640, 3).style_layers, rel=1e-6)
    assert (found.tv, found.seconds) == (0.125, 0.375)


def test_the_columns_of_a_row() -> None:
    text = logged([LossRow(64, 1, 10.0, 4.0, 5.0, (3.0, 2.0), 1.0, 0.25)]).to_bytes().decode()
    header, line = text.splitlines()
    assert dict(zip(header.split(","), map(float, line.split(",")), strict=True)) == {
        **{"scale": 64, "step": 1, "total": 10, "content": 4, "style": 5},
        **{"style_conv1_1": 3, "style_conv2_1": 2, "tv": 1, "seconds": 0.25},
    }


def test_final_losses_are_those_of_the_newest_row() -> None:
    log = logged([*rows(64, 3), LossRow(128, 7, 10.0, 4.0, 5.0, (3.0, 2.0), 1.0, 0.25)])
    assert log.final_losses() == {
        **{"total": 10, "content": 4, "style": 5},
        **{"style_conv1_1": 3, "style_conv2_1": 2, "tv": 1},
    }
    assert log.last is not None
    assert log.last.step == 7


def test_losses_that_are_no_numbers_are_read_back() -> None:
    bad = LossRow(64, 1, math.inf, math.nan, -math.inf, (math.inf, 0.0), 1e-300, 0.0)
    (found,) = parse(logged([bad]).to_bytes())
    assert (found.total, found.style, found.tv) == (math.inf, -math.inf, 1e-300)
    assert math.isnan(found.content)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"a,b\n1,2\n",
        b"scale,step,total,content,style,tv,seconds\n1,2\n",
        b"scale,step,total,content,style,tv,seconds\n1,2,x,4,5,6,7\n",
    ],
)
def test_what_is_no_log(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of its kinds
        parse(data)


SIZES = st.lists(st.integers(1, 35), min_size=1, max_size=4)


@settings(max_examples=60)
@given(SIZES, st.integers(1, 12), st.lists(st.integers(0, 80), max_size=4))
def test_rows_stay_in_order_however_they_come(
    counts: list[int], every: int, cuts: list[int]
) -> None:
    made = [found for k, count in enumerate(counts) for found in rows(64 << k, count)]
    log = LossLog(LAYERS, every)
    ends = sorted({min(cut, len(made)) for cut in cuts} | {0, len(made)})
    for start, end in pairwise(ends):
        log.add(made[start:end])
        assert steps_in(log)[-1] == (made[end - 1].scale, made[end - 1].step)
    assert log.to_bytes() == logged(made, every).to_bytes()
    assert steps_in(log) == [
        (64 << k, step)
        for k, count in enumerate(counts)
        for step in range(1, count + 1)
        if step in (1, count) or step % every == 0
    ]
