"""The wasserstein recipe: its loss against plain numpy, its gradient, its pyramid and averages."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch

from stylize import Recipe
from stylize.losses import functions, style
from stylize.losses.functions import wasserstein_loss
from stylize.losses.objective import Objective
from stylize.losses.style import Extent, Target, WassersteinTerm
from stylize.matrix_roots import _by_eigenvalues, _by_iteration, factorise, matrix_root
from stylize.optimise.adam import BatchedAdam
from stylize.optimise.iterate_average import IterateAverage
from stylize.pictures.pixel_spaces import IMAGENET, SPACES
from tests.stylize.support import distance, measure, noise, seeded, tiny_convs, tiny_network
from tests.stylize.test_golden import (
    CONTENT_LAYER,
    CONVS_PER_BLOCK,
    STYLE_LAYERS,
    Array,
    conv3x3,
    in_space,
    pool2x2,
)

SHAPE = (1, 3, 32, 48)


def features_of(rgb: Array, edge: Literal["edge", "constant"]) -> dict[str, Array]:
    """VGG19 whose first convolution sees the edge pixels repeated, or zeros."""
    convs = iter([(w.double().numpy(), b.double().numpy()) for w, b in tiny_convs()])
    x = np.pad(in_space(rgb, "imagenet"), ((0, 0), (1, 1), (1, 1)), mode=edge)
    features = {}
    for block, repeats in enumerate(CONVS_PER_BLOCK, start=1):
        for number in range(1, repeats + 1):
            x = conv3x3(x, *next(convs))
            if (block, number) == (1, 1):
                x = x[:, 1:-1, 1:-1]  # what zeros were added to is cut off again
            x = np.maximum(x, 0)
            features[f"conv{block}_{number}"] = x
        x = pool2x2(x, average=False)
    return features


def plain_distance(features: Array, target: Array) -> float:
    """Wasserstein-2 between Gaussians, by the eigenvalues of the product of their covariances."""
    a, b = (maps.reshape(len(maps), -1) for maps in (features, target))
    s, t = (np.cov(rows, bias=True) + 1e-4 * np.eye(len(rows)) for rows in (a, b))
    roots = np.sqrt(np.clip(np.linalg.eigvals(t @ s).real, 0, None))
    mean = ((a.mean(1) - b.mean(1)) ** 2).mean()
    return float(mean + (np.trace(s) + np.trace(t) - 2 * roots.sum()) / len(s))


def variation(x: Array) -> float:
    """The nine-point stencil, pixel by pixel."""
    p = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = p[:, 1:-1, 2:] - p[:, 1:-1, 1:-1]
    down = p[:, 2:, 1:-1] - p[:, 1:-1, 1:-1]
    falling, rising = p[:, 1:, 1:] - p[:, :-1, :-1], p[:, 1:, :-1] - p[:, :-1, 1:]
    return float(
        2 * ((across**2).mean() / 3 + (down**2).mean() / 3)
        + 2 * ((falling**2).mean() / 12 + (rising**2).mean() / 12)
    )


@pytest.mark.parametrize("preset", ["wasserstein", "studio"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_every_term_equals_the_formula(preset: Any, dtype: torch.dtype, tolerance: float) -> None:
    recipe = Recipe(preset=preset)
    painted, content, style = (noise(seed, *SHAPE[2:], torch.float64) for seed in (1, 2, 3))
    network = tiny_network(IMAGENET, dtype=dtype)
    space = SPACES[recipe.space]

    found = Objective(network, recipe, content.to(dtype), [[(style.to(dtype), 1.0)]])(
        space.from_rgb(painted.to(dtype))
    )

    edge: Literal["edge", "constant"] = "edge" if preset == "wasserstein" else "constant"
    f, p, a = (features_of(rgb[0].numpy(), edge) for rgb in (painted, content, style))
    content_factor, tv_factor, weights = {
        "wasserstein": (0.015, 2.0, np.array([256, 64, 16, 4, 1]) / 341),
        "studio": (0.01, 0.3, np.array([192, 48, 12, 3]) / 256),
    }[preset]
    content_loss = content_factor * ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).mean()
    layers = [w * plain_distance(f[n], a[n]) for w, n in zip(weights, STYLE_LAYERS, strict=False)]
    levels = 1.0 if preset == "wasserstein" else 255.0  # in which the pixels are
    tv = tv_factor * variation(painted[0].numpy() * levels)
    assert found.content_B.item() == pytest.approx(content_loss, rel=tolerance)
    assert found.style_BL[0].tolist() == pytest.approx(layers, rel=tolerance)
    assert found.tv_B.item() == pytest.approx(tv, rel=tolerance)
    assert found.total_B.item() == pytest.approx(content_loss + sum(layers) + tv, rel=tolerance)


def gaussian(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (B, N) and covariance (B, N, N)."""
    mean, s = (values[:, 0] for values in measure(WassersteinTerm(), features))
    return mean, s + 1e-4 * torch.eye(s.shape[1])


