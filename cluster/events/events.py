"""What happens during a run, told to whoever listens: the progress bar, ``--json``, a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from cluster.messages import FailureKind, Progress, StationState


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins: what there is to do."""

    event: ClassVar[str] = "started"
    job: str
    output: str
    tasks: int
    """Of the whole job."""
    done: int
    """Before this run."""
    failed: int
    work_left: int
    """In ``Recipe.work_at`` units."""
    counting: bool = False
    """Whether the job is so long that it is still being read; ``Counted`` then comes later."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A long job has been read to its end: what ``Started`` could not yet say."""

    event: ClassVar[str] = "counted"
    tasks: int
    done: int
    failed: int
    work_left: int


@dataclass(frozen=True, slots=True)
class RowsSkipped:
    """A manifest has rows that cannot be used and are left out."""

    event: ClassVar[str] = "rows_skipped"
    rows: int
    first: tuple[str, ...]
    """The first of them, each with its place and the reason."""


@dataclass(frozen=True, slots=True)
class ColumnsUnused:
    """A manifest has columns that mean nothing here."""

    event: ClassVar[str] = "columns_unused"
    columns: tuple[str, ...]
    """Those named like a knob with what they may be meant for."""


@dataclass(frozen=True, slots=True)
class PictureLost:
    """A finished picture is not what its record says; its task is rendered again."""

    event: ClassVar[str] = "picture_lost"
    id: str
    name: str
    image: str
    what: str
    """"missing" or "damaged"."""


@dataclass(frozen=True, slots=True)
class InputChanged:
    """A picture is not what a finished task was rendered from."""

    event: ClassVar[str] = "input_changed"
    id: str
    """Of the task,"""
    name: str
    """and of what it made."""
    uri: str
    what: str
    """"changed": the task is rendered again; "gone": what was made of it stays."""


@dataclass(frozen=True, slots=True)
class TaskDone:
    """A picture is committed."""

    event: ClassVar[str] = "done"
    id: str
    name: str
    image: str
    steps: int
    work: int
    seconds: float
    total: float | None
    worker: str
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each: fetch, wait, render, store."""


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task is given up and recorded as failed."""

    event: ClassVar[str] = "failed"
    id: str
    name: str
    error: str
    work: int
    attempts: int
    kept: str | None = None
    """Where its last good picture is, when there is one."""


@dataclass(frozen=True, slots=True)
class TaskRetried:
    """An attempt failed and the task is tried again."""

    event: ClassVar[str] = "retry"
    id: str
    name: str
    error: str
    attempt: int
    delay: float
    kind: FailureKind = "bug"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is gone, or was given up, and is replaced."""

    event: ClassVar[str] = "worker_lost"
    worker: str
    node: str
    reason: str
    kind: FailureKind
    attempts: int
    """That it had."""


@dataclass(frozen=True, slots=True)
class NodeAvoided:
    """A node has lost so many workers that no more are placed there."""

    event: ClassVar[str] = "node_avoided"
    node: str
    faults: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The storage is in trouble: nothing new is begun until it is well."""

    event: ClassVar[str] = "paused"
    reason: str
    patience: float
    """Seconds after which the run gives up."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The storage is well again."""

    event: ClassVar[str] = "resumed"
    seconds: float
    """For which the floor was paused."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Twice a second (less often with very many workers): what is running."""

    event: ClassVar[str] = "progress"
    done: int
    failed: int
    workers: int
    running: tuple[Progress, ...]
    pending: int = 0
    """Workers that were asked for and are not up."""
    waiting: int = 0
    """Tasks at hand that no worker has."""
    retrying: int = 0
    """Of those that failed, tasks whose time has not come again."""
    in_flight: int = 0
    """Tasks that a worker has."""
    paused: bool = False
    gpu_hours: float = 0.0
    """For which workers have held their devices in this run."""
    fleet: tuple[StationState, ...] = ()
    """Every worker that is up."""


@dataclass(frozen=True, slots=True)
class Live:
    """Every few seconds: how the whole job stands. As short with a thousand workers as with one, so it is
    what a submitted run's log and ``live.json`` say."""

    event: ClassVar[str] = "live"
    job: str
    output: str
    run: str
    """What tells this run from every other."""
    submission: str | None
    """By which id the run was submitted to a cluster, if it was."""
    state: Literal["reading", "running", "paused", "stopping", "ended"]
    reason: str | None
    """Of a run that ended: as ``Finished`` has it, or the error that ended it."""
    tasks: int | None
    """Of the whole job; None until it is read to its end."""
    done: int
    """Of the whole job; of this run alone while ``tasks`` is not known."""
    failed: int
    left: int | None
    steps_per_second: float
    """Of late."""
    eta: float | None
    """Seconds until the rest is done; None when unknown."""
    workers: int
    pending: int
    """Workers that were asked for and are not up."""
    busy: float | None
    """The share of their time for which workers hold their devices, on average."""
    gpu_hours: float
    started: float
    """Seconds since the epoch, by the clock of the driver."""
    updated: float


@dataclass(frozen=True, slots=True)
class Draining:
    """The run was asked to end; running tasks finish."""

    event: ClassVar[str] = "draining"
    running: int
    leaving: bool = False
    """Whether the machine is taken away, so that they store a checkpoint instead."""


@dataclass(frozen=True, slots=True)
class WebhookFailed:
    """Nobody could be told how the run ended."""

    event: ClassVar[str] = "webhook_failed"
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over."""

    event: ClassVar[str] = "finished"
    done: int
    """In this run."""
    failed: int
    left: int | None
    """None when the job had not been read to its end."""
    seconds: float
    reason: str
    """"complete", "interrupted", "preempted", "limit", "max_failures" or "max_gpu_hours"."""


Event = (
    Started
    | Counted
    | RowsSkipped
    | ColumnsUnused
    | PictureLost
    | InputChanged
    | WebhookFailed
    | TaskDone
    | TaskFailed
    | TaskRetried
    | WorkerLost
    | NodeAvoided
    | Paused
    | Resumed
    | Beat
    | Live
    | Draining
    | Finished
)


class Listener(Protocol):
    """Hears every event, in order, on the driver's thread."""

    def __call__(self, event: Event) -> None:
        """Take an event."""
