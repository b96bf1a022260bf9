"""Masks: which style applies where, against plain numpy and against renders without masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stylize import PictureError, Recipe, Result, Step, stylize
from stylize.losses.masks import WeightedStyle, make_guides, regions
from stylize.losses.objective import Losses, Objective
from stylize.pictures.pixel_spaces import IMAGENET, SPACES
from stylize.pictures.resize import add_margin, resize
from tests.stylize.support import noise, photo, recipe, tiny_convs, tiny_network
from tests.stylize.test_golden import STYLE_LAYERS, Array, in_space, pool2x2, vgg

# Masks that are white everywhere are told, and here they are meant.
pytestmark = pytest.mark.filterwarnings("ignore:a mask is white everywhere")

DOUBLE = torch.float64
SHAPE = (37, 50)
PAINTED, CONTENT = noise(1, *SHAPE, DOUBLE), noise(2, *SHAPE, DOUBLE)
STYLE, OTHER = noise(3, 40, 33, DOUBLE), noise(4, 32, 38, DOUBLE) * 0.5

WHITE, BLACK = torch.ones(1, 1, *SHAPE, dtype=DOUBLE), torch.zeros(1, 1, *SHAPE, dtype=DOUBLE)
LEFT = WHITE.clone()
LEFT[..., 24:] = 0
SOFT = noise(5, *SHAPE, DOUBLE)[:, :1]

GRAM: dict[str, Any] = {
    "content_weight": 5.0,
    "style_weight": 200.0,
    "style_loss": "gram",
    "style_layers": [f"conv{block}_1" for block in range(1, 6)],
    "gram": "elements",
    "style_norm": "none",
    "tv": "squares",
    "tv_weight": 1e-2,
}
WASSERSTEIN: dict[str, Any] = {**GRAM, "style_loss": "wasserstein"}
both_losses = pytest.mark.parametrize("knobs", [GRAM, WASSERSTEIN], ids=["gram", "wasserstein"])

Mix = Sequence[tuple[Any, ...]]


def look(
    *mixes: Mix, painted: Tensor = PAINTED, content: Tensor = CONTENT, **knobs: Any
) -> tuple[Losses, Tensor]:
    """The losses, and their gradient."""
    pixels = knobs.pop("strip_pixels", None)
    made = recipe(**knobs)
    network = tiny_network(IMAGENET, dtype=DOUBLE)
    objective = Objective(network, made, content, mixes, strip_pixels=pixels)
    x = SPACES[made.space].from_rgb(painted).clone().requires_grad_()
    losses = objective(x)
    return losses, torch.autograd.grad(losses.total_B.sum(), x)[0]


def assert_equal(found: tuple[Losses, Tensor], expected: tuple[Losses, Tensor]) -> None:
    torch.testing.assert_close(found[0].columns(), expected[0].columns(), rtol=1e-9, atol=0)
    tolerance = 1e-9 * expected[1].abs().max().item()
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=tolerance)


# -- what masks are the same as ----------------------------------------------------------------------


@both_losses
def test_a_white_mask_is_none(knobs: dict[str, Any]) -> None:
    found, expected = look([(STYLE, 1.0, WHITE)], **knobs), look([(STYLE, 1.0)], **knobs)
    assert_equal(found, expected)
    if knobs is GRAM:  # not a bit: times 1 is the same number
        assert torch.equal(found[0].columns(), expected[0].columns())
        assert torch.equal(found[1], expected[1])


@both_losses
def test_a_black_mask_is_no_style(knobs: dict[str, Any]) -> None:
    found = look([(STYLE, 1.0, BLACK)], **knobs)
    assert not found[0].style_BL.any()
    assert_equal(found, look([(STYLE, 1.0)], **{**knobs, "style_weight": 0.0}))


@both_losses
def test_a_style_behind_a_black_mask_is_not_there(knobs: dict[str, Any]) -> None:
    found = look([(STYLE, 1.0, LEFT), (OTHER, 1.0, BLACK)], **knobs)
    assert_equal(found, look([(STYLE, 1.0, LEFT)], **knobs))
    assert_equal(look([(OTHER, 1.0, BLACK), (STYLE, 1.0, LEFT)], **knobs), found)


@both_losses
def test_a_region_counts_by_its_share_of_the_picture(knobs: dict[str, Any]) -> None:
    """Under an even mask every position is seen, each for a quarter: statistics stay as they are."""
    quarter = look([(STYLE, 1.0, WHITE / 4)], **knobs)[0].style_BL
    torch.testing.assert_close(
        quarter, look([(STYLE, 1.0)], **knobs)[0].style_BL / 4, rtol=1e-9, atol=0
    )


@both_losses
def test_a_half_sees_only_its_half(knobs: dict[str, Any]) -> None:
    """Its loss is that of the half alone, at the first layer, which sees hardly beyond."""
    made = {**knobs, "style_layers": ["conv1_1"], "padding": "replicate"}
    uniform = noise(1, 1, 1, DOUBLE).expand(1, 3, *SHAPE).clone()
    uniform[..., 24:] = 0.9
    left = uniform[..., :1].expand(1, 3, *SHAPE).clone()
    masked = LEFT.clone()
    masked[..., 23:] = 0  # what sees the other half
    found, _ = look([(STYLE, 1.0, masked)], painted=uniform, **made)
    alone, _ = look([(STYLE, 1.0)], painted=left, **made)
    share = masked.mean().item()
    # But for the row at the edge, where the network's zeros are none: padding is replicated.
    torch.testing.assert_close(found.style_BL, share * alone.style_BL, rtol=1e-9, atol=0)


@both_losses
def test_styles_of_one_mask_are_blended_and_of_two_are_not(knobs: dict[str, Any]) -> None:
    blend = [(STYLE, 1.0, LEFT), (OTHER, 3.0, LEFT.clone())]
    found = look(blend, **knobs)
    assert len(regions([WeightedStyle(*part) for part in blend])) == 1
    assert_equal(look([(STYLE, 2.0, LEFT), (OTHER, 6.0, LEFT)], **knobs), found)
    apart, _ = look([(STYLE, 1.0, LEFT), (OTHER, 3.0, LEFT * 0.999)], **knobs)
    assert not torch.allclose(apart.style_BL, found[0].style_BL, rtol=1e-2)
    # Shares are relative among those of one mask: alone there they mean nothing.
    one = look([(STYLE, 1.0, LEFT), (OTHER, 3.0, WHITE - LEFT)], **knobs)
    assert_equal(one, look([(STYLE, 5.0, LEFT), (OTHER, 0.1, WHITE - LEFT)], **knobs))


@both_losses
def test_the_losses_of_two_halves_add_up(knobs: dict[str, Any]) -> None:
    """The losses of complementary masks add up: neither region sees the other."""
    halves = [(STYLE, 1.0, LEFT), (STYLE, 1.0, WHITE - LEFT)]
    style_alone = {**knobs, "content_weight": 0.0, "tv_weight": 0.0}
    found, gradient = look(halves, **style_alone)
    parts = [look([half], **style_alone) for half in halves]
    torch.testing.assert_close(found.style_BL, parts[0][0].style_BL + parts[1][0].style_BL)
    torch.testing.assert_close(gradient, parts[0][1] + parts[1][1])


# -- against numpy -----------------------------------------------------------------------------------


def plain_arrays() -> Any:
    return ((w.numpy(), b.numpy()) for w, b in tiny_convs(dtype=DOUBLE))


def maps_of(picture: Tensor) -> dict[str, Array]:
    return vgg(in_space(picture[0].numpy(), "imagenet"), plain_arrays())


def guide(mask: Tensor, layer: str) -> Array:
    found: Array = mask[0].numpy()
    for _ in range(int(layer[4]) - 1):
        found = pool2x2(found, average=True)
    flat: Array = found[0].reshape(-1)
    return flat


def guided_distance(maps: Array, target: Array, weights: Array, wasserstein: bool) -> float:
    f, a = (x.reshape(len(x), -1) for x in (maps, target))
    if not wasserstein:
        # G = F diag(w) F^T / (N sum(w)), against the style's whole.
        gram = (f * weights) @ f.T / (weights.sum() * len(f))
        return float(((gram - a @ a.T / a.size) ** 2).mean())
    identity = 1e-4 * np.eye(len(f))
    s = np.cov(f, bias=True, aweights=weights) + identity
    t = np.cov(a, bias=True) + identity
    roots = np.sqrt(np.clip(np.linalg.eigvals(t @ s).real, 0, None))
    means = np.average(f, axis=1, weights=weights) - a.mean(1)
    return float((means**2).mean() + (np.trace(s) + np.trace(t) - 2 * roots.sum()) / len(f))


@both_losses
@pytest.mark.parametrize("strip_pixels", [None, 8 * 50])
def test_guided_losses_equal_the_formula(knobs: dict[str, Any], strip_pixels: int | None) -> None:
    masks = [SOFT, (1 - SOFT) * LEFT]
    f, styles = maps_of(PAINTED), [maps_of(STYLE), maps_of(OTHER)]
    expected = []
    for layer in STYLE_LAYERS:
        total = 0.0
        for mask, style in zip(masks, styles, strict=True):
            w = guide(mask, layer)
            total += (
                guided_distance(f[layer], style[layer], w, knobs is WASSERSTEIN) * w.sum() / w.size
            )
        expected.append(200 * total)
    found, _ = look(
        [(STYLE, 1.0, masks[0]), (OTHER, 1.0, masks[1])], **knobs, strip_pixels=strip_pixels
    )
    tolerance = 1e-5 if knobs is WASSERSTEIN else 1e-10
    assert found.style_BL[0].tolist() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("gram", "divisor"), [("positions", 1.0), ("none", None)])
def test_other_grams_are_guided_alike(gram: str, divisor: float | None) -> None:
    """An unnormalised region's matrix is what all of the layer would have if it were like it."""
    maps, target = maps_of(PAINTED)["conv2_1"], maps_of(STYLE)["conv2_1"]
    f, a = maps.reshape(len(maps), -1), target.reshape(len(target), -1)
    w = guide(SOFT, "conv2_1")
    scales = (1.0, 1.0) if divisor else (f.shape[1], a.shape[1])
    g = (f * w) @ f.T / w.sum() * scales[0]
    expected = 200 * ((g - a @ a.T / a.shape[1] * scales[1]) ** 2).mean() * w.mean()
    found, _ = look([(STYLE, 1.0, SOFT)], **{**GRAM, "gram": gram, "style_layers": ["conv2_1"]})
    assert found.style_BL.item() == pytest.approx(expected, rel=1e-10)


