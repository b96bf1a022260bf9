"""Run a render within the available memory.

The memory a render needs is predicted before it begins; a render predicted not to fit runs as many blocks of
the network in strips as it has to, from the start. A prediction can be wrong and a device shared, so after an
out-of-memory error the work since the last checkpoint is redone with less memory: with half the pictures at a
time, then with more blocks in strips. When nothing smaller is left, the render fails with MemoryLimitError.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import torch

from stylize.errors import MemoryLimitError
from stylize.losses.target_cache import SHARED
from stylize.memory import MEMORY_SHARE, available_bytes, gigabytes, predict_bytes
from stylize.network.strips import ALL_BLOCKS, LEVELS
from stylize.pictures.picture import Picture
from stylize.render.checkpoint import Checkpoint
from stylize.render.recorder import Step
from stylize.render.setup import RenderSetup

Painted = tuple[tuple[Picture, ...], tuple[Step, ...]]
"""The finished pictures and their final losses, in order."""


PaintOnce = Callable[
    [
        RenderSetup,
        int,
        Checkpoint | None,
        int,
        Callable[[Checkpoint], None],
        Callable[[str], None],
    ],
    Painted,
]
"""Paints once, given what to paint, the index of its first picture in the whole batch, the checkpoint to
resume from, the number of leading blocks in strips, and the takers of checkpoints and of sentences that say
what was given up."""


class MemoryLadder:
    """Runs a render, a rung lower after each out-of-memory error.

    Args:
        setup: The validated arguments of the render.
        painter: Paints all pictures, or some, once.
        on_checkpoint: Called with each checkpoint of the whole batch; not with those of its parts.
        members: The number of processes that share each picture.
    """

    def __init__(
        self,
        setup: RenderSetup,
        painter: PaintOnce,
        on_checkpoint: Callable[[Checkpoint], None],
        members: int = 1,
    ) -> None:
        self._setup = setup
        self._painter = painter
        self._on_checkpoint = on_checkpoint
        self._members = members
        self.concessions: list[str] = []
        """The rungs taken, and what else was given up, as sentences for the caller; usually none."""

    def run(self, at: Checkpoint | None) -> Painted:
        """Run the render from the beginning or from a checkpoint.

        Args:
            at: The checkpoint to resume from, with tensors on the device; None: start from the beginning.

        Returns:
            The pictures and their final losses, in order.

        Raises:
            MemoryLimitError: The smallest way to render does not fit into memory.
            DivergedError: The loss did not recover after repeated restarts.
            InterruptedRender: The recorder was asked to stop.
        """
        strips = at.strips if at is not None else self._needed_strips()
        if strips and self._setup.recipe.strips == "auto":
            self.concessions.append("painted in strips")
        return self._paint(slice(0, len(self._setup.inputs)), at, strips)

    def _paint(self, pictures: slice, at: Checkpoint | None, strips: int) -> Painted:
        last = at
        try:
            return self._run_once(pictures, at, strips)
        except _OutOfMemory as error:
            last, reason = error.last, error.reason
        # Outside the handler, because its traceback would keep the failed run's tensors alive.
        _free_memory(self._setup.device)
        count = pictures.stop - pictures.start
        if count > 1:
            half = pictures.start + count // 2
            self.concessions.append(f"out of memory with {count} pictures at once: halved")
            parts = [
                self._paint(
                    part,
                    None
                    if last is None
                    else last.select(
                        slice(part.start - pictures.start, part.stop - pictures.start)
                    ),
                    strips,
                )
                for part in (slice(pictures.start, half), slice(half, pictures.stop))
            ]
            return tuple(p for painted, _ in parts for p in painted), tuple(
                step for _, steps in parts for step in steps
            )
        if strips < ALL_BLOCKS and self._setup.recipe.strips != "off":
            more = next(level for level in LEVELS if level > strips)
            self.concessions.append(
                f"out of memory: painted {'more of it ' if strips else ''}in strips"
            )
            return self._paint(pictures, last and replace(last, strips=more), more)
        raise MemoryLimitError(self._limit(strips, reason))

    def _run_once(self, pictures: slice, at: Checkpoint | None, strips: int) -> Painted:
        last = at

        def on_cut(checkpoint: Checkpoint) -> None:
            nonlocal last
            last = checkpoint
            # A checkpoint of part of a batch would be mistaken for one of the whole batch.
            if count == len(self._setup.inputs):
                self._on_checkpoint(checkpoint)

        count = pictures.stop - pictures.start
        try:
            return self._painter(
                self._setup.select(pictures), pictures.start, at, strips, on_cut, self._concede
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise _OutOfMemory(last, str(error).splitlines()[0] if str(error) else "") from None

    def _concede(self, sentence: str) -> None:
        if sentence not in self.concessions:
            self.concessions.append(sentence)

    def _needed_strips(self) -> int:
        """Return the fewest blocks to run in strips that are predicted to fit, or all."""
        if self._setup.recipe.strips != "auto":
            return ALL_BLOCKS if self._setup.recipe.strips == "on" else 0
        available = available_bytes(self._setup.device)
        if available is None:
            return 0
        height, width = self._setup.shape(self._setup.recipe.size)
        for level in LEVELS:
            needed = predict_bytes(
                self._setup.recipe,
                height,
                width,
                pictures=len(self._setup.inputs),
                strips=level,
                process=False,
                regions=self._setup.inputs.mask_count,
                members=self._members,
                held=bool(self._setup.inputs.references),
            )
            if self._setup.device.type == "cpu":
                needed *= self._members
            if needed <= MEMORY_SHARE * available:
                return level
        return ALL_BLOCKS

    def _limit(self, strips: int, reason: str) -> str:
        height, width = self._setup.shape(self._setup.recipe.size)
        needed = predict_bytes(
            self._setup.recipe,
            height,
            width,
            strips=strips,
            process=False,
            regions=self._setup.inputs.mask_count,
            members=self._members,
            held=bool(self._setup.inputs.references),
        )
        available = available_bytes(self._setup.device)
        free = "" if available is None else f", and {gigabytes(available)} are free"
        how = "use a smaller size" + ("" if strips else ", or leave strips to auto")
        if self._setup.recipe.optimizer == "lbfgs":
            how += f", or a history below {self._setup.recipe.history}"
        return (
            f"out of memory: {width} x {height} px {'in strips ' if strips else ''}take about "
            f"{gigabytes(needed)}{free}; {how}" + (f" ({reason})" if reason else "")
        )


class _OutOfMemory(Exception):  # noqa: N818 - a signal between two methods
    """An allocation failed; ``last`` is the last checkpoint before it."""

    def __init__(self, last: Checkpoint | None, reason: str) -> None:
        super().__init__(reason)
        self.last = last
        self.reason = reason


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that an allocation failed.

    CUDA and MPS raise their own types. The CPU says it only in the message, and oneDNN, which runs the CPU's
    convolutions, not even there.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("not enough memory", "can't allocate memory", "out of memory", "bad_alloc")
    if not isinstance(error, RuntimeError):
        return False
    return str(error) == "could not create a primitive" or any(w in str(error) for w in words)


def _free_memory(device: torch.device) -> None:
    SHARED.clear()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
