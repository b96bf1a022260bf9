"""Loss logs as TensorBoard reads them."""

from __future__ import annotations

import math

import pytest

from jobs.records.event_file import event_file
from jobs.records.loss_log import LossRow
from tests.support.event_files import crc32c, scalars


def test_the_check_of_these_tests_is_the_one_of_the_format() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4


def test_every_term_and_layer_of_every_row_is_a_scalar() -> None:
    rows = [
        LossRow(32, 0, math.nan, 1.0, 2.0, (0.5, 1.5), 0.25, 0.0),
        LossRow(64, 127, 3.25, 1.0, 2.0, (0.5, 1.5), 0.25, 1.5),
        LossRow(64, 100_000, 1e30, 1.0, 2.0, (0.5, 1.5), 0.25, 4.0),
    ]
    found = scalars(event_file(rows, ("relu1_1", "ähre"), 1004.0))

    assert set(found) == {
        *("loss/total", "loss/content", "loss/style", "loss/tv"),
        *("style/relu1_1", "style/ähre"),
    }
    (zero, first, _), (step, value, when), (last, large, end) = found["loss/total"]
    assert (zero, step, last) == (0, 127, 100_000)
    assert math.isnan(first)
    assert (value, large) == (3.25, pytest.approx(1e30))
    assert (when, end) == (1001.5, 1004.0)
    assert [value for _, value, _ in found["style/ähre"]] == [1.5] * 3
    assert [value for _, value, _ in found["loss/tv"]] == [0.25] * 3


def test_a_log_without_rows_is_an_event_file_without_scalars() -> None:
    assert scalars(event_file([], (), 1004.0)) == {}
