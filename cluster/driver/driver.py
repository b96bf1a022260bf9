"""The driver: fill the slots, wait for what ends, commit it or try again.

It runs in one thread and reads top to bottom. It holds the tasks in flight and those that wait to be tried
again, never the job.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cluster.driver.backlog import Backlog, Effort
from cluster.driver.committer import MOST_WAITING, Commit, Committer
from cluster.driver.failure_policy import Situation, StopReason, decide, is_bad_node, must_stop
from cluster.driver.fault_counts import Health
from cluster.driver.storage_outage import Trouble
from cluster.events.events import (
    Beat,
    Draining,
    Listener,
    NodeAvoided,
    Paused,
    Resumed,
    TaskDone,
    TaskFailed,
    TaskRetried,
    WorkerLost,
)
from cluster.messages import Asked, Assignment, Failure
from cluster.pools.base import Ended, Lost, Pool, Station
from jobs.errors import ClusterError, LeaseLostError, StorageError, StorageFullError
from jobs.inputs.addresses import display, without_secrets
from jobs.records.commit import Records
from jobs.records.record import AttemptRecord, OutputRecord, TaskRecord, style_records
from jobs.tasks.task import Task

POLL_SECONDS = 0.25
"""How long to wait for an outcome before looking at retries, signals and progress again."""

HUNGRY_SECONDS = 0.02
"""The same while workers have to wait for the job to be read."""

BEAT_SECONDS = 0.5
"""How often to say what is running; with very many workers less often."""

WORKERS_PER_BEAT_SECOND = 200

RECALL_SECONDS = 2.0
"""How long a worker is idle, with nothing left to begin, before another's waiting call is sent back."""

LATE_SECONDS = 5.0
"""How much longer than their grace workers are waited for."""


