"""The first guess of the inverse curvature: symmetric, positive, and right about what is smooth."""

from __future__ import annotations

import pytest
import torch

from stylize.optimise.lbfgs import BatchedLBFGS
from stylize.optimise.preconditioner import KNEE, LOWEST, FrequencyPreconditioner
from tests.stylize.support import noise, seeded

SHAPES = [(32, 48), (33, 47), (32, 47), (1, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_symmetric_and_positive(shape: tuple[int, int]) -> None:
    u, v = (torch.randn(2, 3, *shape, generator=seeded(k), dtype=torch.float64) for k in (1, 2))
    known = FrequencyPreconditioner(u)
    torch.testing.assert_close((u * known(v)).sum(), (known(u) * v).sum())
    assert (u * known(u)).sum() >= (u * u).sum()
    assert known(u).shape == u.shape


@pytest.mark.parametrize(
    ("period", "gain"),
    [(None, 1 / LOWEST), (16, 1 / (LOWEST + (1 - LOWEST) * (1 / 16) / KNEE)), (4, 1.0), (2, 1.0)],
)
def test_a_wave_is_multiplied_by_its_gain(period: int | None, gain: float) -> None:
    where = torch.arange(48, dtype=torch.float64)
    wave = torch.ones(48) if period is None else torch.cos(2 * torch.pi * where / period)
    picture = wave.to(torch.float64).expand(1, 3, 32, 48).clone()
    torch.testing.assert_close(FrequencyPreconditioner(picture)(picture), gain * picture)


def test_every_picture_is_on_its_own() -> None:
    both = torch.cat([noise(1, 20, 30), noise(2, 20, 30)])
    known = FrequencyPreconditioner(both)
    torch.testing.assert_close(known(both)[:1], known(both[:1]))


def test_what_curves_as_expected_takes_fewer_steps() -> None:
    start = noise(1, 32, 32, torch.float64)
    known = FrequencyPreconditioner(start)
    # Curved by the reciprocal of the expected inverse curvature, and more where x is large.
    curvature = 1 / known._gain

    def steps_with(preconditioner: FrequencyPreconditioner | None) -> int:
        x = start.clone()
        optimiser = BatchedLBFGS(x, 1.0, 10, preconditioner)
        for step in range(200):
            pulled = torch.fft.irfft2(torch.fft.rfft2(x) * curvature, s=(32, 32))
            if (x * pulled).sum() < 1e-6 * start.numel():
                return step
            optimiser.step(pulled * (1 + x.square()))
        return 200

    assert steps_with(known) <= 0.7 * steps_with(None)
