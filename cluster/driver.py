"""The driver: fill the slots, wait for what ends, commit it or try again.

It runs in one thread and reads top to bottom. It holds the tasks in flight and those that wait to be tried
again, never the job.
"""

from __future__ import annotations

import heapq
import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cluster.events import Beat, Draining, Listener, TaskDone, TaskFailed, TaskRetried
from cluster.messages import Failure, Outcome
from cluster.pool import Lost, Pool
from cluster.retry import decide
from jobs.errors import ClusterError, StorageError
from jobs.records import Records
from jobs.tasks import AttemptRecord, OutputRecord, Task, TaskRecord, style_records
from jobs.web import display, without_secrets

POLL_SECONDS = 0.25
"""How long to wait for an outcome before looking at retries, signals and progress again."""

BEAT_SECONDS = 0.5
"""How often to say what is running."""

_END = object()
"""There are no more tasks."""

Reason = Literal["complete", "interrupted", "limit", "max_failures"]


@dataclass
class _Effort:
    """A task that was begun: its attempts so far."""

    task: Task
    number: int = 0
    current: str = ""
    past: list[AttemptRecord] = field(default_factory=list)


@dataclass
class Counts:
    """What a run came to."""

    done: int = 0
    failed: int = 0
    reason: Reason = "complete"


class Driver:
    """Takes the tasks of a job through a pool to their records.

    ``tasks`` must yield only what is to be done, and None while more is being read. ``attempts`` is the
    most for each task; ``max_failures`` stops the run when so many tasks have failed. ``kept`` are the last
    good pictures of tasks that failed earlier, by id. When ``should_stop`` says yes, nothing more is begun,
    and what is painting finishes and is committed.
    """

    def __init__(
        self,
        tasks: Iterator[Task | None],
        pool: Pool,
        records: Records,
        listen: Listener,
        *,
        attempts: int = 3,
        max_failures: int | None = None,
        limit: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        kept: Mapping[str, OutputRecord] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._limit = math.inf if limit is None else limit
        self._pool = pool
        self._records = records
        self._listen = listen
        self._attempts = attempts
        self._max_failures = max_failures
        self._should_stop = should_stop
        self._kept = kept or {}
        self._clock = clock
        self._running: dict[str, _Effort] = {}
        """By the id of the attempt; one that is not here was given up, and its outcome is ignored."""
        self._again: list[tuple[float, int, _Effort]] = []
        self._ticket = itertools.count()
        self._begun = 0
        self._exhausted = False
        self._cut_short = False
        self._stop: Reason | None = None
        self._beat_at = -math.inf
        self.counts = Counts()

    def run(self) -> Counts:
        """Until everything is done or the run is stopped. Raises StorageError and ClusterError."""
        drained = False
        while True:
            if self._should_stop():
                self._stop = self._stop or "interrupted"

            # Fill free slots: tasks whose time to be tried again has come first, then new ones.
            while self._stop is None and self._pool.free_slots > 0:
                effort = self._next_effort()
                if effort is None:
                    break
                self._begin(effort)
            if self._stop is not None and not drained:
                drained = True
                self._listen(Draining(len(self._running)))
                self._pool.drain()
            if not self._running and (self._stop is not None or self._nothing_left()):
                break

            # Wait for what ends; commit it, or try again.
            for ended in self._pool.wait(POLL_SECONDS):
                self._end(ended)
            if not self._running and self._again and self._stop is None:
                self._sleep_until_due()
            self._beat()
        self.counts.reason = self._stop or ("limit" if self._cut_short else "complete")
        return self.counts

    def _next_effort(self) -> _Effort | None:
        if self._again and self._again[0][0] <= self._clock():
            return heapq.heappop(self._again)[2]
        if self._exhausted:
            return None
        if self._begun >= self._limit:
            self._exhausted = self._cut_short = True
            return None
        task = next(self._tasks, _END)
        if isinstance(task, Task):
            self._begun += 1
            return _Effort(task)
        self._exhausted = task is _END
        return None

    def _begin(self, effort: _Effort) -> None:
        effort.number += 1
        effort.current = f"{effort.number}-{secrets.token_hex(4)}"
        self._running[effort.current] = effort
        self._pool.submit(effort.task, effort.current)

    def _end(self, ended: Outcome | Lost) -> None:
        if isinstance(ended, Lost):
            effort = self._running.pop(ended.attempt, None)
            if effort is not None and not ended.painting:
                self._put_back(effort)
            elif effort is not None:
                effort.past.append(_lost_attempt(ended))
                self._fail(effort, ended.failure)
            return
        effort = self._running.pop(ended.attempt.id, None)
        if effort is None:
            return
        if ended.record is not None:
            self._commit(effort, ended.record, ended.checkpoint)
        elif ended.failure is not None:
            effort.past.append(ended.attempt)
            self._fail(effort, ended.failure, ended.checkpoint)

    def _commit(self, effort: _Effort, record: TaskRecord, checkpoint: bool) -> None:
        record = record.model_copy(update={"attempts": [*effort.past, *record.attempts]})
        self._records.commit(record, self._kept.get(record.id), checkpoint=checkpoint)
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
            )
        )

    def _fail(self, effort: _Effort, failure: Failure, checkpoint: bool = False) -> None:
        decision = decide(failure.kind, effort.number, self._attempts)
        task = effort.task
        if decision.what == "again" and self._stop is None:
            heapq.heappush(
                self._again, (self._clock() + decision.delay, next(self._ticket), effort)
            )
            self._listen(
                TaskRetried(task.id, task.name, failure.message, effort.number, decision.delay)
            )
        elif decision.what == "abort":
            ours = failure.kind in ("storage", "full")
            raise (StorageError if ours else ClusterError)(failure.message)
        elif decision.what == "give_up":
            failed = _failed_record(effort, failure)
            self._records.commit(failed, self._kept.get(task.id), checkpoint=checkpoint)
            self.counts.failed += 1
            self._listen(
                TaskFailed(
                    task.id,
                    task.name,
                    failure.message,
                    task.recipe.total_work,
                    effort.number,
                    failure.kept.key if failure.kept else None,
                )
            )
            if self._max_failures is not None and self.counts.failed >= self._max_failures:
                self._stop = self._stop or "max_failures"

    def _put_back(self, effort: _Effort) -> None:
        """It only waited at a worker that died of something else: that was no attempt."""
        effort.number -= 1
        heapq.heappush(self._again, (self._clock(), next(self._ticket), effort))

    def _nothing_left(self) -> bool:
        return self._exhausted and not self._again

    def _sleep_until_due(self) -> None:
        due = self._again[0][0] - self._clock()
        if due > 0:
            time.sleep(min(due, POLL_SECONDS))

    def _beat(self) -> None:
        if self._clock() - self._beat_at < BEAT_SECONDS:
            return
        self._beat_at = self._clock()
        counts = self.counts
        self._listen(
            Beat(
                counts.done,
                counts.failed,
                self._pool.workers,
                tuple(self._pool.progress()),
            )
        )


def _lost_attempt(lost: Lost) -> AttemptRecord:
    return AttemptRecord(
        id=lost.attempt,
        worker=lost.worker,
        node="",
        device="",
        started=0.0,
        seconds=0.0,
        error=lost.failure.message,
    )


def _failed_record(effort: _Effort, failure: Failure) -> TaskRecord:
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
