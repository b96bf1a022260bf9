"""The events of a run, for listeners such as the progress bar, ``--json``, ``live.json`` or a test.

A listener that handles every kind of event ends its ``match`` with ``assert_never``: mypy then names each
listener that does not know a new event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from cluster.messages import FailureKind, Progress, WorkerState


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputHeld:
    """Another run has the output, and this one waits for its end (``--wait``)."""

    event: ClassVar[str] = "output_held"
    output: str
    reason: str
    """Who has it, as a sentence."""
    patience: float | None
    """How long this run waits at most, in seconds; None: for as long as it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAwaited:
    """The run begins when another job has ended well (``--after``), and waits for that."""

    event: ClassVar[str] = "job_awaited"
    job: str
    """What the other job is called."""
    output: str
    """The other job's output."""
    what: str
    """How far it is: ``it has not begun``, ``it is being rendered, 12 of 50 done`` or the like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmSearched:
    """Before the run starts, a film is looked through for cuts: every few seconds, and when that is done."""

    event: ClassVar[str] = "film_searched"
    film: str
    """What the film is called."""
    looked_at: int
    """Frames that were looked at so far."""
    frames: int
    """Frames of the film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The run starts."""

    event: ClassVar[str] = "started"
    job: str
    output: str
    tasks: int
    """Tasks of the whole job."""
    done: int
    """Tasks done before this run."""
    failed: int
    """Tasks failed before this run."""
    work_left: int
    """The work left, in ``Recipe.work_at`` units."""
    counting: bool = False
    """Whether a long job is still being read; the numbers then follow in ``Counted``."""
    gallery: str = ""
    """The address of the page that shows the pictures, and the run while it lasts; empty: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A long job has been read to its end; the numbers are those that ``Started`` lacked."""

    event: ClassVar[str] = "counted"
    tasks: int
    done: int
    failed: int
    work_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRead:
    """The manifests have been read to their end: what became of their rows.

    The rows used, repeated, left out and skipped add up to all rows.
    """

    event: ClassVar[str] = "rows_read"
    rows: int
    """All rows."""
    used: int
    """Rows that are tasks."""
    repeated: int
    """Rows that name a pair that the job has named before."""
    left_out: int
    """Rows whose tasks are not selected."""
    skipped: int
    """Rows that cannot be used."""
    notes: tuple[str, ...] = ()
    """What is not used as it is written: one sentence for each kind, with its first row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSkipped:
    """A manifest has rows that cannot be used and were skipped."""

    event: ClassVar[str] = "rows_skipped"
    rows: int
    first: tuple[str, ...]
    """The first skipped rows, each with its place and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnsUnused:
    """A manifest has columns that are not used."""

    event: ClassVar[str] = "columns_unused"
    columns: tuple[str, ...]
    """The columns' names; one that resembles a knob's comes with the knob's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobsWithoutEffect:
    """The job gives knobs that change none of its pictures."""

    event: ClassVar[str] = "knobs_without_effect"
    knobs: tuple[str, ...]
    """Each with its place in the job file and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesUnread:
    """Patterns match pictures of formats that are not read; they are left out."""

    event: ClassVar[str] = "pictures_unread"
    pictures: int
    """Their number, each as often as a pattern matched it."""
    first: tuple[str, ...]
    """The first of them, each with its format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesMissing:
    """Input pictures that tasks to do need are missing, or cannot be used. Those tasks will fail. A film with
    frames that cannot be read, which shows while cuts are looked for, has an event of its own."""

    event: ClassVar[str] = "pictures_missing"
    pictures: int
    """Pictures that cannot be used, among those that were looked at."""
    looked_at: int
    """Pictures that were looked at."""
    complete: bool
    """Whether all pictures of the job were looked at."""
    first: tuple[str, ...]
    """The first of them, each with its place in the job, the reason, and how many tasks need it; of a film
    one sentence about all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasksDoubtful:
    """Masks are probably not those that are meant: empty, coloured, or of labels. They are rendered with."""

    event: ClassVar[str] = "masks_doubtful"
    masks: int
    """Masks that no earlier event was about."""
    first: tuple[str, ...]
    """A sentence about each of the first of them, which begins with its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesLeftOut:
    """Files of pictures have several pages or frames, of which the first is painted."""

    event: ClassVar[str] = "pages_left_out"
    pictures: int
    """Pictures that no earlier event was about."""
    first: tuple[str, ...]
    """A sentence about each of the first of them, which begins with its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedOtherwise:
    """Pictures that are done were saved in another way than the job says now, and stay as they are."""

    event: ClassVar[str] = "saved_otherwise"
    done: int
    """Tasks that are done; 0 while a long job is still being read."""
    changes: tuple[str, ...]
    """What differs, a phrase for each key of ``image``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLost:
    """A finished picture differs from its record; its task is rendered again."""

    event: ClassVar[str] = "picture_lost"
    id: str
    name: str
    image: str
    what: str
    """``missing`` or ``damaged``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputChanged:
    """A picture is no longer the one from which a finished task was rendered."""

    event: ClassVar[str] = "input_changed"
    id: str
    """The task's id."""
    name: str
    """The name of the finished picture."""
    uri: str
    """The address of the picture that changed."""
    what: str
    """``changed``: the task is rendered again; ``gone``: the finished picture stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """Seconds per phase: fetch, wait, render, store."""
    thumbnail: str | None = None
    """The key of the picture, small; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed:
    """A task failed for good and is recorded as failed."""

    event: ClassVar[str] = "failed"
    id: str
    name: str
    error: str
    work: int
    attempts: int
    kept: str | None = None
    """The key of the last good picture, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetried:
    """An attempt failed and the task is retried."""

    event: ClassVar[str] = "retry"
    id: str
    name: str
    error: str
    attempt_number: int
    delay: float
    kind: FailureKind = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """A worker was lost or given up, and is replaced."""

    event: ClassVar[str] = "worker_lost"
    worker: str
    node: str
    reason: str
    kind: FailureKind
    attempts: int
    """Attempts that the worker had in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAvoided:
    """A node has lost too many workers and gets no more."""

    event: ClassVar[str] = "node_avoided"
    node: str
    faults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The storage is down; the run starts no new task until it is up again."""

    event: ClassVar[str] = "paused"
    reason: str
    patience: float
    """Seconds after which the run gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The storage is up again."""

    event: ClassVar[str] = "resumed"
    seconds: float
    """How long the run was paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareChanged:
    """The run's share of a cluster that others use, too, has changed."""

    event: ClassVar[str] = "share"
    workers: int
    """Workers that the run may have now."""
    before: int | None
    """Workers that it might have before; None: it was the first to say."""
    waits: str
    """What it waits for: ``waits for GPUs: 8 held by nightly (low)``; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WishesChanged:
    """Somebody asks other things of the run than before."""

    event: ClassVar[str] = "wishes"
    paused: bool
    workers: int | None
    """The most workers; None: what the job says."""
    priority: int | None
    """The priority, 0 to 100; None: what the job says."""
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A snapshot of the run, twice a second (less often with very many workers)."""

    event: ClassVar[str] = "progress"
    done: int
    failed: int
    workers: int
    running: tuple[Progress, ...]
    pending: int = 0
    """Workers that were requested and are not up."""
    waiting: int = 0
    """Tasks of the backlog that could start now."""
    retrying: int = 0
    """Failed tasks whose retry is not due yet."""
    in_flight: int = 0
    """Tasks that a worker has."""
    paused: bool = False
    gpu_hours: float = 0.0
    """Device hours of this run."""
    waits: str = ""
    """What the run waits for, as in ``ShareChanged``; empty: nothing."""
    wanted: int = 0
    """Workers that the run could use, if nobody else were there."""
    given_back: int = 0
    """Workers that the run has given back, because others were to have their places."""
    fleet: tuple[WorkerState, ...] = ()
    """All workers that are up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A summary of the whole job, every few seconds. It is as short with a thousand workers as with one, so
    it is what a submitted run's log and ``live.json`` hold."""

    event: ClassVar[str] = "live"
    job: str
    output: str
    run: str
    """The run's unique id."""
    submission: str | None
    """The id under which the run was submitted to a cluster; None if it was not."""
    state: Literal["waiting", "reading", "running", "paused", "stopping", "ended"]
    reason: str | None
    """Why the run ended: the reason of ``Finished``, or the error; None before."""
    tasks: int | None
    """Tasks of the whole job; None until it is read to its end."""
    done: int
    """Done tasks of the whole job; of this run alone while ``tasks`` is None."""
    failed: int
    left: int | None
    steps_per_second: float
    """The speed over the last half minute."""
    eta: float | None
    """Seconds until the rest is done; None while unknown."""
    workers: int
    pending: int
    """Workers that were requested and are not up."""
    busy: float | None
    """The mean share of time for which workers hold their devices, 0 to 1; None while unknown."""
    gpu_hours: float
    waits: str = ""
    """What the run waits for, as in ``ShareChanged``; empty: nothing."""
    after: str | None = None
    """The output of the job that it waits for (``--after``); None: it waits for none."""
    started: float
    """When the run started; seconds since the epoch, by the driver's clock."""
    updated: float
    """When this summary was made; seconds since the epoch, by the driver's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDoubtful:
    """While frames of a film are painted it shows that no video can be made of them; rendering goes on."""

    event: ClassVar[str] = "video_doubtful"
    film: str
    """The film as the job file names it."""
    reason: str
    """The rest of a sentence, as in ``NoVideo``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoProgress:
    """A video is being made of the finished frames of a film; told every few seconds."""

    event: ClassVar[str] = "video_progress"
    video: str
    """The video's key."""
    frame: int
    """Frames that are written."""
    frames: int
    """Frames that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMade:
    """A video is stored."""

    event: ClassVar[str] = "video"
    id: str
    """The video's id."""
    name: str
    """The video's name before ``-<id>``."""
    video: str
    """Its key."""
    frames: int
    length: float
    """How long it is, in seconds."""
    size: int
    """Bytes."""
    seconds: float
    """How long it took to make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoVideo:
    """There is no video of a film."""

    event: ClassVar[str] = "no_video"
    id: str
    """The id that the video would have."""
    name: str
    """The name that it would have before ``-<id>``."""
    reason: str
    """The rest of a sentence: ``frame 1012 has failed``."""
    failed: bool
    """Whether something has failed; else frames are only not painted yet."""
    video: str = ""
    """The key that it would have in the output; empty in lines of an earlier version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """The run was asked to end; attempts in flight finish."""

    event: ClassVar[str] = "draining"
    running: int
    preempted: bool = False
    """Whether they store a checkpoint instead, because the machine is taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Lines of this log or stream are missing here: whoever read it was too slow, or it could not be written.

    No listener hears it: it is written where the lines would have been.
    """

    event: ClassVar[str] = "left_out"
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookFailed:
    """The webhook did not accept the report of how the run ended."""

    event: ClassVar[str] = "webhook_failed"
    host: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is over."""

    event: ClassVar[str] = "finished"
    done: int
    """Tasks done in this run."""
    failed: int
    left: int | None
    """Tasks left in the job; None when the job was not read to its end."""
    seconds: float
    reason: str
    """``complete``, ``interrupted``, ``preempted``, ``limit``, ``max_failures`` or ``max_gpu_hours``."""
    videos: int = 0
    """Videos made in this run."""
    videos_failed: int = 0
    """Videos that could not be made though all their frames are there."""


Event = (
    Started
    | Counted
    | RowsRead
    | RowsSkipped
    | ColumnsUnused
    | KnobsWithoutEffect
    | PicturesUnread
    | PicturesMissing
    | MasksDoubtful
    | PagesLeftOut
    | SavedOtherwise
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
    | ShareChanged
    | WishesChanged
    | Beat
    | Live
    | Draining
    | LeftOut
    | VideoDoubtful
    | VideoProgress
    | VideoMade
    | NoVideo
    | OutputHeld
    | JobAwaited
    | FilmSearched
    | Finished
)


class Listener(Protocol):
    """A function that hears every event, in order, on the driver's thread."""

    def __call__(self, event: Event) -> None:
        """Take an event."""
