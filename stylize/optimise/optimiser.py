"""What every optimiser promises, and the one that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from stylize.optimise.adam import BatchedAdam, Moments
from stylize.optimise.lbfgs import BatchedLBFGS
from stylize.optimise.preconditioner import FrequencyPreconditioner
from stylize.pictures.pixel_spaces import SPACES
from stylize.recipe import Recipe


class Optimiser(Protocol):
    """Moves the pictures it was made for, (B, ...), in place. Neither method waits for the device."""

    def step(self, gradient: Tensor) -> None:
        """One step, given the gradient where the pictures are."""

    def restart(self, which_B: Tensor, slower: float) -> None:
        """Forget what was learnt of these pictures, and go on with steps ``slower`` times as long."""

    def moments(self) -> Moments | None:
        """What the optimiser of the next size can start with; None where that is nothing."""


def make_optimiser(recipe: Recipe, x: Tensor, start: Moments | None = None) -> Optimiser:
    """The recipe's optimiser for ``x`` (B, 3, H, W), which requires grad."""
    if recipe.optimizer == "lbfgs":
        if recipe.preconditioner == "none":
            return BatchedLBFGS(x, recipe.learning_rate, recipe.history)
        first_step = SPACES[recipe.space].grey_level
        return BatchedLBFGS(
            x, recipe.learning_rate, recipe.history, FrequencyPreconditioner(x), first_step
        )
    return BatchedAdam(x, recipe.learning_rate, recipe.beta2, start)


def resized(moments: Moments | None, resize: Callable[[Tensor], Tensor]) -> Moments | None:
    """Moments for pictures of another size. A mean of squares cannot be negative, whatever the
    interpolation overshoots."""
    if moments is None:
        return None
    return Moments(resize(moments.first), resize(moments.second).clamp(min=0), moments.steps)
