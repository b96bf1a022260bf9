"""The steps themselves: one segment of a render, every step observable, none waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from stylize.losses.objective import Objective
from stylize.optimise.adam import Moments
from stylize.optimise.guard import SLOWER, Guard
from stylize.optimise.iterate_average import IterateAverage
from stylize.optimise.optimiser import make_optimiser
from stylize.recipe import Segment
from stylize.render.recorder import Recorder


def descend(
    x_B3HW: Tensor,
    objective: Objective,
    segment: Segment,
    guard: Guard,
    recorder: Recorder,
    moments: Moments | None = None,
    average: IterateAverage | None = None,
) -> Moments | None:
    """Make the steps of a segment.

    ``x_B3HW``, in the recipe's space and requiring grad, is changed in place; ``guard`` was made for it.
    The optimiser begins with ``moments``, and what it ends with is returned. ``average`` takes every
    iterate, and at the last segment of a size is what the picture becomes.

    Raises DivergedError and InterruptedRender.
    """
    recipe = objective.recipe
    lowest, highest = objective.space.limits(x_B3HW)
    optimiser = make_optimiser(recipe, x_B3HW, moments)

    for _ in range(segment.steps):
        # Where the loss is, and which way is down.
        losses = objective(x_B3HW)
        (gradient,) = torch.autograd.grad(losses.total_B.sum(), x_B3HW)
        recorder.tick(segment.size, losses, guard.restarts_B)
        # A step that blew up is undone.
        bad_B, gradient = guard.check(x_B3HW, losses.total_B, gradient)
        optimiser.restart(bad_B, SLOWER)
        # One step that way.
        optimiser.step(gradient)
        if recipe.clamp:
            with torch.no_grad():
                x_B3HW.clamp_(lowest, highest)
        if average is not None:
            average.add(x_B3HW)
        del losses, gradient  # not beside the next ones

    # The picture after the last step has a loss too: it is the one that is recorded.
    with torch.no_grad():
        if average is not None and segment.last:
            x_B3HW.copy_(average.mean())
        losses = objective(x_B3HW)
        if guard.finish(x_B3HW, losses.total_B).any():
            losses = objective(x_B3HW)
    if segment.last:
        recorder.finish(segment.size, losses, guard.restarts_B)
    else:
        recorder.flush()  # with this loss the next segment begins
    return optimiser.moments()
