"""What renders take on this machine, found out with a few steps of each kind.

A step's time depends on the size it is made at, so each size of a recipe is tried for itself: one step with
everything that comes before it, then a few steps and some more. The difference of the last two is what steps
take, without what begins and ends a render, and needs no look at the device while it works.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cluster.messages import DeviceInfo
from cluster.worker.renderer import Order, Painter
from jobs.errors import InputError, StorageError, UsageError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.tasks.task import Task
from stylize.errors import PictureError
from stylize.recipe import Recipe

FEW, MORE = 3, 12
"""Steps that are compared. L-BFGS's first is made without a memory, so the fewer of them are not too few."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a render of one kind takes."""

    step_seconds: tuple[tuple[int, float], ...]
    """Of each size, the seconds of a step."""
    known_style: float
    """Seconds of a whole render whose style was looked at before."""
    new_style: float
    """The same with a style that was not."""
    pixels: int
    """Of the picture that was tried."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """What was found out."""

    device: DeviceInfo
    startup_seconds: float
    """Until a worker has loaded its network."""
    samples: Mapping[object, Sample]
    """By whatever the kinds were named."""


class _NoResumption:
    """Nobody goes on from a pilot."""

    checkpoint: bytes | None = None

    def begin(self, step: int) -> None:
        pass

    def offer(self, make: Any) -> None:
        pass


Kinds = Iterable[tuple[object, Iterable[Task]]]


class Pilots:
    """Makes pilots of a job, with one painter for all of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._painter: Painter | None = None
        self._startup = 0.0
        self._samples: dict[object, Sample] = {}

    def __call__(self, kinds: Kinds) -> Pilot:
        """Try each kind that was not tried before with the first of its tasks whose pictures can be read.

        Raises UsageError when there is none, WeightsError and MemoryLimitError.
        """
        for kind, tasks in kinds:
            if kind not in self._samples:
                painter, order = self._ready(tasks)
                self._samples[kind] = _measure(painter, order)
        assert self._painter is not None  # there is something left to render, or nobody asks
        return Pilot(self._painter.device, self._startup, self._samples)

    def _ready(self, tasks: Iterable[Task]) -> tuple[Painter, Order]:
        """A painter that has made its first step, which comes after much that is done once."""
        if self._painter is not None:
            return self._painter, _first_order(self._job, self._painter, tasks)
        began = time.perf_counter()
        threads = self._job.spec.workers.threads
        painter = self._painter = Painter(
            str(self._job.base), None if threads == "auto" else threads
        )
        self._startup = time.perf_counter() - began
        order = _first_order(self._job, painter, tasks)
        began = time.perf_counter()
        _paint(painter, order, order.task.recipe.schedule()[0][0], 1)
        self._startup += time.perf_counter() - began
        return painter, order


def _measure(painter: Painter, order: Order) -> Sample:
    recipe = order.task.recipe
    step_seconds: list[tuple[int, float]] = []
    known = new = 0.0
    for size, steps in recipe.schedule():
        first = _paint(painter, order, size, 1)
        few, more = (_paint(painter, order, size, count) for count in (FEW, MORE))
        each = max(0.0, (more - few) / (MORE - FEW))
        around = max(0.0, few - FEW * each)
        step_seconds.append((size, each))
        known += steps * each + around
        new += steps * each + max(around, first - each)
    _, _, height, width = order.content.rgb.shape
    return Sample(
        step_seconds=tuple(step_seconds),
        known_style=known,
        new_style=new,
        pixels=height * width,
    )


def _paint(painter: Painter, order: Order, size: int, steps: int) -> float:
    """Seconds of so many steps at one size."""
    recipe: Recipe = order.task.recipe.model_copy(
        update={"size": size, "start_size": None, "steps": steps, "segment": None}
    )
    began = time.perf_counter()
    painter.paint([replace(order, task=replace(order.task, recipe=recipe))], lambda: False)
    return time.perf_counter() - began


def _first_order(job: Job, painter: Painter, tasks: Iterable[Task]) -> Order:
    inputs = Inputs(job.base, job.spec.storage, allow_private=job.spec.inputs.allow_private)

    def picture(uri: str) -> Any:
        return painter.decode(inputs.read(uri).data, display(uri))

    problem: Exception | None = None
    for task in tasks:
        try:
            styles = [
                (picture(part.uri), part.share, None if part.mask is None else picture(part.mask))
                for part in task.styles
            ]
            init = None if task.init is None else picture(task.init)
            return Order(
                task=task,
                content=picture(task.content),
                styles=styles,
                init=init,
                observe=lambda rows: None,
                resumption=_NoResumption(),
            )
        except (InputError, PictureError, StorageError) as error:
            problem = problem or error
    raise UsageError(f"there is nothing to try the pilot with: {problem}")
