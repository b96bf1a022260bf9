"""The network is torchvision's VGG19, taps lie behind ReLUs, and pictures reach it in its own units."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylize.layer_names import LAYERS
from stylize.losses.objective import Objective
from stylize.network.features import ForwardOptions, features
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import CAFFE, IMAGENET, RGB, SPACES, convert
from tests.stylize.support import TORCHVISION_CONVS, noise, recipe, tiny_convs, tiny_network

SECTION_3 = {
    "conv1_1": 1,
    "conv2_1": 6,
    "conv3_1": 11,
    "conv4_1": 20,
    "conv4_2": 22,
    "conv5_1": 29,
}
"""The taps as the literature counts them: indices of ``vgg19().features``."""


@lru_cache
def torchvision_features() -> nn.Sequential:
    """torchvision's architecture around the weights of our tiny network."""
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):  # its own weights are 500 MB that nobody looks at
        layers: nn.Sequential = models.vgg19().features
    for index, (weight, bias) in zip(TORCHVISION_CONVS, tiny_convs(), strict=True):
        layers[index].weight, layers[index].bias = nn.Parameter(weight), nn.Parameter(bias)
    return layers


@torch.no_grad()
def torchvision_outputs(x: Tensor) -> list[Tensor]:
    outputs = []
    for layer in torchvision_features():
        x = layer(x)
        outputs.append(x)
        x = x.clone()  # torchvision's ReLUs work in place
    return outputs


@pytest.mark.parametrize("layer", LAYERS)
def test_every_tap_is_torchvisions_output_after_the_relu(layer: str) -> None:
    x = noise(1, 35, 49)
    index = SECTION_3.get(layer, TORCHVISION_CONVS[LAYERS.index(layer)] + 1)
    relu = torchvision_features()[index]
    assert isinstance(relu, nn.ReLU)
    found = features(tiny_network(), x, [layer])
    assert set(found) == {layer}
    assert found[layer].min() >= 0
    torch.testing.assert_close(found[layer], torchvision_outputs(x)[index])


