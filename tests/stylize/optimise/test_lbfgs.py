"""Batched L-BFGS takes torch's steps, one picture at a time, and keeps the pictures apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stylize import Recipe
from stylize.losses.objective import Objective
from stylize.optimise import pair_ring
from stylize.optimise.lbfgs import BatchedLBFGS, Preconditioner
from stylize.optimise.pair_ring import PairRing
from stylize.optimise.preconditioner import FrequencyPreconditioner
from stylize.pictures.pixel_spaces import IMAGENET
from tests.stylize.support import noise, seeded, tiny_network

Function = Callable[[Tensor], Tensor]
"""(B, ...) -> (B,), each number from its own row."""


def ours(
    function: Function,
    start: Tensor,
    steps: int,
    rate: float,
    history: int,
    preconditioner: Preconditioner | None = None,
) -> list[Tensor]:
    """Every iterate, (B, ...)."""
    x = start.clone().requires_grad_()
    optimizer = BatchedLBFGS(x, rate, history, preconditioner)
    iterates = []
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(function(x).sum(), x)
        optimizer.step(gradient)
        iterates.append(x.detach().clone())
    return iterates


def torchs(
    function: Function, start: Tensor, steps: int, rate: float, history: int
) -> list[Tensor]:
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], rate, max_iter=1, tolerance_grad=-1, tolerance_change=-1, history_size=history
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = function(x).sum()
        loss.backward()
        return loss

    iterates = []
    for _ in range(steps):
        optimizer.step(closure)
        iterates.append(x.detach().clone())
    return iterates


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def quadratic(x: Tensor) -> Tensor:
    """A bowl 1,000 times steeper one way than another."""
    scale = torch.logspace(0, 3, x[0].numel(), dtype=x.dtype)
    return 0.5 * (scale * (x.flatten(1) - 1) ** 2).sum(1)


def rosenbrock(x: Tensor) -> Tensor:
    """The bent valley, in several dimensions; softened, as there is no line search."""
    x = x.flatten(1)
    return (10 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def wells(x: Tensor) -> Tensor:
    """Many minima and maxima: steps often see a negative curvature."""
    x = x.flatten(1)
    return (torch.cos(3 * x) + 0.05 * x**2 + 0.1 * torch.sin(x * x.roll(1, 1))).sum(1)


def painting(x: Tensor) -> Tensor:
    objective = Objective(
        tiny_network(IMAGENET, dtype=torch.float64),
        Recipe(),
        noise(1, 32, 32, torch.float64).expand(len(x), -1, -1, -1),
        [[(noise(2, 32, 32, torch.float64), 1.0)]] * len(x),
    )
    return objective(x).total_B


CASES: dict[str, tuple[Function, tuple[int, ...], float]] = {
    "quadratic": (quadratic, (12,), 1.0),
    "rosenbrock": (rosenbrock, (6,), 0.3),
    "painting": (painting, (3, 32, 32), 1.0),
}


@pytest.mark.parametrize("history", [3, 100])
@pytest.mark.parametrize("name", CASES)
def test_the_iterates_are_torchs(name: str, history: int) -> None:
    function, shape, rate = CASES[name]
    start = random(1, *shape) * (10 if name == "painting" else 0.5)
    found = ours(function, start, 40, rate, history)
    expected = torchs(function, start, 40, rate, history)
    assert function(found[-1]).item() < function(start).item()
    for step, (x, y) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-8, msg=lambda m, s=step: f"{s}: {m}")


def test_the_iterates_are_torchs_where_the_curvature_is_negative() -> None:
    """A step of no use is not remembered, nor does it push a useful one out of the memory.

    From this start the third step is the only one of no use, and the memory is full before it counts.
    """
    start = random(1, 4, seed=2) * 2
    found, expected = (run(wells, start, 12, 0.5, 3) for run in (ours, torchs))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected))


@pytest.mark.parametrize("history", [3, 100])
def test_a_preconditioner_is_a_change_of_variables(history: int) -> None:
    """With P = A A^T the iterates are those of torch for the unknowns z, where x = A z."""
    a = torch.eye(6, dtype=torch.float64) + 0.3 * random(6, 6, seed=3)

    def small(x: Tensor) -> Tensor:
        return 1e-3 * rosenbrock(x)  # so that no first step is shortened

    start = random(1, 6, seed=1) * 0.3
    found = ours(small, start @ a.T, 30, 0.3, history, lambda v: v @ (a @ a.T).T)
    expected = torchs(lambda z: small(z @ a.T), start, 30, 0.3, history)
    for x, z in zip(found, expected, strict=True):
        torch.testing.assert_close(x, z @ a.T, rtol=1e-6, atol=1e-8)


def test_a_lagging_picture_keeps_its_pairs_in_order() -> None:
    """One that was restarted has an emptier ring than its neighbour, and begins it elsewhere."""
    start = torch.cat([random(1, 6, seed=i) * 0.5 for i in range(2)])
    x, alone = start.clone(), start[:1].clone()
    together, single = BatchedLBFGS(x, 0.3, 4), BatchedLBFGS(alone, 0.3, 4)

    def slope(at: Tensor) -> Tensor:
        at = at.detach().requires_grad_()
        return torch.autograd.grad(rosenbrock(at).sum(), at)[0]

    for step in range(25):
        if step in (2, 11):
            together.restart(torch.tensor([True, False]), 0.5)
            single.restart(torch.tensor([True]), 0.5)
        if step == 11:  # as if its ring had never been used
            single = BatchedLBFGS(alone, 0.3 / 4, 4)
        together.step(slope(x))
        single.step(slope(alone))
        torch.testing.assert_close(x[:1], alone)


@pytest.mark.parametrize("name", [*CASES, "wells"])
def test_a_batch_takes_the_steps_that_each_takes_alone(name: str) -> None:
    function, shape, rate = CASES.get(name, (wells, (5,), 0.5))
    start = torch.cat([random(1, *shape, seed=i) * (0.2 + 0.3 * i) for i in range(3)])
    together = ours(function, start, 30, rate, 10)
    for i in range(3):
        alone = ours(function, start[i : i + 1], 30, rate, 10)
        for x, y in zip(together, alone, strict=True):
            torch.testing.assert_close(x[i : i + 1], y, rtol=1e-6, atol=1e-8)


def test_a_quadratic_is_solved() -> None:
    (*_, last) = ours(quadratic, random(4, 8), 120, 1.0, 100)
    torch.testing.assert_close(last, torch.ones_like(last), rtol=0, atol=1e-5)


def test_where_there_is_no_slope_nothing_moves() -> None:
    start = torch.ones(2, 3)
    for x in ours(lambda x: quadratic(x) * torch.tensor([0.0, 1.0]), start, 5, 1.0, 10):
        assert torch.equal(x[0], start[0])
        assert x.isfinite().all()


def test_reaching_the_minimum_exactly_stays_there() -> None:
    last = ours(lambda x: (x**2 / 2).sum(1), torch.tensor([[0.5, 0.25]]), 8, 1.0, 10)[-1]
    assert torch.equal(last, torch.zeros(1, 2))


@pytest.mark.parametrize("spoilt", ["negative curvature", "no slope", "not a number"])
def test_a_picture_in_trouble_does_not_disturb_its_neighbour(spoilt: str) -> None:
    def function(x: Tensor) -> Tensor:
        trouble = {
            "negative curvature": -(x[:1] ** 2).sum(1),
            "no slope": 0 * x[:1].sum(1),
            "not a number": (x[:1] * torch.nan).sum(1),
        }[spoilt]
        return torch.cat([trouble, rosenbrock(x[1:])])

    start = random(2, 4) * 0.5
    together = ours(function, start, 30, 0.3, 5)
    alone = ours(rosenbrock, start[1:], 30, 0.3, 5)
    for x, y in zip(together, alone, strict=True):
        torch.testing.assert_close(x[1:], y)


def test_the_first_step_is_no_longer_than_the_learning_rate() -> None:
    start = torch.full((1, 100), 50.0, dtype=torch.float64)
    (first,) = ours(quadratic, start, 1, 0.5, 10)
    assert (first - start).abs().sum().item() == pytest.approx(0.5)


@pytest.mark.parametrize("steepness", [1e-6, 1.0, 1e6])
def test_a_first_step_is_as_long_as_asked_for(steepness: float) -> None:
    start = random(2, 3, 8, 8)
    x = start.clone()
    BatchedLBFGS(x, 0.5, 10, first_step=3.0).step(random(2, 3, 8, 8, seed=2) * steepness)
    moved = (x - start).square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(moved, torch.full_like(moved, 1.5))


def test_without_any_curvature_to_go_by_every_step_is_a_first_one() -> None:
    """Where the function is a hill, and each picture on its own."""
    start = torch.cat([random(1, 6), random(1, 6, seed=3) * 0.5])
    x = start.clone()
    optimiser = BatchedLBFGS(x, 1.0, 5, first_step=0.01)
    for _ in range(2):
        before = x.clone()
        optimiser.step(torch.cat([-before[:1], 2 * before[1:]]))
        moved = (x - before).square().mean(1).sqrt()
        assert moved[0].item() == pytest.approx(0.01)
    # One step has told the other all of a round valley.
    torch.testing.assert_close(x[1], torch.zeros(6, dtype=torch.float64))


def test_pictures_of_any_memory_layout_step_alike() -> None:
    """Networks on a GPU want channels last."""
    start = random(2, 3, 8, 8)
    last = start.to(memory_format=torch.channels_last)
    plain, strided = ours(quadratic, start, 10, 1.0, 5), ours(quadratic, last, 10, 1.0, 5)
    for x, y in zip(plain, strided, strict=True):
        torch.testing.assert_close(x, y)


def test_pairs_in_half_precision_take_nearly_the_same_steps() -> None:
    start = random(2, 3, 32, 32).float() * 10
    runs = {}
    for dtype in (None, torch.bfloat16):
        x = start.clone().requires_grad_()
        optimiser = BatchedLBFGS(x, 1.0, 5, dtype=dtype)
        for _ in range(40):
            losses = quadratic(x)
            (gradient,) = torch.autograd.grad(losses.sum(), x)
            optimiser.step(gradient)
        runs[dtype] = quadratic(x).detach()
    assert (runs[torch.bfloat16] < 2 * runs[None]).all()
    assert (runs[None] < 0.01 * quadratic(start)).all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_half_precision_keeps_values_of_any_magnitude(scale: float) -> None:
    """Gradients of a mean over many positions are tiny."""
    x = random(1, 3, 16, 16).float()
    optimiser = BatchedLBFGS(x, 1.0, 4, first_step=1.0, dtype=torch.bfloat16)
    before = x.square().mean()
    for _ in range(6):
        optimiser.step(scale * x)
    assert x.square().mean() < 1e-6 * before


@given(
    batch=st.integers(1, 3),
    slots=st.integers(1, 5),
    unknowns=st.integers(1, 40),
    columns=st.integers(1, 41),
    seed=st.integers(0, 9),
)
def test_half_precision_is_computed_block_by_block(
    batch: int, slots: int, unknowns: int, columns: int, seed: int
) -> None:
    """In blocks of any width, of which the last may be narrower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_ring, "BLOCKS", unknowns)
        patch.setattr(pair_ring, "LEAST_COLUMNS", columns)
        like = random(batch, seed=seed).float()
        ring = PairRing(like, slots, unknowns, torch.bfloat16)
        for slot in range(slots):
            ring.put(
                random(batch, unknowns, seed=slot).to(torch.bfloat16),
                torch.full((batch,), slot),
                torch.ones(batch, 1, dtype=torch.bool),
            )
        kept = ring.kept_BMD.double()
        vectors = [random(batch, unknowns, seed=seed + k).float() for k in range(2)]
        found = ring.products(vectors, slots)
        torch.testing.assert_close(
            found, kept @ torch.stack(vectors, 2).double(), rtol=1e-4, atol=1e-4
        )
        weights = random(batch, 1, slots, seed=seed).float()
        expected = (weights.double() @ kept)[:, 0].float()
        minus = ring.add_combined(weights, torch.zeros_like(expected), factor=-1)
        torch.testing.assert_close(minus, -expected, rtol=1e-4, atol=1e-4)
        to = vectors[0].clone()
        assert ring.add_combined(weights, to) is to
        torch.testing.assert_close(to, vectors[0] + expected, rtol=1e-4, atol=1e-4)


def test_a_step_makes_few_pictures() -> None:
    """Every tensor as large as the pictures counts at the peak of a render."""
    x = random(1, 3, 1216, 1216).float()  # so large that colours are transformed one by one
    gradients = [2 * x, 3 * x, 4 * x]
    optimiser = BatchedLBFGS(x, 1.0, 2, FrequencyPreconditioner(x), 1.0, torch.bfloat16)
    with torch.profiler.profile(profile_memory=True) as profile:
        for gradient in gradients:
            optimiser.step(gradient)
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    # Beside the pictures and the gradients; of these, the last step is one.
    assert peak < 4.7 * x.numel() * x.element_size()
