"""What travels between the driver and its workers: frozen, plain, and never a pixel."""

from __future__ import annotations

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
    "stopped",
    "bug",
]
"""Why an attempt ended without a picture.

picture: the pictures or the recipe cannot be used; poison: it kills the process that paints it; fetch: an
input did not arrive; storage: the output (or the S3 that inputs come from) has troubles; full: the output
has no room left; weights: the network cannot be loaded; memory: it does not fit the device; worker: the
process died; stalled: it gave no sign of life and was killed; unavailable: it could not be reached;
preempted: its machine is being taken away; recalled: it had not begun, and another worker was free;
stopped: the run was asked to end; bug: an error nobody foresaw.
"""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What every worker of a job needs to know, once."""

    output: str
    storage: StorageOptions
    base: str
    """The job file's folder, which relative paths are relative to."""
    inputs: InputOptions
    image: ImageOptions
    losses_every: int
    renderer: str
    """``module:Class`` of a ``cluster.worker.renderer.Renderer``."""
    threads: int | None = None
    """CPU threads of the device; None leaves the libraries' defaults."""
    checkpoint_seconds: float = 30.0
    """At least so long between two checkpoints of a render."""
    grace_seconds: float = 20.0
    """How long a worker whose machine is taken away paints on to its next checkpoint."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a worker renders on."""

    name: str
    """Such as "NVIDIA H100 80GB HBM3" or "cpu"."""
    memory_bytes: int | None = None
    """Of the whole device; None where it is not told."""
    driver: str | None = None
    """The version of its driver."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt, as a worker is asked to make it."""

    task: Task
    attempt: str
    """Its id."""
    apart: bool = False
    """In a process of its own, because the last worker that painted it died."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, in a sentence."""

    kind: FailureKind
    message: str
    kept: OutputRecord | None = None
    """The last good picture, where there is one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: a record that only lacks earlier attempts, or a failure."""

    attempt: AttemptRecord
    record: TaskRecord | None = None
    failure: Failure | None = None
    checkpoint: bool = False
    """Whether the output has a checkpoint of it, which goes when the task is committed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one attempt stands that is painting."""

    task_id: str
    attempt: str
    worker: str
    scale: int
    step: int
    steps: int
    work: int
    """``Recipe.work_at`` this step."""
    total: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself when asked."""

    painting: tuple[Progress, ...]
    busy_seconds: float
    """For how long its devices have been held, all together, since it came up."""
    quiet_seconds: float
    """The longest for which an attempt that does something has given no sign of it."""
    leaving: bool
    """Whether it was told that its machine is taken away."""


@dataclass(frozen=True, slots=True)
class StationState:
    """What a worker was like when it was last heard of."""

    name: str
    node: str
    device: str
    busy: float | None
    """The share of its time for which it held its devices of late; None until it is known."""
    busy_seconds: float
    """For how long it has held them since it came up, all together."""
    calls: int


Asked = Literal["no", "drain", "leave"]
"""Whether somebody wants the run to end: what paints finishes, or stores a checkpoint."""


SUBMISSION = "STYLEFARM_SUBMISSION"
"""The environment variable that tells a run by which id it was submitted."""
