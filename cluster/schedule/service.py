"""``Service``: renders jobs when their schedules are due, for as long as it runs.

Each tick is a process of its own (``cluster.schedule.tick_process``). APScheduler wakes the service, and
``cluster.schedule.missed`` finds what is due from what was accounted for before, which is kept on disk. So
nothing is lost, however late the service is woken or however it ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from filelock import FileLock, Timeout

from cluster.schedule.history import History, Tick, iso_time, parse_time
from cluster.schedule.missed import Missed, due
from cluster.schedule.tick_process import (
    LET_FINISH,
    STOP,
    STOP_SECONDS,
    Command,
    Mark,
    TickRun,
    read_result,
)
from cluster.schedule.ticks import next_tick
from cluster.signals import heeded
from cluster.time_text import rough_duration_text
from jobs.errors import (
    ExitStatus,
    JobFileError,
    ObjectNotFoundError,
    StorageError,
    StylefarmError,
    UsageError,
)
from jobs.jobfile.dated_output import schedule_of, wall_text
from jobs.jobfile.job import Job
from jobs.jobfile.parse import read_job
from jobs.spec.schedule import Schedule
from jobs.storage.folder import FolderStorage

RELOAD_SECONDS = 5
"""Seconds between two checks for changed job files, and between two tries at what could not be handled."""

LOGS_KEPT = 400
"""Logs that are kept of a job: more than a year of nights."""

Say = Callable[[str], None]


@dataclass
class _Entry:
    """A job that the service renders."""

    file: Path
    job: Job
    seen: datetime
    """The moment up to which ticks are accounted for."""
    modified: float
    """When the file that was read last had been written; seconds since the epoch, 0 if unknown."""
    runs: list[TickRun] = field(default_factory=list)
    """The runs in progress."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while what is due is handled: one thread at a time."""
    interrupted: datetime | None = None
    """The tick whose run ended with the service, and which the next service resumes; None: there is none."""
    trouble: str | None = None
    """Why what is due could not be handled; None: nothing was in the way."""

    @property
    def key(self) -> str:
        digest = hashlib.sha256(str(self.file).encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.file.stem}-{digest[:8]}"

    @property
    def schedule(self) -> Schedule:
        return schedule_of(self.job)


