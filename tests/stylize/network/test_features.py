"""The way through the network by hand is autograd's way, all at once and in strips of any height.

The network here is plain torch, which autograd differentiates; nothing of the painter's is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylize import Recipe
from stylize.layer_names import LAYERS
from stylize.losses.objective import Losses, Objective
from stylize.losses.style import Extent, WassersteinTerm
from stylize.network.features import FeatureExtractor, ForwardOptions, features
from stylize.network.probes import Content, Gaussian, Gram, Part, Probe, Slope
from stylize.network.strips import LEVELS, SHALLOW, Stage, cut
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import IMAGENET, RGB, SPACES
from tests.stylize.support import noise, recipe, seeded, tiny_convs, tiny_network

DOUBLE = torch.float64
POOLINGS: list[Any] = ["max", "average", "l2"]
PADDINGS: list[Any] = ["zeros", "replicate"]
SCALES = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""Of rescaled poolings; style-transfer-pytorch's values."""

AT_ONCE = ForwardOptions(dtype=DOUBLE)


def plainly(x: Tensor, way: ForwardOptions) -> dict[str, Tensor]:
    """Every layer's features, as anybody would write VGG19."""
    found, smallest = {}, min(x.shape[2:])
    for name, (weight, bias) in zip(LAYERS, tiny_convs(dtype=DOUBLE), strict=True):
        block, number = int(name[4]), int(name[6])
        if number == 1 and block > 1:
            x = pooled(x, way)
        if smallest >> (block - 1) == 0:
            return found
        if name == "conv1_1" and way.padding == "replicate":
            x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias))
        else:
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
        found[name] = x
    return found


