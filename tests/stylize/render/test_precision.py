"""In bfloat16 only the network computes: what is measured of its features is as exact as ever."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize import Recipe, Result, api, stylize
from stylize.losses.objective import Objective
from stylize.network import fastest as fastest_module
from stylize.network import winograd
from stylize.network.fastest import fastest
from stylize.network.features import ForwardOptions, features
from stylize.network.layers import Kernel, channels_last
from stylize.network.probes import Content, Gaussian, Gram
from stylize.network.vgg19 import VGG19, load_vgg19
from stylize.network.weights import identify
from stylize.pictures.pixel_spaces import CAFFE, RGB, convert
from stylize.render.checkpoint import Checkpoint
from tests.stylize.support import noise, photo, recipe, tiny_convs, tiny_network

LOW, SINGLE, DOUBLE = torch.bfloat16, torch.float32, torch.float64

MASK = (torch.arange(40) < 20).float().expand(1, 1, 32, 40)

KNOBS: list[dict[str, Any]] = [{}, {"style_loss": "wasserstein"}, {"pooling": "l2"}]


# -- which precision is where ------------------------------------------------------------------------


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("strip_pixels", [None, 16 * 40])
@pytest.mark.parametrize("mask", [None, MASK])
def test_features_are_bfloat16_and_all_that_comes_of_them_is_not(
    knobs: dict[str, Any],
    strip_pixels: int | None,
    mask: Tensor | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, set[torch.dtype]] = {"features": set(), "parts": set(), "slopes": set()}

    def watch(probe: Any) -> None:
        forward, backward = probe.forward, probe.backward

        def seen_forward(features: Tensor, top: int) -> Any:
            found = forward(features, top)
            seen["features"].add(features.dtype)
            seen["parts"].update(tensor.dtype for tensor in found)
            return found

        def seen_backward(features: Tensor, top: int, slope: Any, gradient: Tensor) -> None:
            seen["features"].update((features.dtype, gradient.dtype))
            seen["slopes"].update(part.dtype for part in slope if isinstance(part, Tensor))
            backward(features, top, slope, gradient)

        monkeypatch.setattr(probe, "forward", seen_forward)
        monkeypatch.setattr(probe, "backward", seen_backward)

    styles = [[(noise(1, 24, 24), 1.0, mask)]]
    made = recipe(precision="bfloat16", **knobs)
    content = photo(2, 32, 40)
    objective = Objective(tiny_network(), made, content, styles, strip_pixels=strip_pixels)
    for probes in objective._extractor.probes.values():
        for probe in probes:
            watch(probe)
    losses, gradient = objective.with_gradient(convert(content, RGB, CAFFE))
    assert seen == {"features": {LOW}, "parts": {SINGLE}, "slopes": {SINGLE}}
    assert {loss.dtype for loss in (*losses, gradient)} == {SINGLE}


def test_statistics_of_bfloat16_features_are_computed_in_float32() -> None:
    features = channels_last(torch.rand(2, 8, 30, 40).to(LOW))
    f = features.double().flatten(2)
    mean = f.mean(2)
    second = f @ f.mT
    found = (
        *Gram(None, SINGLE).forward(features, 0),
        *Gaussian(None, SINGLE).forward(features, 0)[:2],
    )
    expected = (second, mean, second / f.shape[2] - mean[:, :, None] * mean[:, None])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[:, 0].double(), other, rtol=1e-5, atol=1e-6)


def test_so_is_the_distance_from_the_content() -> None:
    f = channels_last(torch.rand(2, 8, 30, 40).to(LOW))
    target = torch.rand(2, 8, 30, 40)
    (found,) = Content(target).forward(f, 0)
    expected = (f.double() - target.double()).square().sum((1, 2, 3))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("strip_pixels", [None, 8 * 40])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_pixels_are_not_rounded(padding: Any, strip_pixels: int | None) -> None:
    """Between 128 and 256 bfloat16 has no halves; edges finer than that are seen nevertheless."""
    (_, bias), *others = tiny_convs()
    edges = torch.zeros(len(bias), 3, 3, 3)
    edges[:, :, 1, 0], edges[:, :, 1, 2] = -1, 1
    network = VGG19([(edges, 0 * bias), *others], CAFFE)
    x = 150 + 0.1 * noise(1, 32, 40)
    found, exact = (
        features(
            network,
            x,
            ["conv1_1"],
            ForwardOptions(padding=padding, dtype=dtype, strip_pixels=strip),
        )
        for dtype, strip in ((LOW, strip_pixels), (SINGLE, None))
    )
    inside = (..., slice(1, -1))  # where the padding begins is an edge, too
    assert exact["conv1_1"][inside].max() < 0.5
    torch.testing.assert_close(
        found["conv1_1"][inside].float(), exact["conv1_1"][inside], rtol=0.01, atol=0.002
    )


# -- which precision is taken ------------------------------------------------------------------------


def test_auto_is_what_is_measured_and_a_render_that_is_resumed_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = recipe(precision="auto", steps=4, segment=2)
    assert made.identity() == recipe(precision="float32", steps=4, segment=2).identity()
    cuts: list[Checkpoint] = []

    def paint(faster: str, **options: Any) -> Result:
        monkeypatch.setattr(api, "fastest", lambda device: faster)
        pair = photo(1, 32, 32), noise(2, 32, 32)
        return stylize(*pair, made, network=tiny_network(), device="cpu", **options)

    low = paint("bfloat16", on_checkpoint=cuts.append)
    assert (low.precision, cuts[0].precision) == ("bfloat16", "bfloat16")
    assert paint("float32").precision == "float32"
    resumed = paint("float32", resume=Checkpoint.from_bytes(cuts[0].to_bytes()))
    assert resumed.precision == "bfloat16"
    assert torch.equal(resumed.picture.rgb, low.picture.rgb)


def test_a_device_is_measured_once_and_what_it_cannot_do_is_not_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = fastest_module._times(
        {"float32": lambda: torch.ones(1), "bfloat16": lambda: torch.ones(2) @ torch.ones(3)},
        torch.device("cpu"),
    )
    assert seconds["bfloat16"] == float("inf") > seconds["float32"]
    first = fastest(torch.device("cpu"))
    monkeypatch.setattr(fastest_module, "_times", lambda *_: pytest.fail("measured again"))
    assert fastest(torch.device("cpu")) == first


@pytest.mark.parametrize(
    ("shallow", "deep", "found"),
    [
        # Winograd's algorithm makes the deep layers as fast, but not the shallow ones.
        ((8.0, 2.0), (6.0, 5.0), "bfloat16"),
        # Emulated.
        ((8.0, 20.0), (6.0, 40.0), "float32"),
        ((8.0, 7.0), (10.0, 9.0), "float32"),
    ],
)
def test_the_faster_precision_is_that_of_shallow_and_deep_layers_together(
    shallow: tuple[float, float],
    deep: tuple[float, float],
    found: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_shallow, of_deep = (
        dict(zip(("float32", "bfloat16"), seconds, strict=True)) for seconds in (shallow, deep)
    )
    monkeypatch.setattr(
        fastest_module,
        "_seconds",
        lambda channels, *_: of_shallow if channels == fastest_module.SHALLOW else of_deep,
    )
    assert fastest_module._measured.__wrapped__("cpu") == found


def test_winograds_convolution_is_the_convolution() -> None:
    torch.manual_seed(0)
    for b, c, n, h, w in (
        (1, 8, 5, 4, 4),
        (2, 3, 7, 17, 30),
        (3, 16, 16, 41, 5),
        (1, 256, 128, 64, 64),
    ):
        x = channels_last(torch.randn(b, c, h, w))
        kernel = Kernel(torch.randn(n, c, 3, 3) / (3 * c**0.5), torch.randn(n)).with_winograd()
        assert kernel.forward is not None
        assert kernel.backward is not None
        exact = F.conv2d(x.double(), kernel.weight.double(), kernel.bias.double(), padding=1)
        found = winograd.conv3x3(x, kernel.forward, kernel.bias)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=3e-4)
        slope = torch.randn_like(found)
        back = winograd.conv3x3(slope, kernel.backward, None)
        expected = F.conv_transpose2d(slope.double(), kernel.weight.double(), padding=1)
        torch.testing.assert_close(back.double(), expected, rtol=0, atol=3e-4)


# -- what that does to a picture ---------------------------------------------------------------------


@lru_cache
def original() -> VGG19:
    """The network whose features the precision is meant for: random ones are unlike them."""
    return load_vgg19(identify(Recipe()))


def textured(seed: int, height: int, width: int) -> Tensor:
    """As photos are: patches, shades and grain."""
    grain = F.interpolate(noise(seed, height // 2, width // 2), (height, width), mode="bilinear")
    return (photo(seed, height, width) + 0.4 * (grain - 0.5)).clamp(0, 1)


LEAST_COSINE = 0.98

PAIRS = {
    "textures": (textured(1, 48, 64), textured(2, 64, 64)),
    "noise": (textured(3, 64, 40), noise(4, 64, 64)),
    "flat": (
        textured(5, 64, 64),
        torch.tensor([0.8, 0.3, 0.1]).view(1, 3, 1, 1).expand(1, 3, 32, 32),
    ),
    "blurred": (photo(1, 48, 64), photo(2, 64, 64)),
}


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_gradient_points_the_same_way(pair: tuple[Tensor, Tensor]) -> None:
    content, style = pair
    gradients = []
    for precision in ("float32", "bfloat16"):
        objective = Objective(original(), recipe(precision=precision), content, [[(style, 1.0)]])
        gradients.append(objective.with_gradient(convert(content, RGB, CAFFE))[1])
    assert F.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > LEAST_COSINE


@pytest.mark.slow
@pytest.mark.parametrize("pair", [PAIRS[name] for name in ("textures", "noise")])
def test_the_loss_gets_as_low(pair: tuple[Tensor, Tensor]) -> None:
    """With Adam: L-BFGS lets the last bits of any two renders grow into a difference."""
    knobs = {"size": 64, "steps": 20, "optimizer": "adam", "learning_rate": 2.0}
    content, style = pair
    judge = Objective(original(), recipe(**knobs), content, [[(style, 1.0)]])

    def final(precision: str) -> float:
        made = recipe(precision=precision, **knobs)
        painted = stylize(content, style, made, network=original(), device="cpu").picture.rgb
        return judge(convert(painted, RGB, CAFFE)).total_B.item()

    assert final("bfloat16") == pytest.approx(final("float32"), rel=0.02)


@pytest.mark.slow
def test_pictures_of_few_colours_are_painted_as_fast() -> None:
    """Their covariances are nearly singular, which magnifies any rounding of what they are measured from."""
    made = recipe(size=64, steps=12)
    last = {}
    for precision in ("float32", "bfloat16"):
        painted = made.model_copy(update={"precision": precision})
        pair = photo(1, 48, 64), noise(2, 64, 64)
        result = stylize(*pair, painted, network=original(), device="cpu")
        last[precision] = result.losses[0].total
    assert last["bfloat16"] < 1.1 * last["float32"]
