"""The curvature by place: found where it is, the same for every size and batch, and worth its steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylize.optimise.lbfgs import BatchedLBFGS
from stylize.optimise.local_curvature import CELL, RANGE, LocalCurvature
from stylize.optimise.preconditioner import LOCAL_POWER, FrequencyPreconditioner
from tests.stylize.support import seeded

HEIGHT, WIDTH = 48, 64


def bowl(batch: int, steep: float = 4.0) -> Tensor:
    """The curvature of each pixel, (B, 3, H, W): the right half is steeper, in each picture the more."""
    curvature = torch.ones(batch, 3, HEIGHT, WIDTH)
    for picture in range(batch):
        curvature[picture, :, :, WIDTH // 2 :] = steep ** (picture + 1)
    return curvature


def seen(
    curvature: Tensor, steps: int = 6, dtype: torch.dtype | None = None
) -> LocalCurvature | None:
    """What L-BFGS knows after some steps down a bowl that is curved like that."""
    x = torch.randn(curvature.shape, generator=seeded(1))
    x = x + 0.5 * torch.randn(curvature.shape, generator=seeded(2))
    optimiser = BatchedLBFGS(x, 0.5, 4, FrequencyPreconditioner(x), 0.1, dtype)
    for _ in range(steps):
        optimiser.step(curvature * x)
    return optimiser.carried()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_each_place_has_its_own_curvature(dtype: torch.dtype | None) -> None:
    found = seen(bowl(2), dtype=dtype)
    assert found is not None
    map_B1hw = found.relative_B1hw
    assert map_B1hw.shape == (2, 1, HEIGHT // CELL, WIDTH // CELL)
    torch.testing.assert_close(map_B1hw.log().mean((1, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    ratio = map_B1hw[..., -2:].mean((1, 2, 3)) / map_B1hw[..., :2].mean((1, 2, 3))
    torch.testing.assert_close(ratio, torch.tensor([4.0, 16.0]), rtol=0.1, atol=0)


def test_where_nothing_has_moved_nothing_is_known() -> None:
    x = torch.ones(2, 3, 16, 16)
    optimiser = BatchedLBFGS(x, 0.5, 4, FrequencyPreconditioner(x), 0.1)
    for _ in range(4):
        optimiser.step(torch.cat([0 * x[:1], x[1:] * torch.rand(3, 16, 16, generator=seeded(3))]))
    found = optimiser.carried()
    assert found is not None
    assert torch.equal(found.relative_B1hw[0], torch.ones(1, 2, 2))
    assert found.relative_B1hw.isfinite().all()
    assert found.relative_B1hw[1].max() <= RANGE


def test_without_an_assumed_curvature_nothing_is_passed_on() -> None:
    optimiser = BatchedLBFGS(torch.ones(1, 3, 8, 8))
    optimiser.step(torch.ones(1, 3, 8, 8))
    assert optimiser.carried() is None


def test_a_steeper_place_moves_less_at_any_size() -> None:
    curvature = torch.ones(1, 1, 4, 4)
    curvature[..., 2:] = 4.0
    like = torch.ones(1, 3, 70, 90)
    plain, known = FrequencyPreconditioner(like), FrequencyPreconditioner(like, curvature)
    u, v = (torch.randn(like.shape, generator=seeded(k)) for k in (1, 2))
    torch.testing.assert_close((u * known(v)).sum(), (known(u) * v).sum(), rtol=1e-3, atol=1e-2)
    gain = known(v).square().mean((0, 1, 2)) / plain(v).square().mean((0, 1, 2))
    assert gain[:20].mean() > 0.9
    assert gain[-20:].mean().sqrt() == pytest.approx(4**-LOCAL_POWER, rel=0.1)


def test_knowing_the_place_saves_steps() -> None:
    """Where the curvature is that of the place times that of the frequency, and grows with x."""
    curvature = torch.logspace(-1, 1, WIDTH).expand(1, 3, HEIGHT, WIDTH)
    known = seen(curvature)
    assert known is not None
    by_frequency = 1 / FrequencyPreconditioner(curvature)._gain

    def steps_with(local: Tensor | None) -> int:
        x = torch.randn(curvature.shape, generator=seeded(9))
        optimiser = BatchedLBFGS(x, 1.0, 5, FrequencyPreconditioner(x, local), 0.1)
        for step in range(200):
            spectrum = torch.fft.rfft2(curvature.sqrt() * x) * by_frequency
            slope = curvature.sqrt() * torch.fft.irfft2(spectrum, s=(HEIGHT, WIDTH))
            if (slope * x).mean() < 1e-4:
                return step
            optimiser.step(slope * (1 + 0.1 * x.square()))
        return 200

    assert steps_with(known.relative_B1hw) < 0.8 * steps_with(None)
