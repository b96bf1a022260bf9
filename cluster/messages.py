"""What travels between the driver and its workers: frozen, plain, and never a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.spec import ImageOptions, InputOptions
from jobs.storage import StorageOptions
from jobs.tasks import AttemptRecord, OutputRecord, Task, TaskRecord

FailureKind = Literal[
    "picture", "fetch", "storage", "full", "weights", "memory", "worker", "bug", "stopped"
]
"""Why an attempt ended without a picture.

picture: the pictures or the recipe cannot be used; fetch: an input did not arrive; storage: the output
does not take it; full: it has no room left; weights: the network cannot be loaded; memory: it does not fit
the device; worker: the process died; bug: an error nobody foresaw; stopped: the run was asked to end.
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
    """``module:Class`` of a ``cluster.renderer.Renderer``."""
    threads: int | None = None
    """CPU threads of the device; None leaves the libraries' defaults."""
    checkpoint_seconds: float = 30.0
    """At least so long between two checkpoints of a render."""


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

    task: Task
    attempt: AttemptRecord
    record: TaskRecord | None = None
    failure: Failure | None = None
    checkpoint: bool = False
    """Whether the output has a checkpoint of it, which goes when the task is committed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one attempt stands."""

    task_id: str
    attempt: str
    worker: str
    scale: int
    step: int
    steps: int
    work: int
    """``Recipe.work_at`` this step."""
    total: float
