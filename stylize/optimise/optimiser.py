"""``Optimiser``, the protocol of all optimisers, and the one that a recipe selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from stylize.bands.band import Band
from stylize.optimise.adam import BatchedAdam, Moments
from stylize.optimise.lbfgs import BatchedLBFGS
from stylize.optimise.local_curvature import LocalCurvature
from stylize.optimise.preconditioner import FrequencyPreconditioner
from stylize.pictures.pixel_spaces import SPACES
from stylize.recipe import Recipe

FIRST_STEP = 3.0
"""In a hastened render: the length of the first step, in grey levels, before ``RELAXATION``."""

RELAXATION = 1.4
"""In a hastened render: the factor of every step. Along L-BFGS's directions the best of five lengths was 1 to
1.5 times its step almost always, and 1.3 to 1.5 throughout are as good as the best each time. A factor of 2.2
blows up."""

Carried = Moments | LocalCurvature
"""What an optimiser can pass on: to the next segment, or to the next size."""


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

    def settle(self) -> None:
        """Make all steps but the first alike from the host's view, even where they take longer for it: a step
        that has been recorded can then be replayed."""

    def carried(self, band: Band | None = None) -> Carried | None:
        """Return what the next optimiser can start with; None: nothing.

        Args:
            band: The rows of the pictures that it moves; None: all.
        """


def make_optimiser(
    recipe: Recipe, x: Tensor, start: Carried | None = None, band: Band | None = None
) -> Optimiser:
    """Return the optimiser that a recipe selects.

    Args:
        recipe: The knobs of the render.
        x: The pictures, (B, 3, H, W), in the recipe's space, which the optimiser changes in place.
        start: What the optimiser before it passed on; None: nothing.
        band: The rows of the pictures that x are; None: all.
    """
    over_all, unknowns = None, None
    if band is not None and not band.is_whole:
        over_all = band.sum
        unknowns = x.shape[1] * band.height * x.shape[3]
    if recipe.optimizer == "lbfgs":
        dtype = torch.bfloat16 if recipe.remembers_in_bfloat16 else None
        rows = x.shape[2] if band is None else band.height
        pairs = recipe.remembered_pairs(rows * x.shape[3])
        if not recipe.assumes_curvature:
            return BatchedLBFGS(
                x, recipe.learning_rate, pairs, dtype=dtype, over_all=over_all, unknowns=unknowns
            )
        grey_level = SPACES[recipe.space].grey_level
        if not recipe.is_hastened:
            preconditioner = FrequencyPreconditioner(x, band=band)
            rate = recipe.learning_rate
            return BatchedLBFGS(
                x, rate, pairs, preconditioner, grey_level, dtype, over_all, unknowns
            )
        local = start.relative_B1hw if isinstance(start, LocalCurvature) else None
        preconditioner = FrequencyPreconditioner(x, local, band)
        # Who asks for longer steps than L-BFGS's gets those alone.
        usual = recipe.learning_rate <= 1
        rate = recipe.learning_rate * (RELAXATION if usual else 1)
        first_step = grey_level * (FIRST_STEP if usual else 1)
        return BatchedLBFGS(x, rate, pairs, preconditioner, first_step, dtype, over_all, unknowns)
    moments = start if isinstance(start, Moments) else None
    return BatchedAdam(x, recipe.learning_rate, recipe.beta2, moments)


def resized(start: Carried | None, resize: Callable[[Tensor], Tensor]) -> Carried | None:
    """Return what an optimiser passed on for pictures of another size.

    The second moments are clamped to >= 0: interpolation overshoots, and a mean of squares is never
    negative. A local curvature is of any size.
    """
    if not isinstance(start, Moments):
        return start
    return Moments(resize(start.first), resize(start.second).clamp(min=0), start.steps)
