"""Carry a render's losses from the device to its observer, in batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylize.errors import DivergedError, InterruptedRender
from stylize.optimise.guard import MOST_RESTARTS
from stylize.pictures.picture import Picture


@dataclass(frozen=True, slots=True)
class Step:
    """The loss of one picture after ``step`` steps (0: before the first) at one size.

    All terms are weighted; ``total`` is content + style + tv. ``step`` counts across sizes: the last step
    of a size and the first of the next have the same number, measured at two scales.
    """

    picture: int
    """The picture's index in the render, from 0."""
    scale: int
    """The longest side at which the picture is painted, in pixels."""
    step: int
    """The number of steps made before this loss, counted over all sizes."""
    total: float
    """The weighted sum of all terms."""
    content: float
    """The weighted content loss."""
    style: float
    """The weighted style loss, the sum of ``style_layers``."""
    style_layers: tuple[float, ...]
    """The weighted style loss of each style layer, in the order of ``recipe.style_layers``."""
    tv: float
    """The weighted total variation."""
    seconds: float
    """Seconds from the start of the render to the moment when the step was submitted to the device."""


Observer = Callable[[Sequence[Step]], None]
"""A function called with every step in order, in batches, at least about every ``observe_seconds``."""

OnPreview = Callable[[range, Callable[[], Sequence[Picture]]], None]
"""A function called after every step with the indices of the pictures in the whole batch, and a function that
returns the pictures as they are so far, small. It calls that one before it returns, or not at all."""


@dataclass
class Recorder:
    """Counts steps, keeps their losses on the device, and delivers them in batches.

    Reading a number makes the host wait for the GPU; this happens once per batch of steps. The same read
    detects a render that the guard could not save.
    """

    began: float
    """The ``time.perf_counter`` of the start of the render, less the time before a checkpoint, in seconds."""
    observer: Observer | None
    """The function that gets the losses of every step; None: nobody does."""
    observe_seconds: float
    """Time between two batches, in seconds."""
    should_stop: Callable[[], bool] | None
    """A function, called before each step, that returns True to interrupt the render; None: no function."""
    step: int = 0
    """The number of steps made, including those before a checkpoint."""
    first_picture: int = 0
    """The index in the whole batch of the first picture recorded here."""
    agree: Callable[[int], int] | None = None
    """A function that returns the first member's number on every member of a split render, so that they stop
    and read their losses at the same step; None: there are no others."""
    last: list[Step] = field(default_factory=list)
    """The most recent losses delivered, one per picture."""
    _rows: list[tuple[int, int, float, Tensor]] = field(default_factory=list)
    _flushed: float = field(default_factory=time.perf_counter)

    MOST_ROWS = 256  # bounds what a render of a million steps keeps on the device

    def tick(self, size: int, columns: Tensor) -> None:
        """Record the loss before a step that has been submitted, and count the step.

        Args:
            size: The longest side at which the pictures are painted, in pixels.
            columns: The losses of the B pictures and the guard's restarts of each before the step, as
                ``Losses.columns`` returns them, (B, 5 + L). The tensor is kept.

        Raises:
            InterruptedRender: ``should_stop`` returned True.
            DivergedError: A picture was restarted too often.
        """
        stop = self.should_stop is not None and self.should_stop()
        due = time.perf_counter() - self._flushed >= self.observe_seconds
        if self.agree is not None:
            decided = self.agree(2 * stop + due)
            stop, due = bool(decided & 2), bool(decided & 1)
        if stop:
            raise InterruptedRender("the render was asked to stop")
        self._record(size, columns)
        if due or len(self._rows) >= self.MOST_ROWS:
            self.flush()
        self.step += 1

    def finish(self, size: int, columns: Tensor) -> None:
        """Record the loss after the last step of a size, and deliver it.

        Args:
            size: The longest side at which the pictures are painted, in pixels.
            columns: The losses of the B pictures and the guard's restarts of each, as for ``tick``.

        Raises:
            DivergedError: A picture was restarted too often.
        """
        self._record(size, columns)
        self.flush()

    def _record(self, size: int, columns: Tensor) -> None:
        now = time.perf_counter()
        self._rows.append((size, self.step, now - self.began, columns))

    def flush(self) -> None:
        """Deliver the recorded steps to the observer. Waits for the device.

        Raises:
            DivergedError: A picture was restarted too often.
        """
        if not self._rows:
            return
        numbers = torch.stack([columns for *_, columns in self._rows]).cpu().tolist()
        batch = [
            Step(
                picture=self.first_picture + picture,
                scale=size,
                step=step,
                total=total,
                content=content,
                style=style,
                style_layers=tuple(layers),
                tv=tv,
                seconds=seconds,
            )
            for (size, step, seconds, _), row in zip(self._rows, numbers, strict=True)
            for picture, (total, content, style, *layers, tv, _) in enumerate(row)
        ]
        self.last = batch[-len(numbers[-1]) :]
        self._rows.clear()
        self._flushed = time.perf_counter()
        if self.observer is not None:
            self.observer(batch)
        if max(row[-1] for row in numbers[-1]) >= MOST_RESTARTS:
            worst = max(batch, key=lambda s: s.total if math.isfinite(s.total) else math.inf)
            raise DivergedError(
                f"the loss became {worst.total:.3g} at step {worst.step} (size {worst.scale}) and did "
                f"not recover in {MOST_RESTARTS} restarts; a smaller learning_rate or smaller weights "
                "may keep it down"
            )
