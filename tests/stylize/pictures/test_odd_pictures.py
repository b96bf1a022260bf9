"""Pictures nobody would choose and somebody will send: flat, tiny, long, odd. All presets paint them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from stylize import PictureError, Recipe, Result, Step, stylize
from stylize.optimise.guard import Guard
from stylize.pictures.pixel_spaces import IMAGENET
from stylize.presets import PRESETS
from stylize.render import render
from tests.stylize.support import noise, photo, tiny_network


def flat(red: float, green: float, blue: float, height: int = 36, width: int = 48) -> Tensor:
    """(1, 3, H, W) of one colour."""
    return (
        torch.tensor([red, green, blue], dtype=torch.float32)
        .view(1, 3, 1, 1)
        .repeat(1, 1, height, width)
    )


CONTENT, STYLE = photo(1, 36, 48), noise(2, 40, 30)
BLACK, WHITE, RUST, SKY = flat(0, 0, 0), flat(1, 1, 1), flat(0.7, 0.3, 0.1), flat(0.2, 0.5, 0.7)

PICTURES: dict[str, tuple[Tensor, Tensor]] = {
    "flat style": (CONTENT, RUST),
    "black style": (CONTENT, BLACK),
    "white style": (CONTENT, WHITE),
    "flat content": (SKY, STYLE),
    "black content": (BLACK, STYLE),
    "white content": (WHITE, STYLE),
    "both flat": (SKY, RUST),
    "both black": (BLACK, flat(0, 0, 0, 32, 32)),
    "style is content": (CONTENT, CONTENT),
    "grey content": (CONTENT.mean(1, keepdim=True).expand(1, 3, 36, 48), STYLE),
    "grey style": (CONTENT, STYLE.mean(1, keepdim=True).expand(1, 3, 40, 30)),
    "style of 16 px": (CONTENT, noise(3, 16, 16)),
    "style of a pixel": (CONTENT, noise(3, 1, 1)),
    "sliver of a style": (CONTENT, noise(3, 4, 400)),
    "large style": (CONTENT, photo(3, 300, 400)),
    "32 px": (photo(1, 32, 32), STYLE),
    "33 px": (photo(1, 33, 33), STYLE),
    "47 x 63 px": (photo(1, 47, 63), STYLE),
    "35 x 47 px": (photo(1, 35, 47), noise(2, 47, 35)),
    "panorama": (photo(1, 16, 320), STYLE),
    "tower": (photo(1, 320, 16), STYLE),
}


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> list[Guard]:
    """Those of the renders that are made, one for each size."""
    made: list[Guard] = []

    class Remembered(Guard):
        def __init__(self, x: Tensor, *rest: Any) -> None:
            super().__init__(x, *rest)
            made.append(self)

    monkeypatch.setattr(render, "Guard", Remembered)
    return made


def paint(content: Any, style: Any, **knobs: Any) -> tuple[Result, list[Step]]:
    """At the content's own size, on the CPU, with a network of a few channels unless one is named."""
    steps: list[Step] = []
    network = None if "weights" in knobs else tiny_network(IMAGENET)
    made = Recipe.model_validate({"size": max(content.shape[2:]), **knobs})
    result = stylize(content, style, made, network=network, device="cpu", observer=steps.extend)
    return result, steps


NEXT_TO_NOTHING = 0.01
"""A loss that some presets begin with where the style is the content."""


def assert_painted(content: Tensor, result: Result, steps: list[Step], guards: list[Guard]) -> None:
    """A picture of the content's shape, no step towards it without numbers, and none undone."""
    rgb = result.picture.rgb
    assert rgb.shape == content.shape
    assert bool(((rgb >= 0) & (rgb <= 1)).all())  # no number is neither
    for step in steps:
        terms = (step.total, step.content, step.style, step.tv, *step.style_layers)
        assert all(map(math.isfinite, terms)), step
    last = [step.total for step in steps if step.scale == result.recipe.size]
    # Where there is next to nothing to gain, Adam's steps of constant length may lose a little of it.
    assert last[-1] <= last[0] or last[-1] < NEXT_TO_NOTHING
    assert not any(guard.restarts_B.any() for guard in guards)


