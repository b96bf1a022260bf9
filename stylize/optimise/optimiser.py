"""``Optimiser``, the protocol of all optimisers, and the one that a recipe selects."""

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
    """Moves the pictures it was made for, (B, ...), in place. No method waits for the device."""

    def step(self, gradient: Tensor) -> None:
        """Move the pictures one step.

        Args:
            gradient: The gradient at the pictures, in their shape.
        """

    def restart(self, which_B: Tensor, slower: float) -> None:
        """Drop the memory of some pictures and shorten their steps.

        Args:
            which_B: The pictures to restart, (B,), boolean.
            slower: The factor of their step length, between 0 and 1.
        """

    def moments(self) -> Moments | None:
        """Return the state with which the next optimiser can start; None: there is none."""


def make_optimiser(recipe: Recipe, x: Tensor, start: Moments | None = None) -> Optimiser:
    """Return the optimiser that a recipe selects.

    Args:
        recipe: The knobs of the render.
        x: The pictures, (B, 3, H, W), in the recipe's space, which the optimiser changes in place.
        start: The moments with which Adam starts; None: zero. L-BFGS ignores them.
    """
    if recipe.optimizer == "lbfgs":
        if recipe.preconditioner == "none":
            return BatchedLBFGS(x, recipe.learning_rate, recipe.history)
        first_step = SPACES[recipe.space].grey_level
        return BatchedLBFGS(
            x, recipe.learning_rate, recipe.history, FrequencyPreconditioner(x), first_step
        )
    return BatchedAdam(x, recipe.learning_rate, recipe.beta2, start)


def resized(moments: Moments | None, resize: Callable[[Tensor], Tensor]) -> Moments | None:
    """Return moments resized to pictures of another size, or None for None.

    The second moments are clamped to >= 0: interpolation overshoots, and a mean of squares is never
    negative.
    """
    if moments is None:
        return None
    return Moments(resize(moments.first), resize(moments.second).clamp(min=0), moments.steps)
