"""The gradients agree with finite differences, and the pictures of a batch do not see one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from stylize import Recipe
from stylize.losses.functions import style_loss
from stylize.losses.objective import Objective
from stylize.losses.style import GramTerm, WassersteinTerm
from stylize.losses.variation import absolute_variation, nine_point_variation, total_variation
from stylize.network.layers import channels_last
from stylize.network.probes import Content
from stylize.pictures.pixel_spaces import RGB, SPACES
from tests.stylize.support import (
    differentiable,
    distance,
    measure,
    noise,
    recipe,
    seeded,
    tiny_network,
)

GRAMS = ["positions", "elements", "none"]
NORMS = ["none", "channels", "elements", "paper"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def central_difference(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> float:
    """The slope of a number at a point, along a direction."""
    h = 1e-6
    return ((function(at + h * along) - function(at - h * along)) / (2 * h)).item()


def squares(features: Tensor, target: Tensor) -> Tensor:
    probe = Content(target)

    def look(f: Tensor) -> tuple[Tensor, Tensor]:
        f = channels_last(f)
        gradient = torch.zeros_like(f)
        probe.backward(f, 0, (1.0,), gradient)
        return probe.forward(f, 0)[0], gradient

    return differentiable(look)(features)


def varied(variation: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """A total variation, weighted, as a step has it: its gradient is added to another."""

    def look(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = torch.ones_like(x)
        return variation(x, 0.7, gradient), gradient - 1

    return differentiable(look)


def gram_matrix(features: Tensor, divide_by: Any = "none") -> Tensor:
    """(B, N, N), as the recipe's term of that name has it."""
    return measure(GramTerm(recipe(gram=divide_by)), features)[0][:, 0]


# -- values on examples small enough for a pencil ----------------------------------------------------


def test_content_is_the_sum_of_squared_differences() -> None:
    ones, threes = torch.ones(2, 3, 4, 5), torch.full((2, 3, 4, 5), 3.0)
    assert squares(ones, threes).tolist() == [4 * 60, 4 * 60]


def test_absolute_variation_sums_differences_of_neighbours() -> None:
    picture = torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]])
    assert absolute_variation(picture).tolist() == [3 + 2 + 1 + 0]


@pytest.mark.parametrize(("divide_by", "divisor"), [("none", 1), ("positions", 2), ("elements", 4)])
def test_a_gram_matrix_is_ff_transposed(divide_by: Any, divisor: int) -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # N = 2, M = 2
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / divisor
    assert torch.equal(gram_matrix(features, divide_by), expected)


@pytest.mark.parametrize(
    ("norm", "factor"), [("none", 1), ("channels", 1 / 4), ("elements", 1 / 6), ("paper", 1 / 36)]
)
def test_style_loss_is_a_scaled_mean_square(norm: Any, factor: float) -> None:
    gram, target = torch.ones(1, 2, 2), torch.zeros(1, 2, 2)  # N = 2; M = 3
    loss, slope = style_loss(gram, target, 3, norm)
    assert loss.item() == pytest.approx(factor)
    assert slope.tolist() == [[[pytest.approx(factor / 2)] * 2] * 2]


def test_total_variation_sums_squares_of_neighbours() -> None:
    picture = torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]])
    assert total_variation(picture).tolist() == [9 + 4 + 1 + 0]


def test_a_flat_picture_has_no_variation() -> None:
    assert total_variation(torch.full((2, 3, 5, 7), 0.3)).tolist() == [0, 0]


# -- gradients ---------------------------------------------------------------------------------------


def test_the_gradient_of_content_is_right() -> None:
    target = random(2, 3, 4, 5, seed=1)
    assert gradcheck(lambda f: squares(f, target), random(2, 3, 4, 5).requires_grad_())


@pytest.mark.parametrize("divide_by", GRAMS)
@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_of_style_is_right(divide_by: Any, norm: Any) -> None:
    term = GramTerm(recipe(gram=divide_by, style_norm=norm))
    loss = distance(term, measure(term, random(2, 3, 6, 2, seed=1)))
    assert gradcheck(loss, random(2, 3, 4, 5).requires_grad_())