STEPS = (1e-6, 3e-6, 5e-7)


@both_losses
@pytest.mark.parametrize("strip_pixels", [None, 12 * 50])
def test_the_gradient_agrees_with_finite_differences(
    knobs: dict[str, Any], strip_pixels: int | None
) -> None:
    mix = [(STYLE, 1.0, SOFT), (OTHER, 1.0, LEFT), (OTHER, 0.5, BLACK), (STYLE, 1.0)]
    made = {**knobs, "space": "rgb", "content_weight": 0.1}
    _, gradient = look(mix, **made, strip_pixels=strip_pixels)
    for seed in range(4):
        along = noise(50 + seed, *SHAPE, DOUBLE) - 0.5
        slope = (gradient * along).sum().item()

        def difference(step: float, along: Tensor = along) -> float:
            up, down = (
                look(mix, **made, painted=PAINTED + sign * step * along)[0].total_B.item()
                for sign in (1, -1)
            )
            return (up - down) / (2 * step)

        # A large step meets a kink of a ReLU, a small one rounding: which, is the processor's to say.
        agrees = [difference(step) == pytest.approx(slope, rel=1e-4, abs=1e-5) for step in STEPS]
        assert any(agrees), slope


@both_losses
def test_pictures_of_different_numbers_of_regions_do_not_see_one_another(
    knobs: dict[str, Any],
) -> None:
    mixes: list[Mix] = [
        [(STYLE, 1.0)],
        [(STYLE, 1.0, SOFT), (OTHER, 1.0, WHITE - SOFT), (OTHER, 1.0, LEFT)],
        [(OTHER, 1.0, LEFT)],
    ]
    painted, content = (
        torch.cat([noise(seed + i, *SHAPE, DOUBLE) for i in range(3)]) for seed in (20, 30)
    )
    losses, gradient = look(*mixes, painted=painted, content=content, **knobs)
    for i, mix in enumerate(mixes):
        alone, its_own = look(mix, painted=painted[i : i + 1], content=content[i : i + 1], **knobs)
        torch.testing.assert_close(losses.columns()[i : i + 1], alone.columns(), rtol=1e-7, atol=0)
        tolerance = 1e-6 * its_own.abs().max().item()
        torch.testing.assert_close(gradient[i : i + 1], its_own, rtol=0, atol=tolerance)