def test_taps_taken_together_equal_taps_taken_alone() -> None:
    """A later layer must not overwrite what an earlier tap has handed out."""
    x = noise(2, 33, 32)
    together = features(tiny_network(), x, LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(together[layer], features(tiny_network(), x, [layer])[layer])


def test_the_picture_is_left_as_it_was() -> None:
    x = noise(3, 32, 32)
    before = x.clone()
    features(tiny_network(), x, LAYERS)
    assert torch.equal(x, before)


@pytest.mark.parametrize("last", ["conv1_1", "conv2_2", "conv4_2"])
def test_it_stops_at_the_last_tap(last: str) -> None:
    """No later layer is reached: here they fit no input. A pooling after it would fail too."""
    convs = tiny_convs()
    for index in range(LAYERS.index(last) + 1, len(LAYERS)):
        convs[index] = (torch.zeros(1, 999, 3, 3), torch.zeros(1))
    x = noise(4, 32, 32)
    found = features(VGG19(convs, RGB), x, ["conv1_1", last])[last]
    torch.testing.assert_close(found, features(tiny_network(), x, [last])[last])


@pytest.mark.parametrize(("layer", "side"), [("conv1_2", 1), ("conv3_1", 4), ("conv5_4", 16)])
def test_the_smallest_picture_still_has_features(layer: str, side: int) -> None:
    assert features(tiny_network(), noise(5, side, side), [layer])[layer].shape[2:] == (1, 1)


def test_average_pooling_takes_means_of_four() -> None:
    x = noise(6, 5, 6)
    convs = tiny_convs()
    identity = torch.zeros_like(convs[2][0])
    identity[range(4), range(4), 1, 1] = 1
    convs[2] = (identity, torch.zeros_like(convs[2][1]))
    network = VGG19(convs, RGB)
    found = {
        pooling: features(network, x, ["conv1_2", "conv2_1"], ForwardOptions(pooling=pooling))
        for pooling in ("average", "max")
    }
    before = found["max"]["conv1_2"][:, :, :4]  # the fifth row is left out
    quarters = [before[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    mean, largest = torch.stack(quarters).mean(0), torch.stack(quarters).amax(0)
    torch.testing.assert_close(found["average"]["conv2_1"][:, :4], mean)
    torch.testing.assert_close(found["max"]["conv2_1"][:, :4], largest)


def test_the_weights_take_no_part_in_the_optimisation() -> None:
    network = tiny_network()
    assert list(network.parameters()) == []
    assert not any(buffer.requires_grad for buffer in network.buffers())


def test_a_network_of_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="16 convolutions, not 15"):
        VGG19(tiny_convs()[:-1], RGB)


# -- pixel spaces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_a_space_and_back_is_the_same_picture(name: str) -> None:
    rgb = noise(7, 5, 6, torch.float64)
    space = SPACES[name]
    torch.testing.assert_close(space.to_rgb(space.from_rgb(rgb)), rgb)


@pytest.mark.parametrize("source", SPACES)
@pytest.mark.parametrize("target", SPACES)
def test_any_space_converts_into_any_other(source: str, target: str) -> None:
    rgb = noise(8, 5, 6, torch.float64)
    there = convert(SPACES[source].from_rgb(rgb), SPACES[source], SPACES[target])
    torch.testing.assert_close(there, SPACES[target].from_rgb(rgb))


def pixel(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)


def test_caffe_pixels_are_bgr_to_255_less_the_mean() -> None:
    found = CAFFE.from_rgb(pixel(1.0, 0.5, 0.0))
    torch.testing.assert_close(found, pixel(0 - 103.939, 127.5 - 116.779, 255 - 123.68))


def test_imagenet_pixels_are_normalised() -> None:
    found = IMAGENET.from_rgb(pixel(1.0, 0.5, 0.0))
    torch.testing.assert_close(
        found, pixel((1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225)
    )


@pytest.mark.parametrize("name", SPACES)
def test_limits_are_black_and_white(name: str) -> None:
    black, white = pixel(0, 0, 0), pixel(1, 1, 1)
    low, high = SPACES[name].limits(black)
    torch.testing.assert_close(low, SPACES[name].from_rgb(black))
    torch.testing.assert_close(high, SPACES[name].from_rgb(white))


@pytest.mark.parametrize(
    ("pooling", "scale", "window"),
    [
        ("max", 1.0, lambda cells: cells.amax(-1)),
        ("average", 2.0, lambda cells: cells.mean(-1)),
        ("l2", 0.78, lambda cells: cells.square().sum(-1).sqrt()),
    ],
)
def test_poolings_and_their_scales(pooling: str, scale: float, window: Any) -> None:
    network = tiny_network(CAFFE)
    x = CAFFE.from_rgb(noise(1, 8, 8))
    before = features(network, x, ["conv1_2"])["conv1_2"]
    cells = before.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    weight, bias = network.conv2_1_weight, network.conv2_1_bias

    for rescale in (False, True):
        pooled = window(cells) * (scale if rescale else 1.0)
        expected = torch.relu(torch.nn.functional.conv2d(pooled, weight, bias, padding=1))
        found = features(network, x, ["conv2_1"], ForwardOptions(pooling, rescale_pooling=rescale))[
            "conv2_1"
        ]
        torch.testing.assert_close(found, expected)


def test_l2_pooling_has_a_gradient_where_everything_is_zero() -> None:
    made = recipe(pooling="l2", content_layers=["conv2_1"])
    objective = Objective(tiny_network(CAFFE), made, noise(1, 32, 32), [[(noise(2, 32, 32), 1.0)]])
    x = torch.full((1, 3, 32, 32), -1e4, requires_grad=True)  # no ReLU lets anything through
    (gradient,) = torch.autograd.grad(objective(x).total_B.sum(), x)
    assert bool(torch.isfinite(gradient).all())
