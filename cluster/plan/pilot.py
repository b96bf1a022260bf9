"""``Pilots``: measure the time of renders on this machine, with a few steps of each kind of task.

A step's time depends on the picture's size, so each size of a recipe is measured separately: a render of one
step, which includes all preparation, then one of ``FEW`` and one of ``MORE`` steps. The difference of the
last two is the time of steps alone, without the start and end of a render, and needs no measurement within
one. A frame that holds to others is measured with what it is to keep of a neighbour.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cluster.messages import DeviceInfo
from cluster.plan.motion_pilot import MotionSample, measure_motion
from cluster.worker.renderer import Order, Painter
from jobs.errors import InputError, StorageError, UsageError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.tasks.task import Task
from stylize.errors import PictureError
from stylize.recipe import Recipe

FEW, MORE = 3, 12
"""The numbers of steps compared. L-BFGS has no history in its first step, so ``FEW`` is more than 1."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The measured times of a render of one kind."""

    step_seconds: tuple[tuple[int, float], ...]
    """(size in pixels, seconds per step) for each size of the schedule."""
    known_style: float
    """Seconds of a whole render whose style the worker has painted before."""
    new_style: float
    """Seconds of a whole render whose style is new to the worker."""
    pixels: int
    """Pixels of the content picture that was measured, height times width."""
    motion_seconds: float | None = None
    """Seconds that a core takes to find the motion of a frame and what it is to keep of others; None: it
    holds to none."""
    pair_bytes: int | None = None
    """Bytes of the motion between two frames; None: it holds to none."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """The measurements of a pilot."""

    device: DeviceInfo
    """The device that was measured."""
    startup_seconds: float
    """Seconds until a worker has loaded its network and made its first step."""
    samples: Mapping[object, Sample]
    """The samples, by the keys of the kinds."""

    @property
    def pair_bytes(self) -> int | None:
        """Bytes of the motion between two frames, of the largest that was measured; None: of none."""
        return max((s.pair_bytes for s in self.samples.values() if s.pair_bytes), default=None)


class _NoResumption:
    """A resumption for renders that are not resumed: no checkpoint is read or kept."""

    checkpoint: bytes | None = None

    def begin(self, step: int) -> None:
        pass

    def offer(self, make: Any) -> None:
        pass


Kinds = Iterable[tuple[object, Iterable[Task]]]
"""(key, tasks) for each kind of task that costs the same."""


class Pilots:
    """Measures the renders of a job, with one painter for all kinds of tasks.

    Args:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._painter: Painter | None = None
        self._startup = 0.0
        self._samples: dict[object, Sample] = {}

    def __call__(self, kinds: Kinds) -> Pilot:
        """Measure each kind that was not measured before, with its first task whose pictures can be read.

        Args:
            kinds: The kinds, at least one in total over all calls.

        Returns:
            The device, the start-up time, and the samples of all kinds measured so far.

        Raises:
            UsageError: A kind has no task whose pictures can be read.
            WeightsError: The network cannot be loaded.
            MemoryLimitError: A render does not fit into memory.
        """
        for kind, tasks in kinds:
            if kind not in self._samples:
                painter, order, motion = self._ready(tasks)
                self._samples[kind] = _measure(painter, order, motion)
        assert self._painter is not None  # a plan without anything left to render asks for no pilot
        return Pilot(self._painter.device, self._startup, self._samples)

    def _ready(self, tasks: Iterable[Task]) -> tuple[Painter, Order, MotionSample | None]:
        """Return a painter, warm after its first step, and an order of the kind."""
        if self._painter is not None:
            return self._painter, *_first_order(self._job, self._painter, tasks)
        began = time.perf_counter()
        threads = self._job.spec.workers.threads
        painter = self._painter = Painter(
            str(self._job.base), None if threads == "auto" else threads
        )
        self._startup = time.perf_counter() - began
        order, motion = _first_order(self._job, painter, tasks)
        began = time.perf_counter()
        _paint(painter, order, order.recipe.schedule()[0][0], 1)
        self._startup += time.perf_counter() - began
        return painter, order, motion


def _measure(painter: Painter, order: Order, motion: MotionSample | None) -> Sample:
    recipe = order.recipe
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
        motion_seconds=None if motion is None else motion.seconds,
        pair_bytes=None if motion is None else motion.pair_bytes,
    )


def _paint(painter: Painter, order: Order, size: int, steps: int) -> float:
    """Return the seconds of a render of ``steps`` steps at one size."""
    recipe: Recipe = order.recipe.model_copy(
        update={"size": size, "start_size": None, "steps": steps, "segment": None}
    )
    hold = None if order.hold is None else replace(order.hold, recipe=recipe)
    made = replace(order, task=replace(order.task, recipe=recipe), hold=hold)
    began = time.perf_counter()
    painter.paint([made], lambda: False)
    return time.perf_counter() - began


def _first_order(
    job: Job, painter: Painter, tasks: Iterable[Task]
) -> tuple[Order, MotionSample | None]:
    inputs = Inputs(job.base, job.spec.storage, allow_private=job.spec.inputs.allow_private)

    def picture(uri: str) -> Any:
        return painter.decode(inputs.read(uri).data, display(uri), job.spec.image)

    def mask(uri: str | None) -> Any:
        if uri is None:
            return None
        return painter.decode_mask(inputs.read(uri).data, display(uri))[0]

    problem: Exception | None = None
    for task in tasks:
        try:
            styles = [(picture(part.uri), part.share, mask(part.mask)) for part in task.styles]
            init = None if task.init is None else picture(task.init)
            content = picture(task.content)
            motion = measure_motion(painter, task, content, picture)
            order = Order(
                task=task,
                content=content,
                styles=styles,
                init=init,
                observe=lambda rows: None,
                resumption=_NoResumption(),
                hold=None if motion is None else motion.hold,
            )
            return order, motion
        except (InputError, PictureError, StorageError) as error:
            problem = problem or error
    raise UsageError(f"the pilot has nothing to render: {problem}")
