"""How a run stands, where everybody can read it who can read its output; and how to ask it to end from there.

``live.json`` is written every few seconds by the driver, so that a run can be looked at when its cluster does
not answer, or was never one. ``cancel.json`` goes the other way: the output is what the two surely share.
Neither may hold the driver up or fail its run, so a thread of its own does both.
"""

from __future__ import annotations

import getpass
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Literal

from typing_extensions import assert_never

from cluster.events.events import (
    Beat,
    ColumnsUnused,
    Counted,
    Draining,
    Event,
    Finished,
    InputChanged,
    Listener,
    Live,
    NodeAvoided,
    Paused,
    PictureLost,
    Resumed,
    RowsSkipped,
    Started,
    TaskDone,
    TaskFailed,
    TaskRetried,
    WebhookFailed,
    WorkerLost,
)
from cluster.events.json_lines import build
from cluster.events.progress import Meter
from cluster.messages import Asked
from jobs.errors import ObjectNotFoundError, StorageError, StylefarmError
from jobs.records.commit import write_json
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)


LIVE_SECONDS = 5.0
"""How often ``live.json`` is written, except for what is waited for: the first steps, a change of state."""

CANCEL_POLL_SECONDS = 2.0
"""How often it is looked whether the run is asked to end."""

LAST_SECONDS = 10.0
"""How long the end of a run waits for its last word to be stored, in a storage that may be in trouble."""

QUIET_SECONDS = 60.0
"""A run whose ``live.json`` is older is not there any more, or cannot be heard."""


class LiveBoard:
    """A listener that passes on what it hears, now and then a ``Live`` of its own, and keeps ``live.json``.

    ``guard`` raises when the output belongs to another driver. To be entered while the run lasts.
    """

    def __init__(
        self,
        storage: Storage,
        listen: Listener,
        job: str,
        run: str,
        submission: str | None = None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._listen = listen
        self._guard = guard
        self._meter = Meter(None)
        self._done_before = self._failed_before = 0
        """Tasks that were done and failed before this run."""
        self._done = self._failed = 0
        """Tasks that this run has done and failed."""
        self._emitted_at = -LIVE_SECONDS
        self._urgent = True
        """Whether what is to be written has waited long enough."""
        now = time.time()
        self._live = Live(
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
        self._written: Live | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def __enter__(self) -> LiveBoard:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is not None:
            self._change(state="ended", reason=_reason(error), workers=0, pending=0, eta=None)
        self._stopping.set()
        # Who presses Ctrl-C twice does not want to wait for a storage in trouble.
        self._thread.join(LAST_SECONDS / 5 if kind is KeyboardInterrupt else LAST_SECONDS)

    def asked(self) -> Asked:
        """Whether somebody has asked this run to end, by way of its output."""
        return self._asked

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._finish(event)  # before what others say of it
        self._listen(event)
        match event:
            case Started() | Counted():
                self._count(event)
            case TaskDone():
                self._done += 1
                self._meter.end(event.work, event.steps)
                self._change(**self._tally())
            case TaskFailed():
                self._failed += 1
                self._meter.end(event.work)
                self._change(**self._tally())
            case Paused():
                self._enter("paused")
            case Resumed():
                self._enter("running")
            case Draining():
                self._enter("stopping")
            case Beat():
                self._beat(event)
            case (
                Finished()
                | Live()
                | RowsSkipped()
                | ColumnsUnused()
                | PictureLost()
                | InputChanged()
                | WebhookFailed()
                | TaskRetried()
                | WorkerLost()
                | NodeAvoided()
            ):
                pass  # nothing of the summary changes
            case _:
                assert_never(event)

    def _enter(self, state: Literal["paused", "running", "stopping"]) -> None:
        if self._live.state != "stopping":
            self._change(state=state)
        self._write_soon()

    def _count(self, event: Started | Counted) -> None:
        if isinstance(event, Started) and event.counting:
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

    def _beat(self, event: Beat) -> None:
        now = time.monotonic()
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
        )
        self._listen(self._live)

    def _finish(self, event: Finished) -> None:
        self._change(
            state="ended",
            reason=event.reason,
            left=event.left,
            eta=None,
            workers=0,
            pending=0,
            busy=None,
        )
        self._write_soon()  # what follows, such as telling a webhook, may take its time
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
            if self._stopping.wait(CANCEL_POLL_SECONDS):
                break
            if self._urgent or time.monotonic() - written_at >= LIVE_SECONDS:
                self._urgent, written_at = False, time.monotonic()
                self._try(self._write)
        self._try(self._write)
        self._try(self._delete_cancel)

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except StorageError as error:
            log.debug("%s: %s", self._live.run, error)
        except Exception:
            log.exception("a bug, which costs nothing but the view of the run")

    def _write(self) -> None:
        live = self._live
        if live is not self._written:
            self._guard()
            write_json(self._storage, keys.LIVE, asdict(live))
            self._written = live

    def _check_cancel(self) -> None:
        request = _read(self._storage, keys.CANCEL)
        if request is None:
            return
        if self._is_for_this_run(request):
            self._asked = "drain"
        else:  # somebody else was, who did not live to see it
            self._guard()
            self._storage.delete(keys.CANCEL)

    def _delete_cancel(self) -> None:
        request = _read(self._storage, keys.CANCEL)
        if request is not None and self._is_for_this_run(request):
            self._guard()
            self._storage.delete(keys.CANCEL)

    def _is_for_this_run(self, request: dict[str, Any]) -> bool:
        names = {self._live.run, self._live.submission} - {None}
        return bool(names & {request.get("run"), request.get("submission")})


def _reason(error: BaseException | None) -> str:
    if isinstance(error, StylefarmError):
        return str(error)
    return "stopped" if isinstance(error, KeyboardInterrupt) else f"a bug: {error!r}"


def read_live(storage: Storage) -> Live | None:
    """How the output's last run stands, or stood when it was last heard of; None where there was none.

    Raises StorageError.
    """
    values = _read(storage, keys.LIVE)
    return None if values is None else build(Live, values)


def ask_to_end(storage: Storage, *, run: str | None = None, submission: str | None = None) -> None:
    """Ask a run, by its own name or that of its submission, to finish what is painting and end.

    Raises StorageError.
    """
    request = {"run": run, "submission": submission, "time": time.time(), "by": _requester()}
    write_json(storage, keys.CANCEL, request)


def take_back(storage: Storage) -> None:
    """Remove what ``ask_to_end`` wrote, which no run was there to see. Raises StorageError."""
    storage.delete(keys.CANCEL)


def _requester() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def _read(storage: Storage, key: str) -> dict[str, Any] | None:
    """A JSON object; None where there is none, or none that can be read."""
    try:
        values = json.loads(storage.get(key))
    except (ObjectNotFoundError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