class Service:
    """Renders jobs when they are due.

    Args:
        files: Job files with a schedule.
        state: The folder for ticks, logs and the history, which the next service reads; made if missing.
        command: How a job is rendered at a tick.
        say: Takes each message.
        now: Returns the current moment, aware.

    Raises:
        JobFileError: A job file is wrong or has no schedule.
        UsageError: Another service works in the folder, or its state is damaged.
        StorageError: The folder cannot be used.
    """

    def __init__(
        self,
        files: Sequence[Path],
        state: Path,
        command: Command,
        say: Say,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._command = command
        self._say = say
        self._now = now
        self._folder = state
        self._storage = FolderStorage(state)
        self.history = History(state / "history.jsonl")
        self._state_lock = threading.RLock()
        self._asked = threading.Event()
        self._scheduler = BackgroundScheduler(timezone=timezone.utc)
        self._signals: list[int] = []
        self._watchers: list[threading.Thread] = []
        jobs = [(file.absolute(), read_job(file.absolute())) for file in files]
        for _, job in jobs:
            schedule_of(job)
        self._lock = FileLock(state / "lock")
        try:
            state.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"another stylefarm schedule is using {state}; give this one its own folder with --state"
            ) from None
        except (OSError, NotImplementedError) as error:  # the second: a file system without locks
            raise _unusable(state, error) from None
        self._entries = [
            _Entry(file=file, job=job, seen=self._now(), modified=_modified(file))
            for file, job in dict(jobs).items()
        ]
        try:
            for entry in self._entries:
                self._resume(entry)
        except (OSError, StorageError) as error:
            raise _unusable(state, error) from None

    def run(self) -> int:
        """Serve until a signal asks to end. Return the exit status: 130 after Ctrl-C, else 0."""
        self.hear_signals()
        for entry in self._entries:
            self._set_alarm(entry)
        self._scheduler.add_job(self._reload, "interval", seconds=RELOAD_SECONDS)
        self._scheduler.start()
        try:
            for entry in self._entries:
                # Ticks may have come due while no service was running.
                threading.Thread(target=self._handle_due, args=(entry,), daemon=True).start()
                self._tell_next(entry)
            while not self._asked.wait(1.0):
                pass
            return self._end()
        finally:
            self._scheduler.shutdown(wait=False)
            self._lock.release()

    # --- what is due -------------------------------------------------------------------------------

    def _set_alarm(self, entry: _Entry) -> None:
        self._scheduler.add_job(
            self._handle_due,
            _Alarm(entry.schedule),
            args=(entry,),
            id=entry.key,
            replace_existing=True,
            # A late call is as good, one call handles all ticks that are due, and while one call waits for
            # a run to stop the next must not be dropped.
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1000,
        )

    def _handle_due(self, entry: _Entry) -> None:
        """Do what is due. An error is reported once and ends nothing: the tick is still due afterwards."""
        try:
            self._run_due(entry)
            entry.trouble = None
        except (StylefarmError, OSError) as error:
            before, entry.trouble = entry.trouble, str(error)
            if before is None:
                self._say(
                    f"{self._label(entry)}: {error}; it is tried again every {RELOAD_SECONDS} s"
                )
        except Exception:  # a bug of ours: the other jobs continue
            self._say(f"{self._label(entry)}: {traceback.format_exc()}")

    def _run_due(self, entry: _Entry) -> None:
        """Start the latest tick that is due, and record the others as missed."""
        with entry.turn:
            if self._asked.is_set():
                return
            now = self._now()
            due_now = due(entry.schedule, entry.seen, now)
            if due_now.missed is not None:
                self._record_missed(entry, due_now.missed)
            interrupted, entry.interrupted = entry.interrupted, None
            if due_now.run is not None:
                self._start(entry, due_now.run, now)
            elif due_now.seen != entry.seen:
                self._save(entry, seen=due_now.seen)
            elif interrupted is not None and not entry.runs and self._in_time(entry, interrupted):
                # Tomorrow's tick may have another output, so it would not resume this one.
                self._say(f"{self._name(entry, interrupted)} was interrupted, and is resumed")
                self._start(entry, interrupted, now)

    def _in_time(self, entry: _Entry, tick: datetime) -> bool:
        deadline = entry.schedule.starting_deadline
        return deadline is None or self._now() - tick <= timedelta(seconds=deadline)

    def _record_missed(self, entry: _Entry, missed: Missed) -> None:
        deadline = entry.schedule.starting_deadline
        why = (
            "a later tick was due, too"
            if deadline is None
            else "it was later than starting_deadline allows"
        )
        self.history.append(
            self._tick(entry, missed.first, outcome="missed", reason=why, count=missed.count)
        )
        if missed.count == 1:
            self._say(f"{self._name(entry, missed.first)} was missed: {why}")
        else:
            until = f"up to {wall_text(entry.job, missed.last)}"
            self._say(
                f"{missed.count} ticks from {self._name(entry, missed.first)} {until} were missed"
            )

    def _start(self, entry: _Entry, planned: datetime, now: datetime) -> None:
        policy = entry.schedule.concurrency_policy
        name = self._name(entry, planned)
        with self._state_lock:
            before = list(entry.runs)
        if before and policy == "forbid":
            why = f"the tick of {before[0].mark.planned} was still running"
            # Recorded first: if the service ended in between, the next would not know of the tick.
            self.history.append(self._tick(entry, planned, outcome="skipped", reason=why))
            self._save(entry, seen=planned)
            self._say(f"{name} was skipped: {why}")
            return
        if before and policy == "replace":
            self._say(f"{name}: the earlier run is stopped, and this one resumes it")
            self._stop(entry, before)
            if self._asked.is_set():
                return  # it is still due when the next service starts
        log = self._folder / "logs" / entry.key / f"{planned:%Y%m%dT%H%M%SZ}.log"
        _prune_logs(log.parent)
        mark = Mark(planned=iso_time(planned), started=iso_time(now), log=str(log))
        # From here on the tick is accounted for: if the service ends now, it counts as interrupted.
        self._save(entry, seen=planned, starting=mark)
        try:
            words = self._command.words(entry.job, planned)
            run = TickRun.start(words, planned, mark, entry.file.parent)
        except OSError as error:  # no memory, no room: the next tick may start
            why = f"it could not be started: {error}"
            self.history.append(
                self._tick(entry, planned, outcome="failed", started=mark.started, reason=why)
            )
            self._save(entry)
            self._say(f"{name}: {why}")
            return
        with self._state_lock:
            entry.runs.append(run)
        late = now - planned
        behind = f", {rough_duration_text(late)} late" if late > timedelta(seconds=10) else ""
        self._say(f"{name} starts{behind}; {run.unlogged or f'log: {mark.log}'}")
        self._watch(entry, run)
        self._save(entry)  # last: where this fails, the end of the run is noticed all the same

    def _stop(self, entry: _Entry, runs: Sequence[TickRun]) -> None:
        """Have runs store checkpoints and end; kill those that do not end in time."""
        for run in runs:
            run.ask_to_stop(STOP, "replaced")
        until = time.monotonic() + entry.job.spec.workers.grace + STOP_SECONDS
        while any(run.alive for run in runs) and time.monotonic() < until:
            time.sleep(0.05)
        for run in runs:
            run.kill()

    # --- how a run ended ---------------------------------------------------------------------------

    def _watch(self, entry: _Entry, run: TickRun) -> None:
        thread = threading.Thread(target=self._await, args=(entry, run), daemon=True)
        self._watchers.append(thread)
        thread.start()

    def _await(self, entry: _Entry, run: TickRun) -> None:
        status = run.wait()
        try:
            self._record_end(entry, run, status)
        except (StylefarmError, OSError) as error:
            self._say(
                f"{self._name(entry, run.planned)} has ended, but this could not be recorded: {error}"
            )
        finally:
            with self._state_lock:
                if run in entry.runs:
                    entry.runs.remove(run)

    def _record_end(self, entry: _Entry, run: TickRun, status: int | None) -> None:
        result = read_result(Path(run.mark.log))
        outcome = run.outcome(status, result)
        good = outcome == "done"
        # It ended with the service: an end of the machine kills both, one a moment before the other.
        by_a_kill = status is None or status < 0 or self._asked.is_set()
        if outcome == "interrupted" and (run.stopped_for == "interrupted" or by_a_kill):
            entry.interrupted = run.planned
        reason = result.reason
        if outcome == "failed" and reason is None and result.done is not None:
            reason = (
                "some tasks failed at earlier ticks; see stylefarm report, and retry them with "
                "--retry-failed"
            )
        tick = self._tick(
            entry,
            run.planned,
            outcome=outcome,
            started=run.mark.started,
            ended=iso_time(self._now()),
            exit_status=status,
            done=result.done,
            failed=result.failed,
            left=result.left,
            reason=None if good else reason,
            log=run.mark.log,
        )
        self.history.append(tick)
        with self._state_lock:
            if run in entry.runs:
                entry.runs.remove(run)
            self._save(entry)
        counts = "" if result.done is None else f": {result.done} done, {result.failed} failed"
        if good and result.done == 0:
            counts = ": nothing new"
        why = f" ({reason})" if reason and not good else ""
        self._say(f"{self._name(entry, run.planned)} {outcome}{counts}{why}")
        if self._scheduler.running and not self._asked.is_set():
            self._tell_next(entry)

    # --- starting and ending ------------------------------------------------------------------------

    def _resume(self, entry: _Entry) -> None:
        """Resume from what earlier services kept of a job: adopt its runs, record those that ended."""
        try:
            known: dict[str, Any] = json.loads(self._storage.get(self._key(entry)))
            entry.seen = datetime.fromisoformat(known["seen"])
            if known.get("interrupted") is not None:
                entry.interrupted = datetime.fromisoformat(known["interrupted"])
            marks = [Mark(**mark) for mark in known["runs"]]
        except ObjectNotFoundError:
            marks = []
            self._save(entry)
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{self._folder / self._key(entry)} is damaged ({error}); remove it, and ticks count from now"
            ) from None
        for mark in marks:
            planned = parse_time(mark.planned)
            run = TickRun.adopt(mark, planned)
            if run is None:
                self._record_end(entry, TickRun(mark, planned, None), None)
            else:
                entry.runs.append(run)
                self._say(f"{self._name(entry, planned)} still runs, started by an earlier service")
                self._watch(entry, run)

    def _reload(self) -> None:
        """Read job files that were changed, and try again what could not be handled."""
        for entry in self._entries:
            if entry.trouble is not None and not entry.turn.locked():
                threading.Thread(target=self._handle_due, args=(entry,), daemon=True).start()
            modified = _modified(entry.file)
            if modified == entry.modified:
                continue
            entry.modified = modified
            try:
                job = read_job(entry.file)
                schedule_of(job)
            except JobFileError as error:
                self._say(
                    f"{error}\n  the schedule stays as it was, and every tick fails until this is corrected"
                )
                continue
            before, entry.job = entry.schedule, job
            if entry.schedule != before:
                self._set_alarm(entry)
                self._tell_next(entry)

    def hear_signals(self) -> None:
        """Take the signals that ask the service to end, also before ``run``, which then ends at once."""
        for number in heeded():
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            if self._signals:
                return  # a terminal that closes sends it twice, itself and by its shell
            number = STOP
        self._signals.append(number)
        self._asked.set()

    def _end(self) -> int:
        """Pass the signals on to the runs and wait for them. Return the exit status."""
        first = self._signals[0]
        passed_on: dict[TickRun, int] = {}
        """Signals that each run has had: a run may start while the first arrives."""
        while True:
            with self._state_lock:
                runs = [run for entry in self._entries for run in entry.runs]
            heard = len(self._signals)
            if runs and not passed_on:
                self._say(
                    "stopping when running tasks are committed; press Ctrl-C again to stop now"
                    if first == LET_FINISH
                    else "stopping: running tasks store checkpoints"
                )
            for run in runs:
                had = passed_on.get(run, 0)
                passed_on[run] = heard
                if had < heard and heard > 2:
                    run.kill()
                elif had < heard:
                    run.ask_to_stop(first if heard == 1 else STOP, "interrupted")
            if not runs and not self._is_starting():
                break
            time.sleep(0.1)
        for thread in self._watchers:
            thread.join(5)
        return ExitStatus.INTERRUPTED if first == LET_FINISH else 0

    def _is_starting(self) -> bool:
        """Return whether a tick is being started, or a run is in progress by now.

        Once neither is so, none will be: after the request to end, ``_run_due`` starts nothing.
        """
        for entry in self._entries:
            if not entry.turn.acquire(blocking=False):
                return True
            entry.turn.release()
        with self._state_lock:
            return any(entry.runs for entry in self._entries)

    # --- state and messages -------------------------------------------------------------------------

    def _save(
        self, entry: _Entry, *, seen: datetime | None = None, starting: Mark | None = None
    ) -> None:
        with self._state_lock:
            marks = [run.mark for run in entry.runs] + ([starting] if starting else [])
            moment = max(seen or entry.seen, entry.seen)  # a resumed tick is an earlier one
            known = {
                "job": str(entry.file),
                "seen": moment.isoformat(),
                "interrupted": None if entry.interrupted is None else entry.interrupted.isoformat(),
                "runs": [asdict(mark) for mark in marks],
            }
            self._storage.put(self._key(entry), json.dumps(known, indent=1).encode())
            entry.seen = moment

    def _key(self, entry: _Entry) -> str:
        return f"jobs/{entry.key}.json"

    def _tick(self, entry: _Entry, planned: datetime, **fields: Any) -> Tick:
        return Tick(
            job=str(entry.file), name=entry.job.spec.name, planned=iso_time(planned), **fields
        )

    def _name(self, entry: _Entry, planned: datetime) -> str:
        return f"{self._label(entry)} of {wall_text(entry.job, planned)}"

    def _label(self, entry: _Entry) -> str:
        """Return the job's name, with its file where another job has the same name."""
        name = entry.job.spec.name
        alike = sum(other.job.spec.name == name for other in self._entries)
        return name if alike < 2 else f"{name} ({entry.file})"

    def _tell_next(self, entry: _Entry) -> None:
        now = self._now()
        tick = next_tick(entry.schedule, now)
        wait = rough_duration_text(tick - now)
        self._say(f"{self._label(entry)}: next at {wall_text(entry.job, tick)}, in {wait}")


class _Alarm(BaseTrigger):  # type: ignore[misc]
    """Wakes the service at every tick."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return next_tick(self._schedule, previous or now)


def _prune_logs(logs: Path) -> None:
    """Remove the oldest logs, so that a schedule of seconds does not fill the disk."""
    with contextlib.suppress(OSError):  # no tick is lost for a log
        for old in sorted(logs.glob("*.log"))[: -LOGS_KEPT + 1]:
            old.unlink(missing_ok=True)


def _unusable(state: Path, error: Exception) -> StorageError:
    """Return the error of a folder in which no state can be kept."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    reason = getattr(cause, "strerror", None) or error
    return StorageError(f"the schedule's state cannot be kept in {state} ({reason})")


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0  # it is being replaced, or was removed