@pytest.mark.parametrize("pictures", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_paints_it(
    preset: str, pictures: tuple[Tensor, Tensor], guards: list[Guard]
) -> None:
    content, style = pictures
    longest = max(content.shape[2:])
    # Through all five blocks at the first size, and where there is room for two at two.
    start = 32 if 40 < longest < 100 else None
    # Within the first steps of a size L-BFGS's loss may jump; by the eighth it is below where it was.
    result, steps = paint(content, style, preset=preset, start_size=start, steps=12, refine_steps=8)
    assert_painted(content, result, steps, guards)


def test_a_start_that_cannot_be_improved_is_no_failure(guards: list[Guard]) -> None:
    """The style is the content but for the last bits that its resizing leaves."""
    style = flat(0.2, 0.5, 0.7, 32, 32)
    result, _ = paint(SKY, style, preset="notebook", steps=200)
    torch.testing.assert_close(result.picture.rgb, SKY, rtol=0, atol=0.01)


@pytest.mark.parametrize("strips", ["on", "off"])
@pytest.mark.parametrize("shape", [(35, 47), (33, 33), (16, 161), (161, 17)])
def test_an_odd_canvas_with_an_odd_margin_is_cut_where_it_was_added(
    shape: tuple[int, int], strips: str, guards: list[Guard]
) -> None:
    content = photo(1, *shape)
    knobs: dict[str, Any] = {"start_size": None, "margin": 7, "strips": strips, "steps": 4}
    result, steps = paint(content, STYLE, **knobs)
    assert_painted(content, result, steps, guards)
    still, _ = paint(content, STYLE, **{**knobs, "steps": 1, "learning_rate": 1e-9})
    torch.testing.assert_close(still.picture.rgb, content, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 400), (2, 3)])
def test_a_content_of_a_pixels_width_is_painted_or_refused_in_words(
    shape: tuple[int, int], guards: list[Guard]
) -> None:
    """At 64 px a square of any size is large enough, and a line is not."""
    content = photo(1, *shape)
    knobs: dict[str, Any] = {"size": 64, "start_size": None, "steps": 3}
    if max(shape) > 2 * min(shape):
        with pytest.raises(PictureError, match=r"short side would be \d+ px"):
            paint(content, STYLE, **knobs)
    else:
        result, _ = paint(content, STYLE, **knobs)
        assert max(result.picture.rgb.shape[2:]) == 64


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_behind_alpha_is_painted_and_alpha_kept(preset: str, guards: list[Guard]) -> None:
    image = Image.new("RGBA", (48, 36), (255, 0, 0, 0))
    image.paste((20, 90, 200, 255), (10, 8, 40, 30))
    # In float32: random networks make more of rounding than the one that has learned.
    knobs = {"size": 48, "start_size": None, "steps": 4, "precision": "float32"}
    made = Recipe.model_validate({"preset": preset, **knobs})
    style = Image.new("RGBA", (30, 30), (0, 200, 0, 0))
    steps: list[Step] = []
    result = stylize(
        image, style, made, network=tiny_network(IMAGENET), device="cpu", observer=steps.extend
    )
    assert_painted(result.picture.rgb, result, steps, guards)
    assert result.picture.alpha is not None
    assert result.picture.alpha.unique().tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "style"),
    [
        (photo(1, 48, 64), RUST),
        (photo(1, 48, 64), WHITE),
        (WHITE, STYLE),
        (photo(1, 16, 320), STYLE),
    ],
    ids=["flat style", "white style", "white content", "panorama"],
)
def test_the_original_network_paints_it(
    content: Tensor, style: Tensor, guards: list[Guard]
) -> None:
    result, steps = paint(content, style, weights="caffe", start_size=None, steps=10)
    assert_painted(content, result, steps, guards)
