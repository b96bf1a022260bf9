"""A split picture: the same losses and gradients, row by row, as those of the whole, in float64."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stylize.bands.band import Band
from stylize.bands.deal import ALIGN, FEWEST_ROWS, deal, scaled
from stylize.losses.objective import Objective
from stylize.network.strips import ALL_BLOCKS
from stylize.optimise.lbfgs import BatchedLBFGS
from stylize.optimise.preconditioner import FrequencyPreconditioner
from stylize.pictures.resize import add_margin, resize
from stylize.pictures.rows import canvas_rows
from tests.stylize.bands.together import together
from tests.stylize.support import noise, recipe, seeded, tiny_network

HEIGHT, WIDTH = 301, 42
"""Odd, so that poolings drop rows at the bottom; three bands of about a hundred rows."""

MEMBERS = 3


@given(height=st.integers(1, 5000), members=st.integers(1, 16))
def test_bands_cover_a_canvas_and_pool_as_the_whole_does(height: int, members: int) -> None:
    rows = deal(height, members)
    assert [row for band in rows for row in range(band.first, band.last)] == list(range(height))
    assert all(band.first % ALIGN == 0 for band in rows)
    assert len(rows) in {1, members}
    assert len(rows) == 1 or min(map(len, rows)) >= FEWEST_ROWS - ALIGN
    sizes = [len(band) for band in rows]
    assert max(sizes) - min(sizes) < 2 * ALIGN
    for scale in (1, 2, 4, 8, 16):
        assert sum(map(len, scaled(rows, scale))) == height // scale
    assert sum(map(len, scaled(rows, 8, up=True))) == -(-height // 8)


CASES: dict[str, dict[str, Any]] = {
    "studio": {},
    "in strips": {"strips": True},
    "masks": {"masks": True},
    "gram": {"style_loss": "gram"},
    "nine-point": {"tv": "nine-point", "tv_weight": 3.0},
    "absolute": {"tv": "absolute", "tv_weight": 3.0},
    "squares": {"tv": "squares", "tv_weight": 3.0},
    "replicated edges": {"padding": "replicate", "pooling": "average"},
    "l2 pooling": {"pooling": "l2", "rescale_pooling": True},
}


def look(band: Band, case: str) -> tuple[list[Tensor], Tensor]:
    """The losses of a band's rows and the gradient at them."""
    knobs = dict(CASES[case])
    strips, masked = knobs.pop("strips", False), knobs.pop("masks", False)
    made = recipe(size=HEIGHT, **knobs)
    content, x = (noise(seed, HEIGHT, WIDTH, torch.float64) for seed in (1, 2))
    style = (noise(3, 2 * HEIGHT, 40, torch.float64), 1.0)
    left = torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.float64)
    left[..., : WIDTH // 2] = 1
    left[..., 250:, :] = 0.3
    styles: list[tuple[Any, ...]] = [style]
    if masked:
        other = noise(4, 50, 60, torch.float64)
        styles = [(*style, left), (other, 0.5, 1 - left)]
    objective = Objective(
        tiny_network(dtype=torch.float64),
        made,
        band.cut(content).clone(),
        [styles],
        strip_pixels=40 * WIDTH if strips else None,
        strip_blocks=ALL_BLOCKS if strips else 0,
        band=band,
    )
    x = band.cut(255 * x - 100).clone().requires_grad_(True)
    losses = objective(x)
    (gradient,) = torch.autograd.grad(losses.total_B.sum(), x)
    return [v.detach() for v in losses], gradient


def of_objective(number: int, group: dist.ProcessGroup) -> Any:
    band = Band(HEIGHT, number, group)
    return {case: look(band, case) for case in CASES}


def test_losses_and_gradients_are_those_of_the_whole(tmp_path: Path) -> None:
    found = together(MEMBERS, of_objective, tmp_path)
    for case in CASES:
        losses, gradient = look(Band(HEIGHT), case)
        for of_member in found:
            torch.testing.assert_close(of_member[case][0], losses, rtol=1e-7, atol=0, msg=case)
        rows = torch.cat([of_member[case][1] for of_member in found], 2)
        scale = gradient.abs().max()
        torch.testing.assert_close(rows / scale, gradient / scale, rtol=0, atol=1e-9, msg=case)


def descend(band: Band, preconditioned: bool) -> Tensor:
    """Steps down a badly scaled parabola."""
    made = partial(torch.rand, dtype=torch.float64)
    x = band.cut(made(1, 3, HEIGHT, WIDTH, generator=seeded(1)) * 9).clone()
    slope = band.cut(made(1, 3, HEIGHT, WIDTH, generator=seeded(2)) + 0.1).clone()
    curvature = made(1, 1, -(-HEIGHT // 8), 6, generator=seeded(3)) + 0.5
    start = FrequencyPreconditioner(x, curvature, band) if preconditioned else None
    optimiser = BatchedLBFGS(
        x,
        history=4,
        preconditioner=start,
        first_step=0.1 if preconditioned else None,
        over_all=band.sum,
        unknowns=3 * HEIGHT * WIDTH,
    )
    for _ in range(9):
        optimiser.step(slope * x)
    carried = optimiser.carried(band)
    return x if carried is None else torch.cat([x.flatten(), carried.relative_B1hw.flatten()])


def of_optimiser(number: int, group: dist.ProcessGroup) -> Any:
    band = Band(HEIGHT, number, group)
    return descend(band, False), descend(band, True)


def test_the_optimiser_makes_the_steps_of_the_whole(tmp_path: Path) -> None:
    found = together(MEMBERS, of_optimiser, tmp_path)
    plain, both = descend(Band(HEIGHT), False), descend(Band(HEIGHT), True)
    torch.testing.assert_close(torch.cat([f[0] for f in found], 2), plain, rtol=1e-9, atol=1e-9)
    pixels = 3 * HEIGHT * WIDTH
    curvature = both[pixels:]
    rows = []
    for (_, seen), band in zip(found, deal(HEIGHT, MEMBERS), strict=True):
        count = 3 * len(band) * WIDTH
        rows.append(seen[:count].view(1, 3, len(band), WIDTH))
        torch.testing.assert_close(seen[count:], curvature, rtol=1e-7, atol=1e-9)
    whole = both[:pixels].view(1, 3, HEIGHT, WIDTH)
    torch.testing.assert_close(torch.cat(rows, 2), whole, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(90, 61), (301, 200), (40, 30)])
@pytest.mark.parametrize("margin", [0, 13])
def test_rows_of_a_resized_picture_are_those_of_the_whole(
    height: int, width: int, margin: int
) -> None:
    """Larger and smaller, with the margin's mirrored rows."""
    x = noise(5, 120, 83, torch.float64)
    whole = add_margin(resize(x, height, width), margin)
    bands = deal(whole.shape[2], 4 if whole.shape[2] > 4 * FEWEST_ROWS else 1)
    rows = torch.cat([canvas_rows(x, height, width, margin, band) for band in bands], 2)
    torch.testing.assert_close(rows, whole, rtol=0, atol=1e-12)
