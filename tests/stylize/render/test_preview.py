"""Looking at a picture while it is painted changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from stylize import Recipe, Result, stylize
from stylize.pictures.picture import Picture
from stylize.render import render
from tests.stylize.support import noise, photo, recipe, tiny_network

PYRAMID = {"size": 64, "start_size": 32, "steps": 5, "refine_steps": 4, "segment": 3, "margin": 5}

Offered = Callable[[], Sequence[Picture]]


def painted(made: Recipe, count: int = 1, **options: Any) -> Result:
    contents = [photo(k, 30, 40) for k in range(count)]
    styles = [noise(9 + k, 32, 32) for k in range(count)]
    return stylize(contents, styles, made, network=tiny_network(), device="cpu", **options)


def same(one: Result, other: Result) -> bool:
    pairs = zip(one.pictures, other.pictures, strict=True)
    return all(torch.equal(a.rgb, b.rgb) for a, b in pairs)


@pytest.mark.parametrize(
    ("knobs", "count"),
    [
        pytest.param({}, 1, id="lbfgs"),
        pytest.param({"optimizer": "adam", "learning_rate": 2.0, "average": 0.9}, 1, id="adam"),
        pytest.param({}, 3, id="a batch"),
        pytest.param({"strips": "on"}, 1, id="in strips"),
        pytest.param({"colors": "content", "color_method": "luminance"}, 2, id="luminance"),
    ],
)
def test_a_picture_that_was_looked_at_is_the_same_bit_for_bit(
    knobs: dict[str, Any], count: int
) -> None:
    made = recipe(**PYRAMID, **knobs)
    seen: list[Sequence[Picture]] = []

    def look(pictures: range, make: Offered) -> None:
        assert pictures == range(count)
        seen.append(make())

    looked_at = painted(made, count, on_preview=look)
    assert same(looked_at, painted(made, count))
    assert len(seen) == made.total_steps
    assert {tuple(p.rgb.shape) for shown in seen for p in shown} == {
        (1, 3, 24, 32),
        (1, 3, 48, 64),
    }
    # The last preview is the picture itself, but for what the last look at the loss does to it.
    if "average" not in knobs:
        for last, picture in zip(seen[-1], looked_at.pictures, strict=True):
            assert (last.rgb - picture.rgb).abs().max() < 1e-5
            assert 0 <= last.rgb.min() <= last.rgb.max() <= 1


def test_a_preview_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "PREVIEW_SIZE", 20)
    seen: list[Picture] = []
    result = painted(recipe(**PYRAMID), on_preview=lambda _, make: seen.extend(make()))
    assert {tuple(p.rgb.shape[2:]) for p in seen} == {(15, 20)}
    mean = result.picture.rgb.mean((2, 3))
    assert (seen[-1].rgb.mean((2, 3)) - mean).abs().max() < 0.02


def test_what_a_look_costs_is_paid_only_by_who_looks() -> None:
    calls = []
    painted(recipe(**PYRAMID), on_preview=lambda pictures, make: calls.append(pictures))
    assert len(calls) == 9


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("out of memory")])
def test_a_preview_that_fails_is_given_up_and_the_render_is_not(error: Exception) -> None:
    calls = []

    def look(pictures: range, make: Offered) -> None:
        calls.append(make())
        raise error

    result = painted(recipe(**PYRAMID), on_preview=look)
    assert len(calls) == 1
    assert result.concessions == ()
    assert same(result, painted(recipe(**PYRAMID)))
