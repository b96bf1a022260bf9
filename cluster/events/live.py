"""``LiveBoard``: publishes a run's state in its output, and takes requests to end the run from there.

The driver writes ``live.json`` every few seconds, so that a run can be inspected without its cluster, or
where there is none, and beside it rows of what it has committed, for the gallery. ``cancel.json`` goes the
other way: the output is what a run and its user always share. None of them may delay the driver or fail its
run, so all are handled on a thread of their own.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from typing_extensions import assert_never

from cluster.events import events
from cluster.events.board import Board, EndedRow, Fleet, with_newest
from cluster.events.fresh import FreshRows
from cluster.events.json_lines import build
from cluster.events.progress import Meter, video_text
from cluster.messages import Asked, Wishes
from jobs.data_script import CONTENT_TYPE, data_script, data_text
from jobs.errors import ObjectNotFoundError, StorageError, StylefarmError
from jobs.records.commit import write_json
from jobs.records.record import TaskRecord
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.folder import FolderStorage
from jobs.storage.lease import is_abandoned, who

log = logging.getLogger(__name__)


LIVE_SECONDS = 5.0
"""The interval between two writes of ``live.json``, in seconds; the first steps and new states come early."""

CANCEL_POLL_SECONDS = 2.0
"""The interval between two polls of ``cancel.json``, in seconds."""

LAST_SECONDS = 10.0
"""How long a run that ends waits for its last ``live.json``, in seconds: the storage may be down."""

_WISHES = TypeAdapter(Wishes)

QUIET_SECONDS = 60.0
"""The age of ``live.json`` beyond which its run was killed or is cut off from the output, in seconds."""


class LiveBoard:
    """A listener that passes events on, adds ``Live`` events, and keeps ``live.json`` and the fresh rows.

    It is a context manager, to be entered while the run lasts.

    Args:
        storage: The output.
        listen: Hears every event, and a ``Live`` event every ``LIVE_SECONDS``.
        job: The job's name.
        run: The run's unique id.
        submission: The id under which the run was submitted to a cluster; None if it was not.
        guard: Raises LeaseLostError when the output belongs to another run; called before each write.
        wishes: What is asked of the run from the start.
        proof: Whether the run renders proofs, so that the output is ``proofs/`` of the job's.
    """

    def __init__(
        self,
        storage: Storage,
        listen: events.Listener,
        job: str,
        run: str,
        submission: str | None = None,
        guard: Callable[[], None] = lambda: None,
        wishes: Wishes | None = None,
        *,
        proof: bool = False,
    ) -> None:
        self._storage = storage
        self._listen = listen
        self._guard = guard
        self._meter = Meter(None)
        self._done_before = self._failed_before = 0
        """Tasks done and tasks failed before this run."""
        self._done = self._failed = 0
        """Tasks done and tasks failed in this run."""
        self._emitted_at = -LIVE_SECONDS
        self._urgent = True
        """Whether to write at the next poll, before ``LIVE_SECONDS`` are over."""
        now = time.time()
        self._live = events.Live(
            job=job,
            output=storage.url,
            run=run,
            submission=submission,
            state="reading",
            reason=None,
            tasks=None,
            done=0,
            failed=0,
            left=None,
            steps_per_second=0.0,
            eta=None,
            workers=0,
            pending=0,
            busy=None,
            gpu_hours=0.0,
            started=now,
            updated=now,
        )
        self._asked: Asked = "no"
        self._wishes = wishes or Wishes()
        self._fleet = Fleet()
        self._last_beat: events.Beat | None = None
        self._newest: tuple[EndedRow, ...] = ()
        self._fresh = FreshRows(storage, run, proof=proof, guard=guard, wake=self._wake)
        self._written: Board | None = None
        self._stopping = False
        self._awake = threading.Event()
        """Set to end the thread's sleep."""
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def __enter__(self) -> LiveBoard:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is not None:
            self._change(state="ended", reason=_reason(error), workers=0, pending=0, eta=None)
        self._stopping = True
        self._wake()
        # After a second Ctrl-C the user does not want to wait for a storage that may be down. The first one,
        # or a cancel, which a run that waits or looks heeds at once, is an ``AskedToEndError``.
        self._thread.join(LAST_SECONDS / 5 if kind is KeyboardInterrupt else LAST_SECONDS)

    def asked(self) -> Asked:
        """Return whether ``cancel.json`` asks this run to end."""
        return self._asked

    def wishes(self) -> Wishes:
        """Return what ``wishes.json`` asks of this run."""
        return self._wishes

    def committed(self, record: TaskRecord) -> None:
        """Take the record of a task that has ended, once it is written. Never waits."""
        self._newest = with_newest(self._newest, record)
        self._fresh.add(record)

    def replaced_by(self, gallery: Callable[[], bool]) -> None:
        """Have a gallery written that has all rows, in place of the fresh ones.

        Args:
            gallery: Writes it, and returns whether it is written.
        """
        self._fresh.replaced_by(gallery)

    def awaits(self, what: str, after: str, before: events.Live | None) -> None:
        """Say that the run waits for another job; to be called every few seconds.

        Args:
            what: What it waits for, as a phrase.
            after: The other job's output.
            before: What the last run of this job has said, whose counts are still true; None: there was none.
        """
        new = self._live.state != "waiting"
        if new and before is not None:
            counts = {name: getattr(before, name) for name in ("tasks", "done", "failed", "left")}
            self._change(**counts)
        self._change(state="waiting", waits=what, after=after)
        now = time.monotonic()
        if new:
            self._write_soon()
        if now - self._emitted_at >= LIVE_SECONDS:
            self._emitted_at = now
            self._listen(self._live)

    def begins(self) -> None:
        """Say that the run waits for no other job any more."""
        self._change(state="reading", waits="", after=None, started=time.time())
        self._write_soon()

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Finished):
            self._finish(event)  # first, so that ``Live`` comes before ``Finished``
        self._listen(event)
        match event:
            case events.Started() | events.Counted():
                self._count(event)
            case events.TaskDone():
                self._done += 1
                self._meter.end(event.work, event.steps)
                self._change(**self._tally())
            case events.TaskFailed():
                self._failed += 1
                self._meter.end(event.work)
                self._change(**self._tally())
            case events.Paused():
                self._enter("paused")
            case events.Resumed():
                self._enter("running")
            case events.Draining():
                self._enter("stopping")
            case events.Beat():
                self._beat(event)
            case events.VideoProgress():
                self._video(event)
            case (
                events.Finished()
                | events.Live()
                | events.RowsRead()
                | events.RowsSkipped()
                | events.ColumnsUnused()
                | events.KnobsWithoutEffect()
                | events.PicturesUnread()
                | events.PicturesMissing()
                | events.MasksDoubtful()
                | events.PagesLeftOut()
                | events.SavedOtherwise()
                | events.PictureLost()
                | events.InputChanged()
                | events.WebhookFailed()
                | events.VideoDoubtful()
                | events.VideoMade()
                | events.NoVideo()
                | events.TaskRetried()
                | events.WorkerLost()
                | events.NodeAvoided()
                | events.LeftOut()
                | events.OutputHeld()
                | events.JobAwaited()
                | events.FilmSearched()
                | events.ShareChanged()
                | events.WishesChanged()
            ):
                pass  # these change nothing in the summary
            case _:
                assert_never(event)

    def _enter(self, state: Literal["paused", "running", "stopping"]) -> None:
        if self._live.state != "stopping":
            self._change(state=state)
        self._write_soon()

    def _count(self, event: events.Started | events.Counted) -> None:
        if isinstance(event, events.Started) and event.counting:
            return
        self._meter.work_left = event.work_left
        self._done_before, self._failed_before = event.done, event.failed
        state = "running" if self._live.state == "reading" else self._live.state
        self._change(state=state, tasks=event.tasks, **self._tally(event.tasks))

    def _tally(self, tasks: int | None = None) -> dict[str, Any]:
        tasks = self._live.tasks if tasks is None else tasks
        done = self._done_before + self._done
        failed = self._failed_before + self._failed
        left = None if tasks is None else tasks - done - failed
        return {"done": done, "failed": failed, "left": left}

    def _beat(self, event: events.Beat) -> None:
        now = time.monotonic()
        self._last_beat = event
        running = event.running
        self._meter.beat(sum(p.step for p in running), sum(p.work for p in running), now)
        if self._meter.steps_per_second and not self._live.steps_per_second:
            self._write_soon()
        if now - self._emitted_at < LIVE_SECONDS:
            return
        self._emitted_at = now
        shares = [state.busy for state in event.fleet if state.busy is not None]
        eta = self._meter.seconds_left
        self._change(
            state="running" if self._live.state == "reading" else self._live.state,
            steps_per_second=round(self._meter.steps_per_second, 2),
            eta=None if eta is None else round(eta, 1),
            workers=event.workers,
            pending=event.pending,
            busy=round(sum(shares) / len(shares), 3) if shares else None,
            gpu_hours=event.gpu_hours,
            waits=event.waits,
        )
        self._listen(self._live)

    def _video(self, event: events.VideoProgress) -> None:
        now = time.monotonic()
        if now - self._emitted_at < LIVE_SECONDS:
            return
        self._emitted_at = now
        self._last_beat = None  # no worker is left
        self._change(
            state="running",
            waits=video_text(event),
            steps_per_second=0.0,
            eta=None,
            workers=0,
            pending=0,
            busy=None,
        )
        self._listen(self._live)

    def _finish(self, event: events.Finished) -> None:
        self._change(
            state="ended",
            reason=event.reason,
            left=event.left,
            eta=None,
            workers=0,
            pending=0,
            busy=None,
            waits="",
        )
        self._write_soon()  # what follows may take long, such as posting to a webhook
        self._listen(self._live)

    def _write_soon(self) -> None:
        self._urgent = True
        self._emitted_at -= LIVE_SECONDS

    def _change(self, **changes: Any) -> None:
        self._live = replace(self._live, updated=time.time(), **changes)

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        written_at = time.monotonic()
        while True:
            self._try(self._check_cancel)
            self._try(self._check_wishes)
            self._awake.wait(CANCEL_POLL_SECONDS)
            self._awake.clear()
            if self._stopping:
                break
            self._fleet.note(self._last_beat, time.monotonic())
            self._try(self._fresh.write)
            if self._urgent or time.monotonic() - written_at >= LIVE_SECONDS:
                self._urgent, written_at = False, time.monotonic()
                self._try(self._write)
        self._fleet.note(None, time.monotonic())
        self._try(lambda: self._fresh.write(last=True))
        self._try(self._write)
        self._try(self._delete_cancel)
        self._try(self._delete_wishes)

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except StorageError as error:
            log.debug("%s: %s", self._live.run, error)
        except Exception:
            log.exception("a bug, which costs nothing but the view of the run")

    def _wake(self) -> None:
        self._awake.set()

    def _write(self) -> None:
        board = Board(
            live=self._live,
            fleet=() if self._live.state == "ended" else self._fleet.rows(),
            newest=self._newest,
            fresh=self._fresh.keys,
            truncated=self._fresh.truncated,
        )
        if board == self._written:
            return
        self._guard()
        values = board.to_json()
        text = data_text(values).encode()
        self._storage.put(keys.LIVE, text, content_type="application/json")
        if isinstance(self._storage, FolderStorage):  # a page of files can fetch no JSON
            script = data_script("live", values)
            self._storage.put(keys.LIVE_SCRIPT, script, content_type=CONTENT_TYPE)
        self._written = board

    def _check_cancel(self) -> None:
        request = _read(self._storage, keys.CANCEL)
        if request is None:
            return
        if self._is_for_this_run(request):
            self._asked = "drain"
        else:  # it is for an earlier run, which ended before it saw the request
            self._guard()
            self._storage.delete(keys.CANCEL)

    def _delete_cancel(self) -> None:
        request = _read(self._storage, keys.CANCEL)
        if request is not None and self._is_for_this_run(request):
            self._guard()
            self._storage.delete(keys.CANCEL)

    def _check_wishes(self) -> None:
        request = _read(self._storage, keys.WISHES)
        if request is not None and self._is_for_this_run(request):
            self._wishes = _wishes_in(request) or self._wishes
        elif request is not None:
            self._guard()
            self._storage.delete(keys.WISHES)

    def _delete_wishes(self) -> None:
        request = _read(self._storage, keys.WISHES)
        if request is not None and self._is_for_this_run(request):
            self._guard()
            self._storage.delete(keys.WISHES)

    def _is_for_this_run(self, request: dict[str, Any]) -> bool:
        names = {self._live.run, self._live.submission} - {None}
        return bool(names & {request.get("run"), request.get("submission")})