def pooled(x: Tensor, way: ForwardOptions) -> Tensor:
    if way.pooling == "max":
        y = F.max_pool2d(x, 2)
    elif way.pooling == "average":
        y = F.avg_pool2d(x, 2)
    else:
        cells = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2].square()
        sums = sum(cells[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
        assert isinstance(sums, Tensor)
        # The root has no slope at 0: none is as good as any.
        y = torch.where(sums > 0, sums, 1).sqrt() * (sums > 0)
    return y * SCALES[way.pooling] if way.rescale_pooling else y


def pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.cat([noise(10 * seed + i, height, width, DOUBLE) for i in range(batch)]) - 0.4


def random_like(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=seeded(seed), dtype=x.dtype)


def network() -> VGG19:
    return tiny_network(RGB, dtype=DOUBLE)


# -- against autograd --------------------------------------------------------------------------------

Kinds = Mapping[str, Sequence[str]]
"""What is measured at each layer."""


def gathered(kind: str, parts: Sequence[Part], extent: Extent) -> list[Tensor]:
    """A whole of the parts, whichever way the picture was cut."""
    if kind == "gaussian":
        return list(WassersteinTerm().gather(parts, extent))
    return [sum((part[0] for part in parts[1:]), start=parts[0][0])]


def slope_of(kind: str, values: Sequence[Tensor], weights: Sequence[Tensor], m: int) -> Slope:
    """The slope of the values' sum with these weights, as each kind of probe has it."""
    if kind == "content":
        return (weights[0][0].item(),)
    both = weights[-1] + weights[-1].mT
    return (both,) if kind == "gram" else (values[0], weights[0] / m, both / m)


def measured_by_hand(
    x: Tensor, way: ForwardOptions, kinds: Kinds, targets: Mapping[str, Tensor]
) -> tuple[list[Tensor], Tensor]:
    makers: dict[str, Callable[[str], Probe]] = {
        "gram": lambda _: Gram(None, DOUBLE),
        "gaussian": lambda _: Gaussian(None, DOUBLE),
        "content": lambda name: Content(targets[name]),
    }
    probes = {name: [makers[kind](name) for kind in found] for name, found in kinds.items()}
    extractor = FeatureExtractor(network(), way, probes)
    found, backward = extractor.with_backward(x)
    values: list[Tensor] = []
    slopes: dict[str, list[Slope]] = {}
    for name, its_kinds in kinds.items():
        m = targets[name][0, 0].numel()
        extent = Extent(m, x.new_full((len(x), 1), m))
        for kind, parts in zip(its_kinds, found[name], strict=True):
            new = gathered(kind, parts, extent)
            weights = [weight_of(v, len(values) + i) for i, v in enumerate(new)]
            slopes.setdefault(name, []).append(slope_of(kind, new, weights, m))
            values += new
    only_looked = extractor(x)
    for name in kinds:
        for parts, again in zip(found[name], only_looked[name], strict=True):
            assert all(map(torch.equal, parts[0], again[0]))
    return values, backward(slopes)


def weight_of(value: Tensor, number: int) -> Tensor:
    """For each entry another, but the same for a content's whole batch."""
    return random_like(value if value.ndim > 1 else value[:1], number)


def measured_plainly(
    x: Tensor, way: ForwardOptions, kinds: Kinds, targets: Mapping[str, Tensor]
) -> Any:
    found = plainly(x, way)
    for name, its_kinds in kinds.items():
        f = found[name].flatten(2)
        for kind in its_kinds:
            if kind == "gram":
                yield (f @ f.mT)[:, None]
            elif kind == "content":
                yield (found[name] - targets[name]).square().sum((1, 2, 3))
            else:
                mean = f.mean(2)
                second = torch.einsum("bim,bjm->bij", f, f) / f.shape[2]
                yield mean[:, None]
                yield (second - mean[:, :, None] * mean[:, None])[:, None]


def assert_as_autograd(x: Tensor, way: ForwardOptions, kinds: Kinds) -> None:
    """Values, and the gradient of a sum of all of them that weighs each entry differently."""
    targets = {name: random_like(f, 3) for name, f in plainly(x, way).items() if name in kinds}
    values, gradient = measured_by_hand(x, way, kinds, targets)
    leaf = x.clone().requires_grad_()
    expected = list(measured_plainly(leaf, way, kinds, targets))
    loss = sum((weight_of(v, i) * v).sum() for i, v in enumerate(expected))
    assert isinstance(loss, Tensor)
    (expected_gradient,) = torch.autograd.grad(loss, leaf)
    for value, other in zip(values, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)
    largest = expected_gradient.abs().max().item()
    assert largest > 0
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10 * largest)


some_layers = st.dictionaries(
    st.sampled_from(LAYERS),
    st.lists(st.sampled_from(["content", "gram", "gaussian"]), min_size=1, max_size=3),
    min_size=1,
    max_size=5,
)


@given(
    kinds=some_layers,
    pooling=st.sampled_from(POOLINGS),
    padding=st.sampled_from(PADDINGS),
    rescale=st.booleans(),
    height=st.integers(16, 70),
    width=st.integers(16, 50),
    batch=st.sampled_from([1, 3]),
    strip_rows=st.none() | st.integers(1, 80),
    strip_blocks=st.sampled_from(LEVELS[1:]),
)
@settings(max_examples=60)
def test_any_layers_of_any_way_are_autograds(
    kinds: Kinds,
    pooling: Any,
    padding: Any,
    rescale: bool,
    height: int,
    width: int,
    batch: int,
    strip_rows: int | None,
    strip_blocks: int,
) -> None:
    pixels = None if strip_rows is None else strip_rows * width
    way = ForwardOptions(pooling, padding, rescale, DOUBLE, pixels, strip_blocks)
    assert_as_autograd(pictures(batch, height, width), way, kinds)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(
    ("strip_rows", "strip_blocks"),
    [(None, 0), *((rows, n) for rows in (4, 12) for n in LEVELS[1:])],
)
def test_every_way_is_autograds(
    pooling: Any, padding: Any, rescale: bool, strip_rows: int | None, strip_blocks: int
) -> None:
    """Of every block a layer that is measured twice, one in the middle, and one before a pooling."""
    pixels = None if strip_rows is None else strip_rows * 35
    way = ForwardOptions(pooling, padding, rescale, DOUBLE, pixels, strip_blocks)
    kinds = {
        "conv1_1": ["gram"],
        "conv2_2": ["content", "gaussian"],
        "conv3_1": ["gram", "gaussian"],
        "conv4_2": ["content"],
        "conv5_1": ["gaussian"],
    }
    assert_as_autograd(pictures(2, 45, 35), way, kinds)


@pytest.mark.parametrize("strip_blocks", LEVELS[1:])
@pytest.mark.parametrize(
    "last", ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_4", "conv4_1"]
)
def test_an_extraction_may_end_within_or_just_behind_a_stage(last: str, strip_blocks: int) -> None:
    """There is then no next one that hands the strips a gradient, or only the first layer of one."""
    way = AT_ONCE._replace(strip_pixels=8 * 30, strip_blocks=strip_blocks)
    assert_as_autograd(pictures(3, 43, 30), way, {last: ["content", "gram", "gaussian"]})


@pytest.mark.parametrize("height", range(16, 52))
def test_heights_that_divide_badly_are_autograds(height: int) -> None:
    way = AT_ONCE._replace(strip_pixels=12 * 17)
    kinds = {"conv1_2": ["gram"], "conv2_1": ["content"], "conv3_2": ["gram"], "conv5_4": ["gram"]}
    assert_as_autograd(pictures(1, height, 17), way, kinds)


@pytest.mark.parametrize("strip_blocks", LEVELS[1:])
@pytest.mark.parametrize("strip_pixels", [None, 4 * 35, 16 * 35, 1 << 18])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_features_are_those_of_a_plain_network(
    strip_pixels: int | None, pooling: Any, strip_blocks: int
) -> None:
    x = pictures(2, 53, 35)
    way = ForwardOptions(pooling, "replicate", True, DOUBLE, strip_pixels, strip_blocks)
    found = features(network(), x, LAYERS, way)
    expected = plainly(x, way)
    assert list(found) == list(LAYERS)
    for name in LAYERS:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-10)