def test_the_gradient_agrees_with_finite_differences() -> None:
    term = WassersteinTerm()
    loss = distance(term, measure(term, noise(5, 6, 7, torch.float64) * 3))
    assert torch.autograd.gradcheck(loss, noise(4, 5, 8, torch.float64).requires_grad_())


def covariance(seed: int, positions: int, decay: float) -> torch.Tensor:
    """As features have them: channels of very different strengths, many that go together."""
    spread = torch.logspace(0, -decay, 96, dtype=torch.float64)
    mixing = torch.linalg.qr(torch.randn(96, 96, generator=seeded(1), dtype=torch.float64))[0]
    f = torch.randn(positions, 96, generator=seeded(seed), dtype=torch.float64) * spread
    f = f @ mixing * 100
    return (f.mT @ f / positions + 1e-4 * torch.eye(96))[None]


def plainly(s: torch.Tensor, t: torch.Tensor) -> tuple[float, torch.Tensor]:
    """The overlap, and half the linear map from one Gaussian to the other, by textbook."""
    root = matrix_root(t)
    values, vectors = torch.linalg.eigh(root @ s @ root)
    inverse = (vectors * values.clamp(min=1e-12 * values.amax()).rsqrt()[:, None]) @ vectors.mT
    return values.clamp(min=0).sqrt().sum().item(), root @ inverse @ root / 2