class AskedToEndError(KeyboardInterrupt):
    """A run that only waits, or looks, is asked to end, for the first time.

    Args:
        reason: Why it ends, as ``live.json`` says it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def heed(asked: Asked) -> None:
    """Do what a run is asked for at a time at which it can end at once.

    Args:
        asked: What it is asked for.

    Raises:
        AskedToEndError: It is asked to end.
    """
    if asked != "no":
        raise AskedToEndError("preempted" if asked == "preempt" else "stopped")


def _reason(error: BaseException | None) -> str:
    if isinstance(error, StylefarmError):
        return str(getattr(error, "in_short", error))
    if isinstance(error, AskedToEndError):
        return error.reason
    return "stopped" if isinstance(error, KeyboardInterrupt) else f"a bug: {error!r}"


def read_live(storage: Storage) -> events.Live | None:
    """Return the state of the output's last run.

    Args:
        storage: The output.

    Returns:
        The state when it was last written; None if ``live.json`` is missing or cannot be parsed.

    Raises:
        StorageError: The output cannot be read.
    """
    values = _read(storage, keys.LIVE)
    return None if values is None else build(events.Live, values)


def has_ended(storage: Storage, live: events.Live) -> bool:
    """Return whether a run has ended, in whatever way.

    It may say so. Or it was killed: it is silent for ``QUIET_SECONDS``, or was a process of this machine and
    is gone, which shows at once.

    Args:
        storage: The output.
        live: What the run has said last.

    Raises:
        StorageError: The output cannot be read.
    """
    if live.state == "ended" or time.time() - live.updated > QUIET_SECONDS:
        return True
    return is_abandoned(storage, live.run)


def ask_to_end(storage: Storage, *, run: str | None = None, submission: str | None = None) -> None:
    """Ask a run to finish what is painting and end. The run is named by one of its two ids.

    Args:
        storage: The output.
        run: The run's id, as in ``Live.run``.
        submission: The id under which the run was submitted.

    Raises:
        StorageError: The output cannot be written.
    """
    request = {"run": run, "submission": submission, "time": time.time(), "by": who()}
    write_json(storage, keys.CANCEL, request)


def wish(storage: Storage, run: str, **changes: object) -> Wishes:
    """Ask something of a run, beside what it was asked before.

    Args:
        storage: The output.
        run: The run's id, as in ``Live.run``.
        **changes: Fields of ``Wishes``.

    Returns:
        All that the run is asked now.

    Raises:
        StorageError: The output cannot be read or written.
    """
    before = _read(storage, keys.WISHES)
    asked = _wishes_in(before) if before is not None and before.get("run") == run else None
    wishes = replace(asked or Wishes(), **changes, by=who())  # type: ignore[arg-type]
    write_json(storage, keys.WISHES, {"run": run, "time": time.time(), **asdict(wishes)})
    return wishes


def _wishes_in(request: dict[str, Any]) -> Wishes | None:
    """Return what a request asks; None: it is none that can be read."""
    try:
        return _WISHES.validate_python(request)
    except ValidationError:
        return None


def take_back(storage: Storage) -> None:
    """Delete the request of ``ask_to_end``, which no run has taken.

    Args:
        storage: The output.

    Raises:
        StorageError: The output cannot be written.
    """
    storage.delete(keys.CANCEL)


def _read(storage: Storage, key: str) -> dict[str, Any] | None:
    """Return a JSON object; None if it is missing or cannot be parsed."""
    try:
        values = json.loads(storage.get(key))
    except (ObjectNotFoundError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
