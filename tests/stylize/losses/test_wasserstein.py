"""The wasserstein recipe: its loss against plain numpy, its gradient, its pyramid and averages."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch

from stylize import Recipe
from stylize.losses.functions import nine_point_variation, wasserstein_loss
from stylize.losses.objective import Objective
from stylize.losses.style import WassersteinTerm
from stylize.matrix_roots import _ByIteration, matrix_root, trace_of_root
from stylize.optimise.adam import BatchedAdam
from stylize.optimise.iterate_average import IterateAverage
from stylize.pictures.pixel_spaces import IMAGENET, SPACES
from tests.stylize.support import measure, noise, seeded, tiny_convs, tiny_network
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


def distance(features: Array, target: Array) -> float:
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
    layers = [w * distance(f[n], a[n]) for w, n in zip(weights, STYLE_LAYERS, strict=False)]
    levels = 1.0 if preset == "wasserstein" else 255.0  # in which the pixels are
    tv = tv_factor * variation(painted[0].numpy() * levels)
    assert found.content_B.item() == pytest.approx(content_loss, rel=tolerance)
    assert found.style_BL[0].tolist() == pytest.approx(layers, rel=tolerance)
    assert found.tv_B.item() == pytest.approx(tv, rel=tolerance)
    assert found.total_B.item() == pytest.approx(content_loss + sum(layers) + tv, rel=tolerance)


def gaussian(features: torch.Tensor) -> list[torch.Tensor]:
    """Mean (B, N) and covariance (B, N, N)."""
    return [values[:, 0] for values in measure(WassersteinTerm(), features)]


def test_the_gradient_agrees_with_finite_differences() -> None:
    mean, covariance = gaussian(noise(5, 6, 7, torch.float64) * 3)
    root = matrix_root(covariance)

    def loss(features: torch.Tensor) -> torch.Tensor:
        return wasserstein_loss(*gaussian(features), mean, covariance, root)

    assert torch.autograd.gradcheck(loss, noise(4, 5, 8, torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(
        nine_point_variation, noise(4, 5, 8, torch.float64).requires_grad_()
    )


@pytest.mark.parametrize("positions", [40, 400])
@pytest.mark.parametrize("decay", [1.0, 2.0, 3.0])
def test_the_iteration_of_gpus_is_near_the_exact_root(decay: float, positions: int) -> None:
    """On covariances as features have them: channels of very different strengths, many that go together,
    and with few positions of no full rank."""
    spread = torch.logspace(0, -decay, 96, dtype=torch.float64)
    mixing = torch.linalg.qr(torch.randn(96, 96, generator=seeded(1), dtype=torch.float64))[0]

    def covariance(seed: int) -> torch.Tensor:
        f = torch.randn(positions, 96, generator=seeded(seed), dtype=torch.float64) * spread
        f = f @ mixing * 100
        return (f.mT @ f / positions + 1e-4 * torch.eye(96))[None]

    root = matrix_root(covariance(2))
    found = []
    for way in (trace_of_root, _ByIteration.apply):
        s = covariance(3).requires_grad_()
        trace = way(root @ s @ root)
        (gradient,) = torch.autograd.grad(trace.sum(), s)
        found.append((trace.item(), gradient))
    (exact, exact_gradient), (near, near_gradient) = found
    assert near == pytest.approx(exact, rel=0.01)
    pulls = [g @ covariance(3) for g in (exact_gradient, near_gradient)]  # what features see of it
    cosine = torch.cosine_similarity(pulls[0].flatten(), pulls[1].flatten(), dim=0)
    assert cosine.item() > 0.99


def test_equal_styles_are_at_no_distance_and_others_are() -> None:
    mean, s = gaussian(noise(1, 9, 9, torch.float64))
    same = wasserstein_loss(mean, s, mean, s, matrix_root(s))
    moved = wasserstein_loss(mean + 1, s, mean, s, matrix_root(s))
    assert same.item() == pytest.approx(0, abs=1e-9)
    assert moved.item() == pytest.approx(1)  # a shift by 1 in every channel


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
    second = BatchedAdam(parts, 0.02, 0.99, first.moments())
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
