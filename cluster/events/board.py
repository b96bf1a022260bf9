"""``Board``: what ``live.json`` holds: a run's summary, its workers, its newest pictures, its fresh rows.

The summary alone is an event, because the rest grows with the workers: it is nothing for a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cluster.events.events import Beat, Live
from cluster.messages import Progress, WorkerState
from cluster.sliding_rate import SlidingRate
from jobs.records.record import OutputRecord, TaskRecord

MOST_WORKERS = 1000
"""The most workers that are listed."""

NEWEST = 24
"""The ended tasks that are listed."""

SPEED_SECONDS = 15.0
"""The window over which a task's speed is averaged, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """A task that a worker is painting."""

    id: str
    name: str
    scale: int
    """The longest side at which the picture is painted, in pixels."""
    step: int
    steps: int
    """Steps of the whole render."""
    per_second: float | None
    """Its speed, in steps per second; None while unknown."""
    total: float
    """The total loss; NaN before the first step."""
    preview: bool
    """Whether the output has a preview of the picture as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRow:
    """A worker that is up."""

    worker: str
    node: str
    """The host name of its node, or Ray's id where that is unknown."""
    device: str
    busy: float | None
    """The share of recent time for which it held its devices, 0 to 1; None while unknown."""
    tasks: tuple[Painting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRow:
    """A task that this run has ended."""

    id: str
    name: str
    status: Literal["done", "failed"]
    key: str | None
    """The picture, or the last good one of a failed render; None: there is none."""
    width: int
    """Pixels; 0 without a picture."""
    height: int
    """Pixels; 0 without a picture."""
    steps: int
    seconds: float
    """Seconds of rendering."""
    total: float | None
    """The final total loss."""
    error: str | None
    thumb: bool
    """Whether the output has a small picture of it."""
    finished: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The contents of ``live.json``."""

    live: Live
    fleet: tuple[FleetRow, ...] = ()
    """The workers that are up, at most ``MOST_WORKERS``."""
    newest: tuple[EndedRow, ...] = ()
    """The last tasks that the run has ended, at most ``NEWEST``, the newest first."""
    fresh: tuple[str, ...] = ()
    """The keys, in this output, of the rows that the run has committed and the gallery lacks."""
    truncated: bool = False
    """Whether rows are missing there."""

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object: the summary's fields, and beside them the lists."""
        values = asdict(self)
        return {**values.pop("live"), **values}


class Fleet:
    """The workers as of the last beat, and how fast each task is painted."""

    def __init__(self) -> None:
        self._speeds: dict[str, SlidingRate] = {}
        """By attempt id, of those that paint."""
        self._beat: Beat | None = None

    def note(self, beat: Beat | None, now: float) -> None:
        """Take a beat.

        Args:
            beat: The last one; None: there are no workers.
            now: The time, in seconds, by a clock that never goes back.
        """
        running = () if beat is None else beat.running
        self._speeds = {
            p.attempt_id: self._speeds.get(p.attempt_id) or SlidingRate(SPEED_SECONDS)
            for p in running
        }
        if beat is not self._beat:
            for progress in running:
                self._speeds[progress.attempt_id].add(progress.step, now)
        self._beat = beat

    def rows(self) -> tuple[FleetRow, ...]:
        """Return a row for each of the first workers."""
        if self._beat is None:
            return ()
        tasks: dict[str, list[Progress]] = {}
        for progress in self._beat.running:
            tasks.setdefault(progress.worker, []).append(progress)
        return tuple(
            self._row(state, tasks.get(state.name, ())) for state in self._beat.fleet[:MOST_WORKERS]
        )

    def _row(self, state: WorkerState, tasks: Iterable[Progress]) -> FleetRow:
        return FleetRow(
            worker=state.name,
            node=state.host or state.node,
            device=state.device,
            busy=None if state.busy is None else round(state.busy, 3),
            tasks=tuple(map(self._painting, tasks)),
        )

    def _painting(self, progress: Progress) -> Painting:
        speed = self._speeds[progress.attempt_id].per_second
        return Painting(
            id=progress.task_id,
            name=progress.name,
            scale=progress.scale,
            step=progress.step,
            steps=progress.steps,
            per_second=None if speed is None else round(speed, 2),
            total=progress.total,
            preview=progress.preview,
        )


def ended_row(record: TaskRecord) -> EndedRow:
    """Return what is listed of a task that has ended."""
    picture = shown(record)
    return EndedRow(
        id=record.id,
        name=record.name,
        status=record.status,
        key=None if picture is None else picture.key,
        width=0 if picture is None else picture.width,
        height=0 if picture is None else picture.height,
        steps=record.steps,
        seconds=record.seconds.get("render", 0.0),
        total=record.losses.get("total"),
        error=record.error,
        thumb=picture is not None and picture.thumbnail is not None,
        finished=record.finished,
    )


def shown(record: TaskRecord) -> OutputRecord | None:
    """Return a task's picture, or the last good one of a failed render; None: there is none."""
    return record.output or record.kept


def with_newest(newest: Sequence[EndedRow], record: TaskRecord) -> tuple[EndedRow, ...]:
    """Return the newest tasks when another one has ended."""
    return (ended_row(record), *newest)[:NEWEST]
