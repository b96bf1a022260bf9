"""Priorities, as numbers and as people say them."""

from __future__ import annotations

import pytest

from jobs.spec.sharing import LEVELS, name_of, points_of, priority_of


@pytest.mark.parametrize(("text", "points"), [*LEVELS.items(), ("0", 0), ("60", 60), ("99", 99)])
def test_a_priority_is_a_word_or_a_number(text: str, points: int) -> None:
    assert points_of(priority_of(text)) == points
    assert name_of(points) == text


@pytest.mark.parametrize("text", ["", "High", "highest", "-1", "101", "50.5"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no priority"):
        priority_of(text)