@given(numbers=st.lists(st.sampled_from(["none", "left", "soft"]), min_size=1, max_size=8))
def test_regions_are_the_masks_there_are_in_order(numbers: list[str]) -> None:
    masks = {"none": None, "left": LEFT, "soft": SOFT}
    mix = []
    for i, name in enumerate(numbers):
        mask = masks[name]
        mix.append(WeightedStyle(STYLE, float(i), None if mask is None else mask.clone()))
    found = regions(mix)
    order = list(dict.fromkeys(numbers))
    shares = [[float(i) for i, n in enumerate(numbers) if n == name] for name in order]
    assert [[share for _, share in region.styles] for region in found] == shares
    guides = make_guides([found], CONTENT)
    assert (guides is None) == (numbers == ["none"] * len(numbers))


# -- through stylize ---------------------------------------------------------------------------------

CANVAS = photo(1, 48, 64)
HALF = torch.zeros(1, 3, 48, 64)
HALF[..., :32] = 1


STRONG: dict[str, Any] = {
    "size": 64,
    "steps": 25,
    "margin": 4,
    "tv_weight": 0.0,
    "style_weight": 1e4,
}
"""Shows at once where a style applies, in a network of a few channels."""


def paint(style: Any, made: Recipe | None = None, content: Any = CANVAS, **options: Any) -> Result:
    made = made or recipe(**STRONG)
    options = {"network": tiny_network(IMAGENET), "device": "cpu", **options}
    return stylize(content, style, made, **options)


