"""The guard, step by step, on losses made up for it."""

from __future__ import annotations

import torch
from torch import Tensor

from stylize.optimise.guard import EXPLODED, PATIENCE, RISEN, Guard

GRADIENT = torch.ones(2, 3, 1, 1)


def pictures(*values: float) -> Tensor:
    """One picture for each value, of that value."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 1, 1).clone()


def values(x: Tensor) -> list[float]:
    return x[:, 0, 0, 0].tolist()


def test_a_loss_that_is_no_number_is_undone_at_once_and_alone() -> None:
    x = pictures(1, 2)
    guard = Guard(x)
    guard.check(x, torch.tensor([5.0, 5.0]), GRADIENT)
    x.copy_(pictures(10, 20))
    for trouble in (float("nan"), float("inf")):
        bad, gradient = guard.check(x, torch.tensor([trouble, 4.0]), 7 * GRADIENT)
        assert bad.tolist() == [True, False]
        # The first is where it was, with the gradient it had there; the second has moved on.
        assert values(x) == [1, 20]
        assert values(gradient) == [1, 7]
    assert guard.restarts_B.tolist() == [2, 0]


def test_an_exploded_loss_gets_some_steps_to_mend_itself() -> None:
    x = pictures(1, 2)
    guard = Guard(x)
    guard.check(x, torch.tensor([1.0, 1.0]), GRADIENT)
    high = torch.tensor([2 * EXPLODED, 1.0])
    for step in range(PATIENCE - 1):
        x.copy_(pictures(100 + step, 2))
        bad, _ = guard.check(x, high, GRADIENT)
        assert not bad.any()
        assert values(x)[0] == 100 + step
    bad, _ = guard.check(x, high, GRADIENT)
    assert bad.tolist() == [True, False]
    assert values(x) == [1, 2]


def test_one_that_mends_itself_is_left_alone() -> None:
    x = pictures(1, 2)
    guard = Guard(x)
    for total in (
        1.0,
        *[2 * EXPLODED] * (PATIENCE - 1),
        0.9,
        *[2 * EXPLODED] * (PATIENCE - 1),
        0.8,
    ):
        bad, _ = guard.check(x, torch.tensor([total, 1.0]), GRADIENT)
        assert not bad.any()


def test_at_the_end_a_risen_loss_gives_the_best_picture() -> None:
    x = pictures(1, 2)
    guard = Guard(x)
    guard.check(x, torch.tensor([1.0, 1.0]), GRADIENT)
    x.copy_(pictures(10, 20))
    guard.check(x, torch.tensor([3.0, 0.5]), GRADIENT)
    x.copy_(pictures(30, 40))
    replaced = guard.finish(x, torch.tensor([1.01 * RISEN, 0.5 * RISEN]))
    assert replaced.tolist() == [True, False]
    assert values(x) == [1, 40]