@pytest.mark.parametrize(
    "variation",
    [total_variation, absolute_variation, nine_point_variation],
    ids=lambda f: f.__name__,
)
def test_the_gradient_of_variation_is_right(variation: Any) -> None:
    x = random(2, 3, 4, 5)
    assert gradcheck(varied(variation), x.clone().requires_grad_())
    torch.testing.assert_close(variation(x, 0.7), 0.7 * variation(x))


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"preset": "gatys", "size": 32},
        {"preset": "notebook", "size": 32},
        {"pooling": "average", "space": "rgb", "gram": "none", "style_norm": "paper"},
        {"content_layers": {"conv1_2": 0.5, "conv3_4": 2.0}, "style_layers": ["conv5_4"]},
    ],
    ids=["studio", "gatys", "notebook", "average", "other layers"],
)
def test_the_gradient_of_the_whole_objective_is_right(knobs: dict[str, Any]) -> None:
    """With every tap, ReLU and pooling between, the network's ways of saving memory included."""
    made = recipe(**knobs)
    space = SPACES[made.space]
    network = tiny_network(RGB, widths=(2, 2, 2, 2, 2), dtype=torch.float64)
    content, style = noise(1, 16, 17, torch.float64), noise(2, 20, 16, torch.float64)
    objective = Objective(network, made, content, [[(style, 1.0)]])
    x = space.from_rgb(noise(3, 16, 17, torch.float64))

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(leaf).total_B.sum(), leaf)
    directions = [random(*x.shape, seed=i) for i in range(4)]
    for pixel in range(0, x.numel(), 97):
        directions.append(torch.zeros_like(x))
        directions[-1].view(-1)[pixel] = 1
    with torch.no_grad():
        slopes = [central_difference(lambda at: objective(at).total_B, x, d) for d in directions]
    expected = [(gradient * d).sum().item() for d in directions]
    largest = max(map(abs, expected))
    assert largest > 0
    assert slopes == pytest.approx(expected, rel=1e-4, abs=1e-6 * largest)


@pytest.mark.parametrize("term", ["content", "style", "tv"])
def test_a_term_of_weight_nought_adds_nothing(term: str) -> None:
    knobs = {f"{name}_weight": 0.0 for name in ("content", "style", "tv")}
    knobs[f"{term}_weight"] = 1.0
    objective = Objective(
        tiny_network(), recipe(**knobs), noise(1, 32, 32), [[(noise(2, 32, 32), 1.0)]]
    )
    losses = objective(noise(3, 32, 32))
    parts = {
        "content": losses.content_B.item(),
        "style": losses.style_BL.sum().item(),
        "tv": losses.tv_B.item(),
    }
    assert [name for name, value in parts.items() if value] == [term]
    assert losses.total_B.item() == parts[term]


# -- batches -----------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "content": lambda f: squares(f, torch.zeros_like(f)),
    "gram": lambda f: distance(GramTerm(recipe()), (torch.zeros(len(f), 1, 3, 3).to(f),))(f),
    "wasserstein": lambda f: distance(
        WassersteinTerm(),
        (torch.ones(len(f), 1, 3).to(f), torch.eye(3).to(f).expand(len(f), 1, 3, 3)),
    )(f),
    "variation": varied(total_variation),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_keeps_the_pictures_of_a_batch_apart(name: str) -> None:
    loss = LOSSES[name]
    batch = random(3, 3, 4, 5).requires_grad_()
    together = loss(batch)
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat([loss(one) for one in batch.split(1)]))
    (gradient,) = torch.autograd.grad(together[1], batch)
    assert gradient[1].any()
    assert not gradient[[0, 2]].any()


def test_an_objective_keeps_the_pictures_of_a_batch_apart() -> None:
    network = tiny_network(dtype=torch.float64)
    made = Recipe()
    contents = [noise(i, 32, 24, torch.float64) for i in range(3)]
    mixes = [[(noise(10 + i, 20 + i, 32, torch.float64), 1.0)] for i in range(3)]
    x = random(3, 3, 32, 24, seed=5).mul(50).requires_grad_()

    together = Objective(network, made, torch.cat(contents), mixes)(x)
    (gradient,) = torch.autograd.grad(together.total_B.sum(), x)
    for i in range(3):
        single = x[i : i + 1].detach().requires_grad_()
        alone = Objective(network, made, contents[i], [mixes[i]])(single)
        torch.testing.assert_close(together.columns()[i : i + 1], alone.columns())
        (its_own,) = torch.autograd.grad(alone.total_B.sum(), single)
        torch.testing.assert_close(gradient[i : i + 1], its_own)


def test_every_content_needs_its_style() -> None:
    with pytest.raises(ValueError, match="2 contents but 1 styles"):
        Objective(tiny_network(), Recipe(), noise(1, 32, 32).repeat(2, 1, 1, 1), [[]])