Reason = Literal["complete", "interrupted", "preempted", "limit", StopReason]


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a run."""

    attempts: int = 3
    """At each task."""
    batch: int | None = 1
    """Pictures painted together; None: as many as pay."""
    tasks: int | None = None
    max_failures: int | None = None
    max_gpu_hours: float | None = None
    storage_patience: float = 3600.0
    """Seconds for which the storage may be in trouble."""
    grace: float = 20.0
    """Seconds that workers have to store a checkpoint when everything is taken away."""


@dataclass
class Counts:
    """What a run came to."""

    done: int = 0
    failed: int = 0
    reason: Reason = "complete"


class Driver:
    """Takes the tasks of a job through a pool to their records.

    ``tasks`` must yield only what is to be done, and None while more is being read. ``kept`` are the last
    good pictures of tasks that failed earlier, by id. ``asked`` says whether the run is to end. ``probe``
    raises StorageError while the output cannot be used. ``left`` says how many tasks the job has left in
    all, once that is known.
    """

    def __init__(
        self,
        tasks: Iterator[Task | None],
        pool: Pool,
        records: Records,
        listen: Listener,
        *,
        limits: Limits | None = None,
        asked: Callable[[], Asked] = lambda: "no",
        kept: Mapping[str, OutputRecord] | None = None,
        probe: Callable[[], None] = lambda: None,
        left: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or Limits()
        most = math.inf if self._limits.tasks is None else self._limits.tasks
        self._backlog = Backlog(tasks, most)
        self._pool = pool
        self._listen = listen
        self._asked = asked
        self._kept = kept or {}
        self._left = left
        self._clock = clock
        self._committer = Committer(records, pool.wake)
        self._refused: list[Commit] = []
        """Records that the storage did not take."""
        self._trouble = Trouble(probe, clock)
        self._health = Health(clock)
        self._running: dict[str, Effort] = {}
        """By the id of the attempt; one that is not here was given up, and its outcome is ignored."""
        self._given_up = 0
        """Tasks, also those whose records are still on their way."""
        self._stop: Reason | None = None
        self._left_at: float | None = None
        self._beat_at = -math.inf
        self._idle_since: float | None = None
        self.counts = Counts()

    def run(self) -> Counts:
        """Until everything is done or the run is stopped. Raises StorageError and ClusterError."""
        try:
            self._run()
        except BaseException:
            self._committer.close(wait=False)
            raise
        self._committer.close()
        cut_short = self._backlog.cut_short
        self.counts.reason = self._stop or ("limit" if cut_short else "complete")
        return self.counts

    def _run(self) -> None:
        while True:
            self._see_whether_to_stop()

            # Fill free slots: tasks whose time to be tried again has come first, then new ones.
            self._fill()

            if self._is_over():
                return

            # Wait for what ends; commit it, or try again.
            for ended in self._pool.wait(self._patience()):
                self._end(ended)
            self._collect_commits()
            self._see_to_trouble()
            self._beat()

    def _is_over(self) -> bool:
        if (
            self._left_at is not None
            and self._clock() - self._left_at > self._limits.grace + LATE_SECONDS
        ):
            return True
        if self._running or self._committer.waiting or self._refused:
            return False
        return self._stop is not None or self._backlog.empty

    def _patience(self) -> float:
        """How long to wait for an outcome: less when a task is to be tried again before, or the job is
        being read and nothing is at hand."""
        due, backlog = self._backlog.next_due, self._backlog
        hungry = not backlog.waiting and not backlog.exhausted
        most = HUNGRY_SECONDS if hungry else POLL_SECONDS
        return most if due is None else max(0.0, min(most, due - self._clock()))

    # -- whether to go on ---------------------------------------------------------------------------

    def _see_whether_to_stop(self) -> None:
        asked = self._asked()
        limits = self._limits
        reason: Reason | None = must_stop(
            self._given_up, limits.max_failures, self._pool.gpu_hours, limits.max_gpu_hours
        )
        if asked != "no":
            reason = "interrupted" if asked == "drain" else "preempted"
        if reason is not None and self._stop is None:
            self._stop = reason
            if reason != "preempted":
                self._listen(Draining(len(self._running)))
                self._pool.drain()
        if asked == "leave" and self._left_at is None:
            self._stop = "preempted"
            self._left_at = self._clock()
            self._listen(Draining(len(self._running), leaving=True))
            self._pool.leave()

    # -- handing out --------------------------------------------------------------------------------

    def _fill(self) -> None:
        if self._stop is not None or self._trouble.since is not None:
            return
        if self._committer.waiting > MOST_WAITING:
            return
        backlog = self._backlog
        backlog.fill(self._clock())
        self._pool.want(self._outstanding())
        classes = self._pool.memory_classes()
        for station in self._pool.open_stations():
            if not backlog.waiting:
                break
            # Near the end what is left is shared out, not painted together by one worker.
            share = 10**9
            if backlog.exhausted:
                workers = self._pool.workers + self._pool.pending
                share = max(1, -(-backlog.waiting // max(1, workers)))
            efforts = backlog.take(
                station, classes, self._limits.batch, share, growing=self._pool.growing
            )
            if efforts:
                self._begin(station, efforts)
            if not backlog.waiting:
                backlog.fill(self._clock())
        self._recall()

    def _outstanding(self) -> int | None:
        """Tasks that are not done, if it is known how many."""
        backlog = self._backlog
        here = len(self._running) + len(backlog)
        if backlog.exhausted:
            return here
        left = self._left()
        if left is None:
            return None
        done = self.counts.done + self.counts.failed
        return max(here, min(left, self._limits.tasks or left) - done)

    def _begin(self, station: Station, efforts: list[Effort]) -> None:
        assignments = []
        for effort in efforts:
            effort.attempt += 1
            # Of 32 bits, two would be the same now and then in a job of a million tasks.
            attempt = f"{effort.attempt}-{secrets.token_hex(8)}"
            effort.began = time.time()
            self._running[attempt] = effort
            assignments.append(Assignment(effort.task, attempt, effort.apart))
        self._pool.submit(station, assignments)

    def _recall(self) -> None:
        """Where workers have nothing to do, and others have calls that wait, send some back: else the end of
        a job takes as long as the longest queue at a worker."""
        backlog, now = self._backlog, self._clock()
        if not backlog.exhausted or len(backlog) or len(self._running) <= 1:
            self._idle_since = None
            return
        idle = sum(1 for station in self._pool.open_stations() if not station.calls)
        if not idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= RECALL_SECONDS:
            self._idle_since = now
            self._pool.recall(idle)

    # -- taking back --------------------------------------------------------------------------------

    def _end(self, ended: Ended | Lost) -> None:
        if isinstance(ended, Lost):
            self._lose(ended)
            return
        outcome, station = ended.outcome, ended.station
        effort = self._running.pop(outcome.attempt.id, None)
        if effort is None:
            return
        if outcome.record is not None:
            self._health.succeeded(station.key)
            self._done(effort, outcome.record, outcome.checkpoint)
        elif outcome.failure is not None:
            effort.past.append(outcome.attempt)
            self._fail(effort, station, outcome.failure, checkpoint=outcome.checkpoint)

    def _lose(self, lost: Lost) -> None:
        """A worker is gone."""
        station, failure = lost.station, lost.failure
        self._listen(
            WorkerLost(
                station.name, station.node, failure.message, failure.kind, len(lost.attempts)
            )
        )
        if failure.kind != "preempted":
            faults = self._health.lost(station.key, station.node)
            others = self._health.others(station.node, self._pool.nodes())
            if is_bad_node(faults, others):
                self._pool.avoid(station.node)
                self._listen(NodeAvoided(station.node, faults))
        for attempt in lost.attempts:
            effort = self._running.pop(attempt, None)
            if effort is not None:
                painting = attempt in lost.painting
                effort.past.append(_lost_attempt(attempt, station, failure, effort.began))
                self._fail(effort, station, failure, painting=painting)

    def _done(self, effort: Effort, record: TaskRecord, checkpoint: bool) -> None:
        record = record.model_copy(update={"attempts": [*effort.past, *record.attempts]})

        def announce() -> None:
            self.counts.done += 1
            self._listen(
                TaskDone(
                    id=record.id,
                    name=record.name,
                    image=record.output.key if record.output else "",
                    steps=record.steps,
                    work=effort.task.recipe.total_work,
                    seconds=record.seconds.get("render", 0.0),
                    total=record.losses.get("total"),
                    worker=record.attempts[-1].worker,
                    phases=record.seconds,
                )
            )

        self._commit(record, checkpoint, announce)

    def _commit(self, record: TaskRecord, checkpoint: bool, announce: Callable[[], None]) -> None:
        self._committer.submit(Commit(record, self._kept.get(record.id), checkpoint, announce))

    def _fail(
        self,
        effort: Effort,
        station: Station,
        failure: Failure,
        *,
        painting: bool = True,
        checkpoint: bool = False,
    ) -> None:
        decision = decide(self._situation(effort, station, failure, painting))
        effort.apart = effort.apart or decision.apart
        if decision.larger:
            effort.above_bytes = station.memory_bytes or 0
        if not decision.counts:
            effort.attempt -= 1
            effort.returns += failure.kind != "recalled"
            if failure.kind == "recalled" or not painting:
                effort.past.pop()
        if decision.worker == "replace":
            reason = f"one task after the other fails there, the last: {failure.message}"
            self._pool.replace(station, reason)
        if decision.floor == "abort":
            self._abort(failure)
        if decision.floor == "pause":
            self._pause(StorageError(failure.message))
        task = effort.task
        if decision.task == "again" and self._stop is None:
            self._backlog.put_back(effort, self._clock() + decision.delay)
            if decision.counts or failure.kind not in ("recalled", "worker"):
                self._listen(
                    TaskRetried(
                        task.id,
                        task.name,
                        failure.message,
                        effort.attempt,
                        decision.delay,
                        failure.kind,
                    )
                )
        elif decision.task == "give_up":
            self._give_up(effort, failure, checkpoint)

    def _situation(
        self, effort: Effort, station: Station, failure: Failure, painting: bool
    ) -> Situation:
        kind, health = failure.kind, self._health
        in_a_row = 0
        if kind in ("bug", "fetch", "memory", "weights"):
            in_a_row = health.failed(station.key, effort.task.id)
        classes = self._pool.memory_classes()
        return Situation(
            kind,
            attempt=effort.attempt,
            attempts=self._limits.attempts,
            returns=effort.returns,
            painting=painting,
            apart=effort.apart,
            larger=bool(station.memory_bytes and classes and classes[-1] > station.memory_bytes),
            in_a_row=in_a_row,
            trouble_seconds=self._trouble.seconds,
            patience_seconds=self._limits.storage_patience,
        )

    def _give_up(self, effort: Effort, failure: Failure, checkpoint: bool) -> None:
        task, attempts = effort.task, effort.attempt
        self._given_up += 1

        def announce() -> None:
            self.counts.failed += 1
            self._listen(
                TaskFailed(
                    task.id,
                    task.name,
                    failure.message,
                    task.recipe.total_work,
                    attempts,
                    failure.kept.key if failure.kept else None,
                )
            )

        self._commit(_failed_record(effort, failure), checkpoint, announce)

    def _abort(self, failure: Failure) -> None:
        if failure.kind == "full":
            raise StorageFullError(failure.message)
        raise (StorageError if failure.kind == "storage" else ClusterError)(failure.message)

    # -- the storage --------------------------------------------------------------------------------

    def _collect_commits(self) -> None:
        for commit, error in self._committer.finished():
            if error is None:
                lasted = self._trouble.healed()
                if lasted is not None:
                    self._listen(Resumed(round(lasted, 1)))
                commit.announce()
            elif isinstance(error, StorageFullError | LeaseLostError):
                raise error
            else:
                self._refused.append(commit)
                self._pause(error)

    def _pause(self, error: StorageError) -> None:
        if self._trouble.met(error):
            self._listen(Paused(str(error), self._limits.storage_patience))

    def _see_to_trouble(self) -> None:
        trouble = self._trouble
        if trouble.seems_over():
            refused, self._refused = self._refused, []
            for commit in refused:
                self._committer.submit(commit)
        elif trouble.since is not None and trouble.error is not None:
            # Who wants to stop is not made to wait for what may not come.
            give_up = self._stop is not None and trouble.looks > 0 and not self._running
            if trouble.seconds > self._limits.storage_patience or give_up:
                raise trouble.error

    def _beat(self) -> None:
        pool, now = self._pool, self._clock()
        if now - self._beat_at < max(BEAT_SECONDS, pool.workers / WORKERS_PER_BEAT_SECOND):
            return
        self._beat_at = now
        self._listen(
            Beat(
                self.counts.done,
                self.counts.failed,
                pool.workers,
                tuple(pool.progress()),
                pending=pool.pending,
                waiting=self._backlog.waiting,
                retrying=len(self._backlog) - self._backlog.waiting,
                in_flight=len(self._running),
                paused=self._trouble.since is not None,
                gpu_hours=round(pool.gpu_hours, 4),
                fleet=tuple(pool.states()),
            )
        )


def _lost_attempt(attempt: str, station: Station, failure: Failure, began: float) -> AttemptRecord:
    return AttemptRecord(
        id=attempt,
        worker=station.name,
        node=station.host,
        device=station.device.name,
        memory_bytes=station.device.memory_bytes,
        driver=station.device.driver,
        started=began,
        seconds=round(time.time() - began, 3),
        error=failure.message,
    )


def _failed_record(effort: Effort, failure: Failure) -> TaskRecord:
    task = effort.task
    return TaskRecord(
        id=task.id,
        name=task.name,
        status="failed",
        error=failure.message,
        content=display(task.content),
        styles=style_records(task.styles),
        init=display(task.init) if task.init else None,
        kept=failure.kept,
        recipe=without_secrets(task.recipe.model_dump(mode="json")),
        weights_digest=task.weights_digest,
        attempts=effort.past,
        finished=time.time(),
    )