@pytest.mark.parametrize("way", [_by_eigenvalues, _by_iteration])
@pytest.mark.parametrize("positions", [40, 400])
@pytest.mark.parametrize("decay", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("near", [0.0, 0.5])
def test_float32_is_near_the_exact_overlap(
    way: Any, decay: float, positions: int, near: float
) -> None:
    """With few positions of no full rank; and near the target, where the distance is a small difference."""
    target = covariance(2, positions, decay)
    s = near * target + (1 - near) * covariance(3, positions, decay)
    exact, exact_slope = plainly(s, target)
    found, slope = way(s.float(), factorise(target.float()))
    distance = (s + target).diagonal(dim1=1, dim2=2).sum().item() - 2 * exact
    assert abs(found.item() - exact) < 0.01 * distance
    # What features see of the slope.
    off, whole = (
        torch.einsum("bij,bjk,bki->", g, s, g).item() ** 0.5
        for g in (slope.double() - exact_slope, torch.eye(96) / 2 - exact_slope)
    )
    assert off < 0.06 * whole


def test_a_matrix_that_rounding_has_made_indefinite_has_an_overlap_nevertheless() -> None:
    target = covariance(2, 400, 1.0)
    s = covariance(3, 400, 1.0) - 0.5 * torch.eye(96)
    for way in (_by_eigenvalues, _by_iteration):
        for value in way(s.float(), factorise(target.float())):
            assert torch.isfinite(value).all()


def test_layers_that_are_computed_together_are_as_they_are_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As GPUs compute them: layers of several widths as matrices of one, filled up with zeros."""
    monkeypatch.setattr(functions, "overlap", _by_iteration)
    targets, statistics = {}, {}
    for number, width in enumerate((5, 9, 16, 30, 30)):
        both = [noise(2 * number + k, 96, width).view(2, width, 12, 12) for k in (0, 1)]
        target, found = (
            tuple(torch.cat([v, 0.9 * v], 1) for v in measure(WassersteinTerm(), features))
            for features in both
        )
        extent = Extent(144, torch.tensor([[100.0, 44.0], [0.0, 144.0]]))  # two pictures, two masks
        targets[str(number)], statistics[str(number)] = Target(target, extent, 0.5), found

    def computed(groups: list[list[str]]) -> tuple[torch.Tensor, Any]:
        monkeypatch.setattr(style, "_grouped", lambda _: groups)
        term = WassersteinTerm()
        term.set_targets(targets)
        return term.distances(statistics)

    alone, its_slopes = computed([[name] for name in targets])
    assert (alone > 0).all()
    for groups in ([["3", "4"], ["0", "1", "2"]], [list(targets)]):
        together, slopes = computed(groups)
        torch.testing.assert_close(together, alone)
        torch.testing.assert_close(slopes, its_slopes, rtol=1e-3, atol=1e-6)


def test_equal_styles_are_at_no_distance_and_others_are() -> None:
    mean, s = gaussian(noise(1, 9, 9, torch.float64))
    target = s.diagonal(dim1=1, dim2=2), factorise(s)
    same, _ = wasserstein_loss(0 * mean, s, *target)
    moved, _ = wasserstein_loss(1 + 0 * mean, s, *target)
    assert same.item() == pytest.approx(0, abs=1e-9)
    assert moved.item() == pytest.approx(3)  # a shift by 1 in every channel


def test_its_sizes_go_down_by_the_root_of_two_to_128() -> None:
    schedule = Recipe(preset="wasserstein", size=512).schedule()
    assert schedule == ((128, 1000), (181, 500), (256, 500), (362, 500), (512, 500))


def test_the_average_is_corrected_for_its_beginning() -> None:
    average = IterateAverage(0.99)
    average.add(torch.tensor([3.0]))
    assert average.mean().item() == pytest.approx(3)
    average.add(torch.tensor([5.0]))
    assert average.mean().item() == pytest.approx((0.99 * 3 + 5) / 1.99)


def test_adam_goes_on_with_the_moments_it_is_given() -> None:
    gradients = [noise(seed, 4, 4) - 0.5 for seed in range(6)]
    whole = noise(9, 4, 4).requires_grad_()
    adam = BatchedAdam(whole, 0.02, 0.99)
    for gradient in gradients:
        adam.step(gradient)

    parts = noise(9, 4, 4).requires_grad_()
    first = BatchedAdam(parts, 0.02, 0.99)
    for gradient in gradients[:3]:
        first.step(gradient)
    second = BatchedAdam(parts, 0.02, 0.99, first.carried())
    for gradient in gradients[3:]:
        second.step(gradient)

    torch.testing.assert_close(parts, whole)


def test_adam_is_torchs_adam() -> None:
    ours, theirs = (noise(1, 5, 6).requires_grad_() for _ in range(2))
    adam = BatchedAdam(ours, 0.02, 0.99)
    reference = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.99))
    for seed in range(20):
        gradient = noise(seed, 5, 6) - 0.5
        adam.step(gradient)
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs)


def test_it_paints() -> None:
    from stylize import stylize

    made = Recipe(preset="wasserstein", size=64, start_size=32, steps=30, refine_steps=20)
    losses: list[float] = []
    result = stylize(
        noise(1, 40, 64),
        noise(2, 40, 40),
        made,
        network=tiny_network(IMAGENET),
        observer=lambda steps: losses.extend(step.total for step in steps),
    )
    assert losses[-1] < losses[0] / 2
    assert math.isfinite(losses[-1])
    assert result.picture.rgb.shape == (1, 3, 40, 64)
