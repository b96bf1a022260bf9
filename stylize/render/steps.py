"""The step loop of one segment. Every step is observable, and none waits for the device.

Shape suffixes: B pictures, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stylize.losses.objective import Objective
from stylize.optimise.guard import SLOWER, Guard
from stylize.optimise.iterate_average import IterateAverage
from stylize.optimise.optimiser import Carried, Optimiser, make_optimiser
from stylize.recipe import Segment
from stylize.render.graphs import Replays
from stylize.render.recorder import Recorder


def descend(
    x_B3HW: Tensor,
    objective: Objective,
    segment: Segment,
    guard: Guard,
    recorder: Recorder,
    start: Carried | None = None,
    average: IterateAverage | None = None,
    replays: Replays | None = None,
    look: Callable[[Tensor], None] | None = None,
) -> Carried | None:
    """Make the steps of a segment.

    Args:
        x_B3HW: The pictures on their canvas, (B, 3, H, W), in the recipe's space, which are changed in place;
            where they are split, the objective's band of them.
        objective: The loss of the pictures.
        segment: The segment, of at least one step.
        guard: A guard made for ``x_B3HW``.
        recorder: Counts the steps and delivers their losses.
        start: What the optimiser of the segment before passed on; None: nothing.
        average: Collects every iterate. In the last segment of a size the pictures become the average.
        replays: Decides whether the steps are replayed; None: they are not.
        look: Called with the pictures on their canvas after each step, which it leaves as they are; None:
            nobody looks.

    Returns:
        What the optimiser passes on; None: nothing.

    Raises:
        DivergedError: The loss did not recover after repeated restarts.
        InterruptedRender: The recorder was asked to stop.
    """
    band = objective.band
    optimiser = make_optimiser(objective.recipe, x_B3HW, start, band)
    stepper = Stepper(x_B3HW, objective, guard, optimiser, average)
    make_step = stepper if replays is None else replays.of(stepper, segment.steps)
    for _ in range(segment.steps):
        recorder.tick(segment.size, make_step())
        if look is not None:
            look(x_B3HW)
    del make_step, stepper  # and with them the memory of a recording

    # The picture after the last step has a loss too, and that one is recorded.
    with torch.no_grad():
        if average is not None and segment.last:
            x_B3HW.copy_(average.mean())
        losses = objective(x_B3HW)
        if guard.finish(x_B3HW, band.agreed(losses.total_B)).any():
            losses = objective(x_B3HW)
    if segment.last:
        recorder.finish(segment.size, losses.columns(guard.restarts_B))
    else:
        recorder.flush()  # the next segment begins by recording this loss
    return optimiser.carried(band)


class Stepper:
    """Makes the steps of a segment, one with each call, from the pictures to the next pictures.

    A step decides nothing on the host, and changes in place what lasts from step to step. The host knows of
    two changes alone: whether there has been a first step, and how many slots of L-BFGS's memory are in use
    (``BatchedLBFGS.used``), until all are. torch's compiler takes any later step whole, and once.

    Args:
        x_B3HW: The pictures on their canvas, (B, 3, H, W), in the recipe's space, which are changed in place.
        objective: The loss of the pictures.
        guard: A guard made for ``x_B3HW``.
        optimiser: An optimiser made for ``x_B3HW``.
        average: Collects the picture after each step; None: there is no average.
    """

    def __init__(
        self,
        x_B3HW: Tensor,
        objective: Objective,
        guard: Guard,
        optimiser: Optimiser,
        average: IterateAverage | None = None,
    ) -> None:
        self._x = x_B3HW
        self._objective = objective
        self._guard = guard
        self._optimiser = optimiser
        self._average = average
        self._limits = objective.space.limits(x_B3HW) if objective.recipe.clamp else None

    def settle(self) -> None:
        """Make all steps but the first alike from the host's view."""
        self._optimiser.settle()

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Make the step.

        Returns:
            The losses before the step, and the guard's restarts, as ``Recorder.tick`` takes them: a new
            tensor.
        """
        # The losses at the pictures, and their gradient.
        losses, gradient = self._objective.with_gradient(self._x)
        columns = losses.columns(self._guard.restarts_B)
        # The guard undoes a step that blew up.
        total_B = self._objective.band.agreed(losses.total_B)
        bad_B, gradient = self._guard.check(self._x, total_B, gradient)
        self._optimiser.restart(bad_B, SLOWER)
        # One step of the optimiser.
        self._optimiser.step(gradient)
        if self._limits is not None:
            self._x.clamp_(*self._limits)
        if self._average is not None:
            self._average.add(self._x)
        return columns
