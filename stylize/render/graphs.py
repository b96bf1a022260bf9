"""Replay a segment's steps on an NVIDIA GPU, without Python between its kernels.

A step of a small picture starts some hundreds of kernels, and the GPU finishes many of them before Python
has started the next. CUDA can record all of them once, as a graph, and start the graph. A recorded kernel
reads and writes where it did when it was recorded. Steps can be replayed because all that lasts from one
to the next (pictures, moments, pairs, the guard's numbers) is changed in place, and because nothing that
changes is known to the host alone; ``Optimiser.settle`` sees to the latter.

The first steps are made as usual: libraries choose algorithms and make workspaces and plans when they are
first called, and what is computed once is computed then. Nothing may be recorded that waits for the
device. torch's own kernels (``index_copy_`` and ``gather`` among them), convolutions, matrix products,
and Fourier transforms whose plan is in torch's cache do not. For the factors of cuSOLVER
(``cholesky_ex``) and the solutions of cuBLAS (``solve_triangular``) it is not certain of every version.
Where one refuses, the recording fails, nothing of it has been executed, and the steps go on as usual.

This module has been tested on the CPU, with recordings of torch's calls. It has not run on a card yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal, Protocol

import torch
from torch import Tensor

Graphs = Literal["auto", "off"]
"""Whether steps are recorded and replayed: on NVIDIA GPUs where nothing speaks against it, or never."""

WARM_UP = 3
"""The steps that are made before one is recorded."""

LEAST_REPLAYS = 5
"""The number of steps left from which a recording, which takes as long as a step or two, is worth it."""


class Recordable(Protocol):
    """A step, which a call makes. It changes in place what lasts from step to step."""

    def settle(self) -> None:
        """Make all steps but the first alike from the host's view."""

    def __call__(self) -> Tensor:
        """Make the step, and return a new tensor."""


class Recording(Protocol):
    """Work of a device that can be done again, always to the same tensors."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record some work without doing it, and return the tensor in which its result will be.

        Raises:
            RuntimeError: The work cannot be recorded.
        """

    def replay(self) -> None:
        """Do the work that was recorded."""


_ONE_AT_A_TIME = Lock()
"""In a process, as torch demands of recordings."""


class CudaGraph:
    """A recording by CUDA.

    Args:
        device: The GPU that does the work, which need not be torch's current one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record some work without doing it, and return the tensor in which its result will be."""
        with _ONE_AT_A_TIME, torch.cuda.device(self._device):
            stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            # Other threads may do with the device what they like meanwhile.
            mode = "thread_local"
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode=mode):
                return work()

    def replay(self) -> None:
        """Do the work that was recorded."""
        with torch.cuda.device(self._device):
            self._graph.replay()


class ReplayedStep:
    """A step, recorded once it has been made a few times, and then replayed.

    Args:
        step: The step, which the pictures' optimiser has not made yet.
        recording: Records the step.
        on_failure: Called with the reason, in a few words, if the step cannot be recorded.
    """

    def __init__(
        self, step: Recordable, recording: Recording, on_failure: Callable[[str], None]
    ) -> None:
        step.settle()
        self._step = step
        self._recording: Recording | None = recording
        self._on_failure = on_failure
        self._made = 0
        self._columns: Tensor | None = None

    def __call__(self) -> Tensor:
        """Make the step.

        Returns:
            What the step returns: a new tensor.
        """
        self._made += 1
        if self._made == WARM_UP + 1:
            self._record()
        if self._recording is None or self._columns is None:
            return self._step()
        self._recording.replay()
        return self._columns.clone()

    def _record(self) -> None:
        assert self._recording is not None
        try:
            self._columns = self._recording.record(self._step)
        except RuntimeError as error:
            self._recording = None
            self._on_failure((str(error).splitlines() or [type(error).__name__])[0])


@dataclass
class Replays:
    """Decides which steps of a render are replayed."""

    device: torch.device
    """The device that renders."""
    graphs: Graphs
    """Whether steps may be replayed; off after a failure."""
    concede: Callable[[str], None]
    """Called with a sentence if a step cannot be recorded."""

    def of(self, step: Recordable, steps: int) -> Callable[[], Tensor]:
        """Return a step that is replayed where that is possible and worth it, else the step itself.

        Args:
            step: The step of a segment, which the pictures' optimiser has not made yet.
            steps: The number of steps of the segment.
        """
        off = self.graphs == "off" or self.device.type != "cuda"
        if off or steps < WARM_UP + LEAST_REPLAYS:
            return step
        return ReplayedStep(step, CudaGraph(self.device), self._give_up)

    def _give_up(self, reason: str) -> None:
        self.graphs = "off"
        self.concede(f"painted without CUDA graphs: {reason}")
