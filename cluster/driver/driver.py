"""The driver: fill the workers, wait for what ends, commit it or retry it.

The driver runs in one thread and reads top to bottom. It holds the tasks in flight and those to be retried,
never the whole job.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cluster.driver.backlog import Backlog, TaskRun
from cluster.driver.committer import MOST_WAITING, Commit, Committer
from cluster.driver.failure_policy import Situation, StopReason, decide, is_bad_node, must_stop
from cluster.driver.fault_counts import FaultCounts
from cluster.driver.storage_outage import StorageOutage
from cluster.events.events import (
    Beat,
    Draining,
    Listener,
    MasksDoubtful,
    NodeAvoided,
    PagesLeftOut,
    Paused,
    Resumed,
    ShareChanged,
    TaskDone,
    TaskFailed,
    TaskRetried,
    WishesChanged,
    WorkerLost,
)
from cluster.messages import Asked, Assignment, Failure, Outcome, Wishes, attempt_record
from cluster.pools.base import Ended, Lost, Pool, WorkerHandle
from jobs.errors import ClusterError, LeaseLostError, StorageError, StorageFullError
from jobs.records.commit import Records
from jobs.records.record import OutputRecord, TaskRecord
from jobs.tasks.task import Task

POLL_SECONDS = 0.25
"""How long to wait for an outcome before polling retries, signals and progress again, in seconds."""

HUNGRY_SECONDS = 0.02
"""The same while workers wait for the job to be read, in seconds."""

BEAT_SECONDS = 0.5
"""The interval between two ``Beat`` events, in seconds; longer with very many workers."""

WORKERS_PER_BEAT_SECOND = 200

RECALL_SECONDS = 2.0
"""How long a worker is idle, with no task left to start, before another worker's waiting call is recalled."""

LATE_SECONDS = 5.0
"""How much longer than their grace period preempted workers are waited for, in seconds."""


