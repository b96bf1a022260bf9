"""What makes a step of a gradient: L-BFGS or Adam, every picture of a batch on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stylize.lbfgs import BatchedLBFGS
from stylize.recipe import Recipe


class Moments(NamedTuple):
    """What Adam has learnt: decayed means of the gradient and of its square, (B, 3, H, W), and the
    number of steps that went into them."""

    first: Tensor
    second: Tensor
    steps: Tensor


class Optimiser(Protocol):
    """Moves the pictures it was made for, (B, ...), in place. Neither method waits for the device."""

    def step(self, gradient: Tensor) -> None:
        """One step, given the gradient where the pictures are."""

    def restart(self, which_B: Tensor, slower: float) -> None:
        """Forget what was learnt of these pictures, and go on with steps ``slower`` times as long."""

    def moments(self) -> Moments | None:
        """What the optimiser of the next size can start with; None where that is nothing."""


class BatchedAdam:
    """torch's Adam, with a step length for each picture."""

    def __init__(
        self, x: Tensor, learning_rate: float, beta2: float, start: Moments | None = None
    ) -> None:
        self._x = x
        self._adam = torch.optim.Adam([x], lr=learning_rate, betas=(0.9, beta2), fused=True)
        self._pace_B = x.new_ones(len(x))
        if start is not None:
            self._adam.state[x] = {
                "step": start.steps,
                "exp_avg": start.first,
                "exp_avg_sq": start.second,
            }

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Adam's step, times the picture's pace."""
        before = self._x.clone()
        self._x.grad = gradient
        self._adam.step()
        self._x.copy_(torch.lerp(before, self._x, self._pace_B.view(-1, 1, 1, 1)))

    @torch.no_grad()
    def restart(self, which_B: Tensor, slower: float) -> None:
        """Zero the moments of these pictures; the count of steps, which is common, stays."""
        self._pace_B = torch.where(which_B, slower * self._pace_B, self._pace_B)
        keep = (~which_B).to(self._x.dtype).view(-1, 1, 1, 1)
        for name, value in self._adam.state[self._x].items():
            if name != "step":
                value.mul_(keep)

    def moments(self) -> Moments:
        """As they are after the last step."""
        state = self._adam.state[self._x]
        return Moments(state["exp_avg"], state["exp_avg_sq"], state["step"])


def make_optimiser(recipe: Recipe, x: Tensor, start: Moments | None = None) -> Optimiser:
    """The recipe's optimiser for ``x`` (B, 3, H, W), which requires grad."""
    if recipe.optimizer == "lbfgs":
        return BatchedLBFGS(x, recipe.learning_rate, recipe.history)
    return BatchedAdam(x, recipe.learning_rate, recipe.beta2, start)


def resized(moments: Moments | None, resize: Callable[[Tensor], Tensor]) -> Moments | None:
    """Moments for pictures of another size. A mean of squares cannot be negative, whatever the
    interpolation overshoots."""
    if moments is None:
        return None
    return Moments(resize(moments.first), resize(moments.second).clamp(min=0), moments.steps)
