"""What pictures hold to: its loss, its gradient, and how firmly pixels stay."""

from __future__ import annotations

import pytest
import torch

from stylize.api import stylize
from stylize.bands.band import Band
from stylize.errors import CheckpointError, PictureError
from stylize.losses.held import Held, without_drift
from stylize.losses.objective import Objective
from stylize.pictures.picture import Reference
from stylize.pictures.pixel_spaces import CAFFE, RGB, SPACES
from stylize.render.checkpoint import Checkpoint
from tests.stylize.support import noise, photo, recipe, tiny_network

HEIGHT, WIDTH = 24, 32


def left_half() -> torch.Tensor:
    weight = torch.zeros(1, 1, HEIGHT, WIDTH)
    weight[..., : WIDTH // 2] = 1
    return weight


def test_the_loss_is_the_mean_of_weighted_squares():
    """Golden: computed from the formula, pixel by pixel."""
    kept, at = noise(1, 2, 3), noise(2, 2, 3)
    weight = torch.tensor([[[[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]]]])
    expected = sum(
        weight[0, 0, y, x].item() * (at[0, c, y, x] - kept[0, c, y, x]).item() ** 2
        for c in range(3)
        for y in range(2)
        for x in range(3)
    ) / (3 * 2 * 3)
    loss = Held(kept, weight).loss(at, RGB, torch.tensor([7.0]), None, Band(2))
    assert loss.item() == pytest.approx(7 * expected, rel=1e-6)


@pytest.mark.parametrize("space", ["caffe", "imagenet", "rgb"])
def test_the_gradient_is_that_of_the_loss(space: str):
    held = Held(noise(1, 6, 5, torch.float64), noise(3, 6, 5, torch.float64)[:, :1])
    x = SPACES[space].from_rgb(noise(2, 6, 5, torch.float64)).requires_grad_()
    factor = torch.tensor([3.0], dtype=torch.float64)
    loss = held.loss(x, SPACES[space], factor, None, Band(6))
    (expected,) = torch.autograd.grad(loss.sum(), x)
    gradient = torch.ones_like(x)
    held.loss(x.detach(), SPACES[space], factor, gradient, Band(6))
    assert torch.allclose(gradient - 1, expected, rtol=1e-9, atol=1e-12)


def test_the_same_firmness_beside_any_recipe():
    """What is held pulls as hard, beside the style, in whatever units a recipe has its losses."""
    ratios = []
    for scale in (1.0, 1e6):
        made = recipe(style_weight=scale, content_weight=0.0, tv_weight=0.0)
        content, style = photo(1, HEIGHT, WIDTH), photo(2, HEIGHT, WIDTH)
        held = Held(photo(3, HEIGHT, WIDTH), torch.ones(1, 1, HEIGHT, WIDTH))
        objective = Objective(tiny_network(), made, content, [[(style, 1.0)]], held=held)
        losses, _ = objective.with_gradient(CAFFE.from_rgb(content))
        ratios.append(((losses.total_B - losses.style_B) / losses.style_B).item())
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)
    assert ratios[0] > 0


def test_what_is_held_stays_and_the_rest_is_painted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "stylize.losses.objective.FIRMNESS", 30.0
    )  # a random network sees hardly a style
    content, style, kept = photo(1, HEIGHT, WIDTH), noise(2, HEIGHT, WIDTH), photo(3, HEIGHT, WIDTH)
    made = recipe(size=WIDTH, steps=20)
    result = stylize(
        content[0],
        style[0],
        made,
        network=tiny_network(),
        references=[Reference(kept, left_half())],
    )
    away = (result.picture.rgb - kept).abs().mean(1)[0]
    assert away[:, : WIDTH // 2 - 1].mean() < 0.02
    assert away[:, WIDTH // 2 + 1 :].mean() > 3 * away[:, : WIDTH // 2 - 1].mean()


def test_broad_colours_do_not_wander_and_strokes_stay():
    kept = photo(3, 96, 120)
    strokes = 0.1 * (noise(4, 96, 120) - 0.5)
    weight = torch.zeros(1, 1, 96, 120)
    weight[..., :80] = 1
    wandered = kept + strokes - 0.03
    right = without_drift(wandered, Held(kept, weight))
    assert (right - kept - strokes)[..., :70].mean().abs() < 0.001
    assert (right - wandered)[..., :70].std() < 0.01  # no stroke is undone
    assert torch.equal(right[..., 80:], wandered[..., 80:])


def test_nothing_held_is_the_picture_bit_for_bit():
    content, style = photo(1, HEIGHT, WIDTH)[0], noise(2, HEIGHT, WIDTH)[0]
    made = recipe(size=WIDTH)
    one = stylize(content, style, made, network=tiny_network())
    other = stylize(content, style, made, network=tiny_network(), references=[])
    assert torch.equal(one.picture.rgb, other.picture.rgb)


def test_pictures_of_a_batch_hold_to_their_own():
    contents = [photo(k, HEIGHT, WIDTH)[0] for k in (1, 4)]
    style = noise(2, HEIGHT, WIDTH)[0]
    references = [Reference(photo(k, HEIGHT, WIDTH), left_half()) for k in (3, 5)]
    made = recipe(size=WIDTH)
    both = stylize(contents, [style, style], made, network=tiny_network(), references=references)
    for content, reference, painted in zip(contents, references, both.pictures, strict=True):
        alone = stylize(content, style, made, network=tiny_network(), references=[reference])
        assert torch.allclose(painted.rgb, alone.picture.rgb, atol=2e-3)


def test_a_reference_of_another_shape_is_one_sentence():
    content, style = photo(1, HEIGHT, WIDTH)[0], noise(2, HEIGHT, WIDTH)[0]
    tall = Reference(photo(3, WIDTH, HEIGHT), torch.ones(1, 1, WIDTH, HEIGHT))
    with pytest.raises(PictureError, match="a reference is 24 x 32 px and the content 32 x 24 px"):
        stylize(content, style, recipe(), network=tiny_network(), references=[tall])
    fine = Reference(photo(3, HEIGHT, WIDTH), left_half())
    with pytest.raises(PictureError, match="there are 1 contents but 2 references"):
        stylize(content, style, recipe(), network=tiny_network(), references=[fine, fine])


def test_a_held_render_is_resumed_bit_for_bit():
    content, style = photo(1, HEIGHT, WIDTH)[0], noise(2, HEIGHT, WIDTH)[0]
    made = recipe(size=2 * WIDTH, start_size=WIDTH, steps=4, refine_steps=6, segment=3)
    held = [Reference(photo(3, HEIGHT, WIDTH), left_half())]
    cuts: list[Checkpoint] = []
    whole = stylize(
        content, style, made, network=tiny_network(), references=held, on_checkpoint=cuts.append
    )
    assert len(cuts) >= 2
    for cut in cuts:
        again = stylize(content, style, made, network=tiny_network(), references=held, resume=cut)
        assert torch.equal(again.picture.rgb, whole.picture.rgb)
    other = [Reference(photo(4, HEIGHT, WIDTH), left_half())]
    with pytest.raises(CheckpointError):
        stylize(content, style, made, network=tiny_network(), references=other, resume=cuts[0])