def test_looking_changes_neither_the_pictures_nor_what_was_found() -> None:
    """Many steps inside are in place."""
    x = pictures(1, 33, 40)
    before = x.clone()
    way = AT_ONCE._replace(strip_pixels=8 * 40)
    extract = FeatureExtractor(
        network(), way, {"conv2_1": [Gram(None, DOUBLE)], "conv3_1": [Gram(None, DOUBLE)]}
    )
    measured, backward = extract.with_backward(x)
    found = [part[0] for (parts,) in measured.values() for part in parts]
    kept = [value.clone() for value in found]
    backward({name: [(torch.ones_like(parts[0][0]),)] for name, (parts,) in measured.items()})
    assert torch.equal(x, before)
    assert all(map(torch.equal, found, kept))


# -- strips ------------------------------------------------------------------------------------------

heights = st.integers(1, 5000)
STAGES = [SHALLOW, Stage(3, 3), Stage(4, 4), Stage(5, 5)]


def test_halos_are_as_high_as_convolutions_need_them() -> None:
    """Two rows before the first pooling, and two after it, which are four; aligned to the poolings."""
    assert [(stage.scale, stage.ratio, stage.halo) for stage in STAGES] == [
        (1, 4, 8),
        (4, 2, 4),
        (8, 2, 4),
        (16, 2, 4),
    ]


