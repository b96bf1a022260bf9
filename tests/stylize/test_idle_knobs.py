"""Knobs without effect: they change no picture, and so no task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stylize import Recipe, stylize
from stylize.idle_knobs import IDLE, idle_knobs
from stylize.pictures.pixel_spaces import IMAGENET
from tests.stylize.support import noise, photo, recipe, tiny_network

ADAM = {"optimizer": "adam", "learning_rate": 0.02, "space": "rgb"}
ONE_SIZE = {"start_size": None}

CASES: list[tuple[dict[str, Any], str, Any, Any]] = [
    ({"init": "content"}, "seed", 0, 7),
    ({"init": "content"}, "init_noise", 0.01, 0.5),
    ({"init": "style_stats"}, "init_noise", 0.01, 0.5),
    (ONE_SIZE, "size_factor", 2.0, 3.0),
    (ONE_SIZE, "refine_steps", 1, 9),
    ({"optimizer": "lbfgs"}, "beta2", 0.9, 0.99),
    ({"optimizer": "lbfgs"}, "carry_moments", False, True),
    ({**ADAM, **ONE_SIZE}, "carry_moments", False, True),
    (ADAM, "history", 3, 30),
    (ADAM, "history_precision", "float32", "bfloat16"),
    (ADAM, "preconditioner", "none", "frequency"),
    ({"style_loss": "wasserstein"}, "gram", "none", "positions"),
    ({"style_loss": "wasserstein"}, "style_norm", "none", "paper"),
    ({"colors": "style"}, "color_method", "luminance", "histogram"),
    ({"tv_weight": 0.0}, "tv", "squares", "absolute"),
    ({"pooling": "max"}, "rescale_pooling", False, True),
    ({"weights": "caffe"}, "weights_input", None, "caffe"),
]


def made(knobs: dict[str, Any], **more: Any) -> Recipe:
    return recipe(**{"size": 32, "steps": 2, **knobs, **more})


@pytest.mark.parametrize(("knobs", "knob", "one", "other"), CASES)
def test_a_knob_without_effect_changes_no_picture(
    knobs: dict[str, Any], knob: str, one: Any, other: Any
) -> None:
    results = [
        stylize(
            photo(1, 24, 32),
            noise(2, 40, 30),
            made(knobs, **{knob: value}),
            network=tiny_network(IMAGENET),
            device="cpu",
        )
        for value in (one, other)
    ]
    assert torch.equal(results[0].picture.rgb, results[1].picture.rgb)
    for value in (one, other):
        assert knob in idle_knobs(made(knobs, **{knob: value}))


@pytest.mark.parametrize(("knobs", "knob", "one", "other"), CASES)
def test_a_knob_without_effect_makes_no_other_task(
    knobs: dict[str, Any], knob: str, one: Any, other: Any
) -> None:
    first, second = (made(knobs, **{knob: value}) for value in (one, other))
    assert first.usual().identity() == second.usual().identity()


def test_every_knob_is_tried() -> None:
    assert {case[1] for case in CASES} == set(IDLE)


EFFECTIVE: list[tuple[dict[str, Any], str, Any]] = [
    ({"init": "noise"}, "seed", 7),
    ({"init": "style_stats"}, "seed", 7),
    ({"init": "noise"}, "init_noise", 0.5),
    (ADAM, "beta2", 0.9),
    ({"optimizer": "lbfgs"}, "history", 3),
    ({"style_loss": "gram"}, "gram", "none"),
    ({"style_loss": "gram"}, "style_norm", "paper"),
    ({"colors": "content"}, "color_method", "histogram"),
    ({"tv_weight": 1.0}, "tv", "absolute"),
    ({"pooling": "average"}, "rescale_pooling", True),
]


@pytest.mark.parametrize(("knobs", "knob", "value"), EFFECTIVE)
def test_where_it_has_an_effect_it_makes_another_task(
    knobs: dict[str, Any], knob: str, value: Any
) -> None:
    plain = made(knobs)
    assert getattr(plain, knob) != value
    assert knob not in idle_knobs(plain)
    assert made(knobs, **{knob: value}).usual().identity() != plain.usual().identity()
