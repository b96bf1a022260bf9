"""What happens during a run, told to whoever listens: the progress bar, ``--json``, a test."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Protocol

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
class Draining:
    """The run was asked to end; running tasks finish."""

    event: ClassVar[str] = "draining"
    running: int
    leaving: bool = False
    """Whether the machine is taken away, so that they store a checkpoint instead."""


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
    | TaskDone
    | TaskFailed
    | TaskRetried
    | WorkerLost
    | NodeAvoided
    | Paused
    | Resumed
    | Beat
    | Draining
    | Finished
)


class Listener(Protocol):
    """Hears every event, in order, on the driver's thread."""

    def __call__(self, event: Event) -> None:
        """Take an event."""


def to_json(event: Event) -> str:
    """One line of JSON; numbers that JSON does not have become null."""
    fields = {"event": event.event, **asdict(event)}
    return json.dumps(_finite(fields), ensure_ascii=False)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