def first_style_loss(mask: Tensor) -> float:
    """Before any step, so that nothing but the mask can make a difference."""
    steps: list[Step] = []
    paint([(noise(3, 40, 40), 1.0, mask)], recipe(**{**STRONG, "steps": 1}), observer=steps.extend)
    return steps[0].style


def test_a_mask_of_any_size_is_brought_to_the_pictures() -> None:
    found = first_style_loss(HALF)
    for height, width in ((12, 16), (96, 128), (47, 63), (3, 4)):
        mask = resize(HALF, height, width).clamp(0, 1)
        assert first_style_loss(mask) == pytest.approx(found, rel=0.1)
    assert first_style_loss(0 * HALF) == 0
    assert first_style_loss(1 - HALF) != pytest.approx(found, rel=0.2)


@pytest.mark.parametrize("shape", [(48, 48), (64, 48), (48, 70), (6, 16)])
def test_a_mask_of_other_proportions_is_refused_in_words(shape: tuple[int, int]) -> None:
    height, width = shape
    with pytest.raises(PictureError) as caught:
        paint([(noise(3, 40, 40), 1.0, torch.ones(3, height, width))])
    words = f"a mask is {width} x {height} px and the content 64 x 48 px"
    assert words in str(caught.value)


@pytest.mark.filterwarnings("ignore:a mask is coloured")
def test_a_mask_is_grey_whatever_its_colours() -> None:
    """By luma: green counts for most."""
    style = noise(3, 40, 40)
    green = torch.zeros(3, 48, 64)
    green[1] = 1
    grey = torch.full((3, 48, 64), 0.587)
    found = paint([(style, 1.0, green)]).picture.rgb
    torch.testing.assert_close(found, paint([(style, 1.0, grey)]).picture.rgb, rtol=0, atol=1e-3)


def test_a_white_mask_paints_what_none_does() -> None:
    style = noise(3, 40, 40)
    # Few steps and unrounded pairs: L-BFGS lets the last bits of a loss grow into a difference.
    made = recipe(**{**STRONG, "steps": 6, "history_precision": "float32"})
    white = paint([(style, 1.0, torch.ones(3, 48, 64))], made).picture.rgb
    torch.testing.assert_close(white, paint([(style, 1.0)], made).picture.rgb, rtol=0, atol=0.02)


def test_where_no_style_applies_the_content_stays() -> None:
    style = noise(3, 40, 40)
    masked = paint([(style, 1.0, HALF)]).picture.rgb
    unpainted = paint(style, recipe(**{**STRONG, "style_weight": 0.0})).picture.rgb
    everywhere = paint(style).picture.rgb
    far = slice(48, 64)  # from the seam, across which the network sees
    painted = (everywhere - unpainted)[..., far].abs().mean()
    assert (masked - unpainted)[..., far].abs().mean() < 0.35 * painted
    assert (masked - unpainted)[..., :16].abs().mean() > 0.5 * painted


def test_a_mask_lies_on_the_canvas_as_the_picture_does() -> None:
    """Its margin is the mirrored mask, so that a picture's edge is painted as its inside is."""
    mask = resize(HALF, 48, 64)[:, :1]
    with_margin = add_margin(mask, 8)
    assert with_margin.shape == (1, 1, 64, 80)
    assert with_margin[..., :40].min() == 1
    assert with_margin[..., 40:].max() == 0


def test_styles_may_be_masked_in_a_batch() -> None:
    styles = [noise(3, 40, 40), [(noise(4, 30, 30), 1.0, HALF), (noise(5, 30, 30), 2.0, 1 - HALF)]]
    contents = [CANVAS, photo(2, 48, 64)]
    made = recipe(**GRAM | {"size": 64, "steps": 1})  # more, and maxima that nearly tie decide
    together = paint(styles, made, contents)
    for i in range(2):
        alone = paint(styles[i], made, contents[i])
        torch.testing.assert_close(
            together.pictures[i].rgb, alone.picture.rgb, rtol=0, atol=0.5 / 255
        )
