"""The step loop of one segment. Every step is observable, and none waits for the device.

Shape suffixes: B pictures, H height, W width.
"""

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

    Args:
        x_B3HW: The pictures on their canvas, (B, 3, H, W), in the recipe's space and requiring grad, which
            are changed in place.
        objective: The loss of the pictures.
        segment: The segment, of at least one step.
        guard: A guard made for ``x_B3HW``.
        recorder: Counts the steps and delivers their losses.
        moments: The moments with which Adam starts; None: zero.
        average: Collects every iterate. In the last segment of a size the pictures become the average.

    Returns:
        The moments after the last step; None for L-BFGS.

    Raises:
        DivergedError: The loss did not recover after repeated restarts.
        InterruptedRender: The recorder was asked to stop.
    """
    recipe = objective.recipe
    lowest, highest = objective.space.limits(x_B3HW)
    optimiser = make_optimiser(recipe, x_B3HW, moments)

    for _ in range(segment.steps):
        # The losses at the pictures, and their gradient.
        losses = objective(x_B3HW)
        (gradient,) = torch.autograd.grad(losses.total_B.sum(), x_B3HW)
        recorder.tick(segment.size, losses, guard.restarts_B)
        # The guard undoes a step that blew up.
        bad_B, gradient = guard.check(x_B3HW, losses.total_B, gradient)
        optimiser.restart(bad_B, SLOWER)
        # One step of the optimiser.
        optimiser.step(gradient)
        if recipe.clamp:
            with torch.no_grad():
                x_B3HW.clamp_(lowest, highest)
        if average is not None:
            average.add(x_B3HW)
        del losses, gradient  # freed before the next ones are computed

    # The picture after the last step has a loss too, and that one is recorded.
    with torch.no_grad():
        if average is not None and segment.last:
            x_B3HW.copy_(average.mean())
        losses = objective(x_B3HW)
        if guard.finish(x_B3HW, losses.total_B).any():
            losses = objective(x_B3HW)
    if segment.last:
        recorder.finish(segment.size, losses, guard.restarts_B)
    else:
        recorder.flush()  # the next segment begins by recording this loss
    return optimiser.moments()