@given(
    height=heights,
    width=st.integers(1, 5000),
    pixels=st.integers(1, 1 << 22),
    stage=st.sampled_from(STAGES),
)
@example(height=4, width=4, pixels=1, stage=SHALLOW)
@example(height=15, width=1, pixels=8, stage=SHALLOW)
def test_strips_tile_the_picture(height: int, width: int, pixels: int, stage: Stage) -> None:
    found = list(cut(height, width, pixels, stage))
    align = stage.ratio
    assert [strip.top for strip in found] == [0, *(strip.bottom for strip in found[:-1])]
    assert found[-1].bottom == height
    for strip in found:
        assert strip.top < strip.bottom
        # The poolings of a strip are the picture's.
        assert strip.top % align == strip.above % align == 0
        assert strip.bottom == height or strip.bottom % align == 0
        assert strip.below == height or strip.below % align == 0
        # Its halo is whole, or ends where the picture does.
        assert strip.above == max(0, strip.top - stage.halo)
        assert strip.below == min(height, strip.bottom + stage.halo)
        # About as large as asked for, but for what alignment and a thin rest add.
        assert strip.bottom - strip.top <= 1.5 * pixels / width + 3 * align


@given(
    height=st.integers(4, 600),
    rows=st.integers(1, 300),
    stage_and_scale=st.sampled_from(
        [(s, 1 << k) for s in STAGES for k in range(3) if 1 << k <= s.ratio]
    ),
)
def test_the_rows_of_strips_tile_every_layers_features(
    height: int, rows: int, stage_and_scale: tuple[Stage, int]
) -> None:
    stage, scale = stage_and_scale
    lines: list[int] = []
    for strip in cut(height, 10, 10 * rows, stage):
        of_features = range(strip.above // scale, strip.below // scale)
        mine = of_features[strip.rows(scale)]
        assert mine.start == strip.top // scale
        lines += mine
    assert lines == list(range(height // scale))


def studio_like(**knobs: Any) -> Recipe:
    """With a content layer in each shallow block and one below, and weights that let each count."""
    plain = {
        "content_layers": ["conv1_2", "conv2_2", "conv4_2"],
        "style_layers": list(LAYERS[:14:3]),
    }
    return recipe(**{**plain, **knobs})


def look_at(made: Recipe, strip_pixels: int | None, batch: int = 2) -> tuple[Losses, Tensor]:
    """The losses of pictures 61 x 44 px and their gradient."""
    objective = Objective(
        tiny_network(IMAGENET, dtype=DOUBLE),
        made,
        pictures(batch, 61, 44, seed=1) + 0.4,
        [[(noise(90 + i, 50, 35, DOUBLE), 1.0)] for i in range(batch)],
        strip_pixels=strip_pixels,
    )
    x = SPACES[made.space].from_rgb(pictures(batch, 61, 44, seed=2) + 0.4).requires_grad_()
    losses = objective(x)
    return losses, torch.autograd.grad(losses.total_B.sum(), x)[0]


@pytest.mark.parametrize("rows", [1, 8, 13, 30, 61])
@pytest.mark.parametrize(
    ("knobs", "tolerance"),
    [
        ({}, 1e-10),
        ({"pooling": "average", "padding": "replicate", "gram": "none"}, 1e-10),
        # Roots of matrices with tiny eigenvalues magnify rounding.
        ({"style_loss": "wasserstein", "space": "rgb"}, 1e-6),
    ],
    ids=["gram", "unnormalised", "wasserstein"],
)
def test_an_objective_in_strips_is_the_objective(
    rows: int, knobs: dict[str, Any], tolerance: float
) -> None:
    made = studio_like(**knobs)
    whole, gradient = look_at(made, None)
    found, in_strips = look_at(made, rows * 44)
    assert whole.content_B.min() > 0
    torch.testing.assert_close(found.columns(), whole.columns(), rtol=tolerance, atol=0)
    largest = gradient.abs().max().item()
    torch.testing.assert_close(in_strips, gradient, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("halo", [0, 4])
def test_a_smaller_halo_would_not_do(halo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the tests above would notice."""
    made = studio_like()
    whole, gradient = look_at(made, None)
    monkeypatch.setattr(
        Stage, "halo", property(lambda stage: min(halo, 2 * stage.ratio) if stage.first == 1 else 0)
    )
    found, in_strips = look_at(made, 16 * 44)
    assert not torch.allclose(found.content_B, whole.content_B, rtol=1e-6)
    assert (in_strips - gradient).abs().max() > 1e-4 * gradient.abs().max()