Reason = Literal["complete", "interrupted", "preempted", "limit", StopReason]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run."""

    max_attempts: int = 3
    """Attempts per task, >= 1."""
    batch: int | None = 1
    """Pictures painted together; None: as many as speed the device up."""
    members: int = 1
    """Devices that share each picture."""
    tasks: int | None = None
    """Tasks to take from the job; None: all."""
    max_failures: int | None = None
    """Failed tasks after which the run stops; None: no limit."""
    max_gpu_hours: float | None = None
    """Device hours after which the run stops; None: no limit."""
    storage_patience: float = 3600.0
    """How long an outage of the storage may last, in seconds."""
    grace: float = 20.0
    """How long preempted workers have to store a checkpoint, in seconds."""


@dataclass
class Counts:
    """The tasks that a run has ended, and why the run ended."""

    done: int = 0
    failed: int = 0
    reason: Reason = "complete"


class Driver:
    """Takes the tasks of a job through a pool to their records.

    Args:
        tasks: The tasks to render; None means that none has been read yet.
        pool: The workers.
        records: Takes the finished tasks.
        listen: Hears every event, on the driver's thread.
        limits: The limits of the run.
        asked: Returns whether the run is asked to end.
        kept: The last good pictures of tasks that failed in earlier runs, by task id.
        probe: Raises StorageError while the output cannot be used.
        left: Returns the number of tasks left in the whole job; None until it is known.
        useful: Returns the number of workers that the job can use at once, at most, because frames wait for
            others; None: any number, or it is not known yet.
        wishes: Returns what is asked of the run meanwhile.
        failed_before: Returns, as ``cluster.driver.held.as_told`` does, why a task failed in an earlier run;
            None: it did not, or is rendered again.
        committed: Takes each record once it is written, after the event; on the driver's thread.
        clock: Seconds from any origin.
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
        useful: Callable[[], int | None] = lambda: None,
        wishes: Callable[[], Wishes] = Wishes,
        failed_before: Callable[[str], str | None] = lambda task_id: None,
        committed: Callable[[TaskRecord], None] = lambda record: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or Limits()
        most = math.inf if self._limits.tasks is None else self._limits.tasks
        self._backlog = Backlog(tasks, most, self._limits.members, failed_before)
        self._pool = pool
        self._listen = listen
        self._asked = asked
        self._kept = kept or {}
        self._left = left
        self._useful = useful
        self._clock = clock
        self._wishes = wishes
        self._committed = committed
        self._known_wishes = Wishes()
        self._committer = Committer(records, pool.wake)
        self._refused: list[Commit] = []
        """Records that the storage did not take."""
        self._outage = StorageOutage(probe, clock)
        self._faults = FaultCounts(clock)
        self._running: dict[str, TaskRun] = {}
        """By attempt id. An attempt that is not here was given up, and its outcome is ignored."""
        self._given_up = 0
        """Failed tasks, including those whose records are not written yet."""
        self._stop: Reason | None = None
        self._preempted_at: float | None = None
        self._beat_at = -math.inf
        self._idle_since: float | None = None
        self._share: int | None = None
        """The workers that the run may have beside others; None: nothing is shared."""
        self.counts = Counts()

    def run(self) -> Counts:
        """Render until everything is done or the run is stopped.

        Returns:
            The tasks that this run has ended, and the reason why it stopped.

        Raises:
            StorageError: The storage is full, lost to another run, or was down for too long.
            ClusterError: No worker can be had, or none can load the weights.
        """
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
            self._check_stop()

            # Fill free workers: with retries that are due first, then with new tasks.
            self._fill()

            if self._is_over():
                return

            # Wait for what ends; commit it or retry it.
            for ended in self._pool.wait(self._wait_seconds()):
                self._end(ended)
            self._collect_commits()
            self._check_outage()
            self._beat()

    def _is_over(self) -> bool:
        if (
            self._preempted_at is not None
            and self._clock() - self._preempted_at > self._limits.grace + LATE_SECONDS
        ):
            return True
        if self._running or self._committer.waiting or self._refused:
            return False
        return self._stop is not None or self._backlog.empty

    def _wait_seconds(self) -> float:
        """Return how long to wait for an outcome: less when a retry is due before, or when the job is being
        read and the backlog is empty."""
        due, backlog = self._backlog.next_due, self._backlog
        most = HUNGRY_SECONDS if backlog.hungry else POLL_SECONDS
        return most if due is None else max(0.0, min(most, due - self._clock()))

    # -- whether to stop ----------------------------------------------------------------------------

    def _check_stop(self) -> None:
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
                self._listen(Draining(running=len(self._running)))
                self._pool.drain()
        if asked == "preempt" and self._preempted_at is None:
            self._stop = "preempted"
            self._preempted_at = self._clock()
            self._listen(Draining(running=len(self._running), preempted=True))
            self._pool.preempt()

    # -- handing out --------------------------------------------------------------------------------

    def _fill(self) -> None:
        if self._stop is not None or self._outage.since is not None:
            return
        if self._committer.waiting > MOST_WAITING:
            return
        backlog = self._backlog
        backlog.fill(self._clock())
        self._give_up_lost()
        self._pool.want(self._wanted())
        classes = self._pool.memory_classes()
        for worker in self._pool.open_workers():
            if not backlog.waiting or (worker.calls and self._leaves_for_free_workers()):
                break
            # Near the end of a job tasks are shared out, not painted together by one worker; and so are
            # frames for which others wait.
            share = 10**9
            if backlog.exhausted or backlog.held:
                workers = self._pool.workers + self._pool.pending
                share = max(1, -(-backlog.waiting // max(1, workers)))
            task_runs = backlog.take(
                worker,
                classes,
                self._limits.batch,
                share,
                growing=self._pool.growing,
            )
            if task_runs:
                self._begin(worker, task_runs)
            if not backlog.waiting:
                backlog.fill(self._clock())
        self._recall()

    def _leaves_for_free_workers(self) -> bool:
        """Return whether busy workers get nothing in advance: where frames wait for others, they would paint
        it before a frame that is set free meanwhile and for which many wait."""
        backlog, workers = self._backlog, self._pool.workers
        return backlog.held > 0 and workers > 1 and backlog.waiting < workers

    def _wanted(self) -> int | None:
        """Return the number of workers beyond which none has anything to paint; None: it is not known."""
        outstanding, useful = self._outstanding(), self._useful()
        if outstanding is None or useful is None:
            return useful if outstanding is None else outstanding
        return min(outstanding, useful)

    def _outstanding(self) -> int | None:
        """Return the number of tasks that are not done; None until it is known."""
        backlog = self._backlog
        here = len(self._running) + len(backlog)
        if backlog.exhausted:
            return here
        left = self._left()
        if left is None:
            return None
        ended = self.counts.done + self.counts.failed
        return max(here, min(left, self._limits.tasks or left) - ended)

    def _begin(self, worker: WorkerHandle, task_runs: list[TaskRun]) -> None:
        assignments = []
        for task_run in task_runs:
            task_run.attempt_number += 1
            # With 32 bits, two ids would collide now and then in a job of a million tasks.
            attempt_id = f"{task_run.attempt_number}-{secrets.token_hex(8)}"
            task_run.started_at = time.time()
            self._running[attempt_id] = task_run
            assignments.append(Assignment(task_run.task, attempt_id, task_run.isolated))
        self._pool.submit(worker, assignments)

    def _recall(self) -> None:
        """Recall calls that wait at workers while others are idle: else the end of a job takes as long as
        the longest queue at a worker."""
        backlog, now = self._backlog, self._clock()
        may_start = backlog.waiting or backlog.retrying or backlog.hungry
        if may_start or len(self._running) <= 1:
            self._idle_since = None
            return
        idle = sum(1 for worker in self._pool.open_workers() if not worker.calls)
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
        outcome, worker = ended.outcome, ended.worker
        if outcome.doubts:
            self._listen(MasksDoubtful(masks=len(outcome.doubts), first=outcome.doubts))
        if outcome.pages:
            self._listen(PagesLeftOut(pictures=len(outcome.pages), first=outcome.pages))
        task_run = self._running.pop(outcome.attempt_record.id, None)
        if task_run is None:
            return
        if outcome.record is not None:
            self._faults.succeeded(worker.key)
            self._done(task_run, outcome.record, outcome)
        elif outcome.failure is not None:
            task_run.attempts.append(outcome.attempt_record)
            self._fail(task_run, worker, outcome.failure, outcome=outcome)

    def _lose(self, lost: Lost) -> None:
        """Take back the attempts of a lost worker, and avoid its node if it loses too many."""
        worker, failure = lost.worker, lost.failure
        self._listen(
            WorkerLost(
                worker=worker.name,
                node=worker.node,
                reason=failure.message,
                kind=failure.kind,
                attempts=len(lost.attempt_ids),
            )
        )
        if failure.kind != "preempted":
            faults = self._faults.lost(worker.key, worker.node)
            others = self._faults.median_of_others(worker.node, self._pool.nodes())
            if is_bad_node(faults, others):
                self._pool.avoid(worker.node)
                self._listen(NodeAvoided(node=worker.node, faults=faults))
        for attempt_id in lost.attempt_ids:
            task_run = self._running.pop(attempt_id, None)
            if task_run is not None:
                task_run.attempts.append(
                    attempt_record(
                        attempt_id,
                        worker=worker.name,
                        host=worker.host,
                        device=worker.device,
                        started=task_run.started_at,
                        error=failure.message,
                    )
                )
                painting = attempt_id in lost.painting
                self._fail(task_run, worker, failure, painting=painting)

    def _done(self, task_run: TaskRun, record: TaskRecord, outcome: Outcome) -> None:
        record = record.model_copy(update={"attempts": [*task_run.attempts, *record.attempts]})

        def announce() -> None:
            self.counts.done += 1
            self._listen(
                TaskDone(
                    id=record.id,
                    name=record.name,
                    image=record.output.key if record.output else "",
                    steps=record.steps,
                    work=task_run.task.work,
                    seconds=record.seconds.get("render", 0.0),
                    total=record.losses.get("total"),
                    worker=record.attempts[-1].worker,
                    phases=record.seconds,
                    thumbnail=record.output.thumbnail if record.output else None,
                )
            )

        self._commit(record, outcome, announce)

    def _commit(
        self, record: TaskRecord, outcome: Outcome | None, announce: Callable[[], None]
    ) -> None:
        commit = Commit(
            record,
            self._kept.get(record.id),
            checkpoint=outcome is not None and outcome.checkpoint,
            preview=outcome is not None and outcome.preview,
            announce=announce,
        )
        self._committer.submit(commit)

    def _fail(
        self,
        task_run: TaskRun,
        worker: WorkerHandle,
        failure: Failure,
        *,
        painting: bool = True,
        outcome: Outcome | None = None,
    ) -> None:
        """Do with a failed attempt what ``failure_policy.decide`` says."""
        decision = decide(self._situation(task_run, worker, failure, painting))
        checkpoint = outcome is not None and outcome.checkpoint
        task_run.isolated = task_run.isolated or decision.isolated
        if decision.larger:
            task_run.above_bytes = worker.memory_bytes or 0
        if not decision.counts:
            task_run.attempt_number -= 1
            own_wish = failure.kind in ("recalled", "yielded")
            task_run.requeues += not own_wish
            # Of what was given back with a checkpoint, the record says where the first steps were made.
            if (own_wish and not checkpoint) or not painting:
                task_run.attempts.pop()
        if decision.worker == "replace":
            reason = f"several tasks in a row failed there; the last one: {failure.message}"
            self._pool.replace(worker, reason)
        if decision.floor == "abort":
            self._abort(failure)
        if decision.floor == "pause":
            self._pause(StorageError(failure.message))
        if decision.task == "again" and self._stop is None:
            self._backlog.put_back(task_run, self._clock() + decision.delay)
            if decision.counts or failure.kind not in ("recalled", "yielded", "worker"):
                self._listen(
                    TaskRetried(
                        id=task_run.task.id,
                        name=task_run.task.name,
                        error=failure.message,
                        attempt_number=task_run.attempt_number,
                        delay=decision.delay,
                        kind=failure.kind,
                    )
                )
        elif decision.task == "give_up":
            self._give_up(task_run, failure, outcome)

    def _situation(
        self, task_run: TaskRun, worker: WorkerHandle, failure: Failure, painting: bool
    ) -> Situation:
        kind = failure.kind
        in_a_row = 0
        if kind in ("bug", "fetch", "memory", "weights"):
            in_a_row = self._faults.failed(worker.key, task_run.task.id)
        classes = self._pool.memory_classes()
        return Situation(
            kind,
            attempt_number=task_run.attempt_number,
            max_attempts=self._limits.max_attempts,
            requeues=task_run.requeues,
            painting=painting,
            isolated=task_run.isolated,
            larger=bool(worker.memory_bytes and classes and classes[-1] > worker.memory_bytes),
            in_a_row=in_a_row,
            outage_seconds=self._outage.seconds,
            patience_seconds=self._limits.storage_patience,
        )

    def _give_up(self, task_run: TaskRun, failure: Failure, outcome: Outcome | None) -> None:
        task, attempts = task_run.task, task_run.attempt_number
        self._given_up += 1
        record = task.record(
            "failed",
            error=failure.message,
            kept=failure.kept,
            card=failure.card,
            attempts=task_run.attempts,
        )

        def announce() -> None:
            self.counts.failed += 1
            self._listen(
                TaskFailed(
                    id=task.id,
                    name=task.name,
                    error=failure.message,
                    work=task.work,
                    attempts=attempts,
                    kept=failure.kept.key if failure.kept else None,
                )
            )

        self._commit(record, outcome, announce)

    def _give_up_lost(self) -> None:
        """Fail the frames that hold to one that has failed. They are none of the failures that end a run."""
        for lost in self._backlog.lost():
            task = lost.what.task
            record = task.record("failed", error=lost.reason)

            def announce(task: Task = task, reason: str = lost.reason) -> None:
                self.counts.failed += 1
                self._listen(
                    TaskFailed(
                        id=task.id,
                        name=task.name,
                        error=reason,
                        work=task.work,
                        attempts=0,
                        kept=None,
                    )
                )

            self._commit(record, None, announce)

    def _abort(self, failure: Failure) -> None:
        if failure.kind == "full":
            raise StorageFullError(failure.message)
        raise (StorageError if failure.kind == "storage" else ClusterError)(failure.message)

    # -- the storage --------------------------------------------------------------------------------

    def _collect_commits(self) -> None:
        for commit, error in self._committer.finished():
            if error is None:
                lasted = self._outage.end()
                if lasted is not None:
                    self._listen(Resumed(seconds=round(lasted, 1)))
                commit.announce()
                self._backlog.ended(commit.record)
                self._committed(commit.record)
            elif isinstance(error, StorageFullError | LeaseLostError):
                raise error
            else:
                self._refused.append(commit)
                self._pause(error)

    def _pause(self, error: StorageError) -> None:
        if self._outage.begin(error):
            self._listen(Paused(reason=str(error), patience=self._limits.storage_patience))

    def _check_outage(self) -> None:
        outage = self._outage
        if outage.seems_over():
            refused, self._refused = self._refused, []
            for commit in refused:
                self._committer.submit(commit)
        elif outage.since is not None and outage.error is not None:
            # A run that is asked to stop does not wait for a storage that may never return.
            give_up = self._stop is not None and outage.probes > 0 and not self._running
            if outage.seconds > self._limits.storage_patience or give_up:
                raise outage.error

    def _note_wishes(self) -> None:
        wishes = self._wishes()
        if wishes != self._known_wishes:
            self._known_wishes = wishes
            self._listen(
                WishesChanged(
                    paused=wishes.paused,
                    workers=wishes.workers,
                    priority=wishes.priority,
                    by=wishes.by,
                )
            )

    def _note_share(self) -> None:
        share = self._pool.share
        if share is not None and share != self._share and self._stop is None:
            self._listen(ShareChanged(workers=share, before=self._share, waits=self._pool.waits))
            self._share = share

    def _beat(self) -> None:
        pool, now = self._pool, self._clock()
        if now - self._beat_at < max(BEAT_SECONDS, pool.workers / WORKERS_PER_BEAT_SECOND):
            return
        self._beat_at = now
        self._note_wishes()
        self._note_share()
        self._listen(
            Beat(
                done=self.counts.done,
                failed=self.counts.failed,
                workers=pool.workers,
                running=tuple(pool.progress()),
                pending=pool.pending,
                waiting=self._backlog.waiting,
                retrying=self._backlog.retrying,
                in_flight=len(self._running),
                paused=self._outage.since is not None,
                gpu_hours=round(pool.gpu_hours, 4),
                waits=pool.waits,
                wanted=pool.wanted,
                given_back=pool.given_back,
                fleet=tuple(pool.states()),
            )
        )
