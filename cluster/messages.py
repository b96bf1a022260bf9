"""Messages between the driver and its workers: frozen, plain, and never a pixel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from jobs.records.record import AttemptRecord, OutputRecord, TaskRecord
from jobs.spec.output import ImageOptions
from jobs.spec.pairs import InputOptions
from jobs.storage.base import StorageOptions
from jobs.tasks.task import Task

FailureKind = Literal[
    "picture",
    "poison",
    "fetch",
    "storage",
    "full",
    "weights",
    "memory",
    "worker",
    "stalled",
    "unavailable",
    "preempted",
    "recalled",
    "yielded",
    "stopped",
    "bug",
]
"""Why an attempt ended without a picture.

- picture: the pictures or the recipe cannot be used.
- poison: the picture kills the process that decodes or paints it.
- fetch: an input did not arrive.
- storage: the output, or the S3 bucket of an input, does not respond.
- full: the output has no space left.
- weights: the network cannot be loaded.
- memory: the render does not fit into the device's memory.
- worker: the worker's process died.
- stalled: the worker gave no sign of life and was killed.
- unavailable: the worker could not be reached.
- preempted: the worker's machine is being taken away.
- recalled: the attempt had not started, and another worker was idle.
- yielded: the run gave the worker back, because another run is to have its place.
- stopped: the run was asked to end.
- bug: an unexpected error.
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody has asked of a run since it began: ``stylefarm set``, ``pause`` and ``resume``."""

    paused: bool = False
    """Whether the run is to hold no worker for the time being."""
    workers: int | None = None
    """The most workers; None: what the job says."""
    priority: int | None = None
    """The run's priority, 0 to 100; None: what the job says."""
    by: str = ""
    """Who asked last, and where: ``user@host``."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """The settings that all workers of a job share."""

    output: str
    """The URL of the output's storage."""
    storage: StorageOptions
    base: str
    """The job file's folder, to which relative paths are relative."""
    inputs: InputOptions
    image: ImageOptions
    losses_every: int
    """The interval between rows of a loss log, in steps."""
    renderer: str
    """``module:Class`` of a ``cluster.worker.renderer.Renderer``."""
    threads: int | None = None
    """CPU threads per device; None leaves the libraries' defaults."""
    members: int = 1
    """The number of devices that paint each picture together, some of its rows each."""
    cuda_graphs: Literal["off", "auto"] = "off"
    """Whether NVIDIA GPUs replay steps as CUDA graphs."""
    checkpoint_seconds: float = 30.0
    """The shortest time between two checkpoints of a render, in seconds."""
    tensorboard: bool = False
    """Whether each loss log is also written as an event file."""
    grace_seconds: float = 20.0
    """The longest time that a preempted worker paints on to its next checkpoint, in seconds."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The device that a worker renders on."""

    name: str
    """The device's name, such as "NVIDIA H100 80GB HBM3" or "cpu"."""
    memory_bytes: int | None = None
    """The memory of the whole device; None where it is unknown."""
    driver: str | None = None
    """The version of the device's driver."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A request to a worker for one attempt at a task."""

    task: Task
    attempt_id: str
    """The attempt's id, unique within a run."""
    isolated: bool = False
    """Whether to paint in a process of its own, because the last worker that painted the task died."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason for which an attempt failed."""

    kind: FailureKind
    message: str
    """One sentence."""
    kept: OutputRecord | None = None
    """The last good picture, where there is one."""
    card: str | None = None
    """Key of what the gallery shows about it; None: there is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with a record that lacks only earlier attempts, or with a failure."""

    attempt_record: AttemptRecord
    record: TaskRecord | None = None
    failure: Failure | None = None
    checkpoint: bool = False
    """Whether the output has a checkpoint of the task, to be deleted when the task is committed."""
    preview: bool = False
    """Whether it may have a preview, to be deleted likewise."""
    doubts: tuple[str, ...] = ()
    """A sentence about each of the task's masks that is probably not the one that is meant."""
    pages: tuple[str, ...] = ()
    """A sentence about each of the task's pictures whose file has further pages, which are left out."""


def attempt_record(
    attempt_id: str,
    *,
    worker: str,
    host: str,
    device: DeviceInfo,
    started: float,
    error: str | None = None,
) -> AttemptRecord:
    """Return the record of an attempt that ends now.

    Args:
        attempt_id: The attempt's id.
        worker: The worker's name.
        host: The name of the worker's host.
        device: The worker's device.
        started: When the attempt started, in seconds since the epoch.
        error: The reason of a failure.
    """
    return AttemptRecord(
        id=attempt_id,
        worker=worker,
        node=host,
        device=device.name,
        memory_bytes=device.memory_bytes,
        driver=device.driver,
        started=started,
        seconds=round(time.time() - started, 3),
        error=error,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is that is painting."""

    task_id: str
    attempt_id: str
    worker: str
    """The worker's name."""
    scale: int
    """The longest side at which the picture is painted, in pixels."""
    step: int
    """Steps made, including those before a checkpoint."""
    steps: int
    """Steps of the whole render."""
    work: int
    """``Recipe.work_at(step)``."""
    total: float
    """The total loss after ``step`` steps; NaN before the first."""
    name: str = ""
    """The picture's name before ``-<task_id>``."""
    preview: bool = False
    """Whether the output has a preview of the picture as it is."""


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's answer to the pool's poll."""

    painting: tuple[Progress, ...]
    busy_seconds: float
    """Device seconds held since the worker started, over all its devices."""
    quiet_seconds: float
    """The longest time for which an active attempt has given no sign of life, in seconds."""
    preempted: bool
    """Whether the worker knows that its machine is being taken away."""
    quiet: str | None = None
    """The id of the attempt that has been quiet for so long; None without any."""
    decoding: str | None = None
    """The picture that this attempt is decoding, such as "content photos/a.jpg"; None: none."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as of its last report."""

    name: str
    node: str
    """Ray's id of the worker's node."""
    device: str
    """The device's name."""
    busy: float | None
    """The share of recent time for which the worker held its devices, 0 to 1; None until it is known."""
    busy_seconds: float
    """Device seconds held since the worker started, over all its devices."""
    calls: int
    """Calls in flight."""
    host: str = ""
    """The host name of the worker's node; empty where it is unknown."""


Asked = Literal["no", "drain", "preempt"]
"""Whether the run is asked to end: ``drain`` finishes what is painting, ``preempt`` stores checkpoints."""


SUBMISSION = "STYLEFARM_SUBMISSION"
"""The environment variable with the id under which a run was submitted."""
