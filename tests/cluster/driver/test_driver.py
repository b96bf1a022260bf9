"""The driver's decisions, over the inline pool, and over a script where workers must die."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace

import pytest

from cluster.driver.driver import Driver, Limits
from cluster.events.events import (
    Beat,
    Draining,
    NodeAvoided,
    Paused,
    Resumed,
    TaskDone,
    TaskFailed,
    TaskRetried,
    WorkerLost,
)
from cluster.messages import Failure
from cluster.open_job import open_agenda
from cluster.pools.base import PREFETCH, Lost
from cluster.pools.inline_pool import InlinePool
from jobs.errors import StorageError, StorageFailingError
from jobs.records.commit import Records
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from tests.support.farm import setup_of, write_stand_in_job

LIMITS = tuple(field.name for field in fields(Limits))


class Floor:
    """A driver over an inline pool, and what it said."""

    def __init__(self, tmp_path, directives, pool=None, **options):
        self.job = write_stand_in_job(tmp_path, directives)
        storage = open_storage(self.job.spec.output, base=self.job.base)
        self.records = Records(storage)
        self.events = []
        self.pool = (pool or InlinePool)(setup_of(self.job, losses_every=1))
        tasks = options.pop("job_tasks", None) or open_agenda(self.job).tasks()
        limits = Limits(**{k: options.pop(k) for k in LIMITS if k in options})
        self.driver = Driver(
            tasks,
            self.pool,
            self.records,
            self.events.append,
            limits=limits,
            probe=storage.check,
            **options,
        )

    def run(self):
        try:
            return self.driver.run()
        finally:
            self.pool.close()

    def said(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def test_every_task_is_committed(tmp_path):
    floor = Floor(tmp_path, [{"n": k} for k in range(7)])

    counts = floor.run()

    assert (counts.done, counts.failed, counts.reason) == (7, 0, "complete")
    assert sorted(floor.records.statuses().values()) == ["done"] * 7
    assert len(floor.said(TaskDone)) == 7


def test_a_bad_picture_fails_with_its_reason_and_the_others_go_on(tmp_path):
    floor = Floor(tmp_path, [{"n": 0}, {"fail": "diverged"}, {"n": 2}])

    counts = floor.run()

    assert (counts.done, counts.failed) == (2, 1)
    (failed,) = [r for r in floor.records.all() if r.status == "failed"]
    assert failed.error == "the loss became nan"
    assert len(failed.attempts) == 1  # never tried again
    assert floor.said(TaskFailed)[0].error == "the loss became nan"


def test_a_failed_record_names_the_picture_that_was_kept(tmp_path):
    floor = Floor(tmp_path, [{"fail": "diverged", "good": [{"n": 1}]}])

    floor.run()

    (record,) = floor.records.all()
    assert json.loads((tmp_path / "out" / record.kept.key).read_text()) == {"n": 1}
    assert floor.said(TaskFailed)[0].kept == record.kept.key


def test_a_bug_is_tried_again_and_every_attempt_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.driver.failure_policy.FIRST_DELAY", 0.01)
    floor = Floor(tmp_path, [{"fail": "bug"}], max_attempts=3)

    counts = floor.run()

    (record,) = floor.records.all()
    assert counts.failed == 1
    assert [a.id.split("-")[0] for a in record.attempts] == ["1", "2", "3"]
    assert len(floor.said(TaskRetried)) == 2


class DyingPool(InlinePool):
    """The first ``deaths`` calls lose their worker, while they paint or ``waiting``; the rest run."""

    deaths = 1
    waiting = False
    kind = "worker"

    def __init__(self, setup):
        super().__init__(setup)
        self.lost = []
        self.isolated = []

    def submit(self, worker, assignments):
        if self.deaths:
            self.deaths -= 1
            attempts = tuple(a.attempt_id for a in assignments)
            painting = frozenset() if self.waiting else frozenset(attempts)
            failure = Failure(self.kind, "its worker died")
            self.lost.append(Lost(worker, failure, attempts, painting))
        else:
            self.isolated += [a.isolated for a in assignments]
            super().submit(worker, [replace(a, isolated=False) for a in assignments])

    def wait(self, timeout):
        if self.lost:
            lost, self.lost = self.lost, []
            return lost
        return super().wait(timeout)


def test_a_task_whose_worker_died_is_done_by_another_in_a_process_of_its_own(tmp_path):
    floor = Floor(tmp_path, [{"n": k} for k in range(3)], pool=DyingPool)

    counts = floor.run()

    assert counts.done == 3
    errors = [[a.error for a in record.attempts] for record in floor.records.all()]
    assert sorted(errors, key=len) == [[None], [None], ["its worker died", None]]
    assert sorted(floor.pool.isolated) == [False, False, True]
    (lost,) = floor.said(WorkerLost)
    assert (lost.kind, lost.attempts) == ("worker", 1)


def test_waiting_at_a_worker_that_died_is_no_attempt(tmp_path):
    class Innocent(DyingPool):
        deaths = 8
        waiting = True

    floor = Floor(tmp_path, [{"n": 0}], pool=Innocent, max_attempts=2)

    assert floor.run().done == 1
    (record,) = floor.records.all()
    assert [a.error for a in record.attempts] == [None]
    assert floor.pool.isolated == [True]  # after the second time it is suspected


def test_a_machine_that_is_taken_away_again_and_again_is_no_attempt_but_reported(tmp_path):
    class Spot(DyingPool):
        deaths = 5
        kind = "preempted"

    floor = Floor(tmp_path, [{"n": 0}], pool=Spot, max_attempts=2)

    assert floor.run().done == 1
    (record,) = floor.records.all()
    assert [a.id.partition("-")[0] for a in record.attempts] == ["1"] * 6
    assert [a.error for a in record.attempts] == ["its worker died"] * 5 + [None]


def test_a_task_that_keeps_losing_workers_that_paint_it_is_given_up(tmp_path):
    class Deadly(DyingPool):
        deaths = 30
        kind = "stalled"

    floor = Floor(tmp_path, [{"n": 0}], pool=Deadly, max_attempts=3)

    counts = floor.run()

    assert (counts.done, counts.failed) == (0, 1)
    (record,) = floor.records.all()
    assert record.error == "its worker died"
    assert len(record.attempts) == 3


def test_a_worker_on_which_everything_fails_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.driver.failure_policy.FIRST_DELAY", 0.01)
    replaced = []

    class Watched(InlinePool):
        def replace(self, worker, reason):
            replaced.append((worker.key, reason))

    floor = Floor(
        tmp_path, [{"fail": "bug", "n": k} for k in range(3)], pool=Watched, max_attempts=1
    )

    floor.run()

    ((key, reason),) = replaced
    assert key == "inline-0"
    assert "nobody foresaw" in reason


def test_a_node_that_loses_one_worker_after_the_other_is_avoided(tmp_path):
    avoided = []

    class BadNode(DyingPool):
        deaths = 4

        def nodes(self):
            return {*super().nodes(), "another"}

        def avoid(self, node):
            avoided.append(node)

    floor = Floor(tmp_path, [{"n": k} for k in range(6)], pool=BadNode)

    assert floor.run().done == 6
    assert avoided[:1] == [floor.pool._handle.node]
    assert floor.said(NodeAvoided)[0].faults == 3


def test_the_outcome_of_an_attempt_that_was_given_up_is_ignored(tmp_path):
    class Late(InlinePool):
        """Says that the worker is lost, and lets its attempt come back all the same."""

        said = False

        def wait(self, timeout):
            ended = super().wait(timeout)
            if ended and not self.said:
                self.said = True
                first = ended[0]
                failure = Failure("unavailable", "unreachable")
                return [Lost(first.worker, failure, (first.outcome.attempt_record.id,)), *ended]
            return ended

    floor = Floor(tmp_path, [{"n": 0}], pool=Late)

    assert floor.run().done == 1
    assert len(floor.said(TaskDone)) == 1


def test_no_more_is_in_flight_than_the_pool_has_slots(tmp_path):
    drawn = itertools.count()

    class Watched(InlinePool):
        most = 0

        def submit(self, worker, assignments):
            super().submit(worker, assignments)
            Watched.most = max(Watched.most, len(worker.calls))

    def tasks(agenda):
        for task in agenda.tasks():
            next(drawn)
            yield task

    job = write_stand_in_job(tmp_path, [{"seconds": 0.05, "n": k} for k in range(6)])
    floor = Floor(
        tmp_path,
        [{"seconds": 0.05, "n": k} for k in range(6)],
        pool=Watched,
        job_tasks=tasks(open_agenda(job)),
        tasks=3,
    )

    counts = floor.run()

    assert Watched.most == 1 + PREFETCH
    assert counts.done == 3
    assert counts.reason == "limit"
    assert next(drawn) <= 3  # the rest of the job was not even read


def test_it_stops_at_the_limit_of_failures(tmp_path):
    floor = Floor(tmp_path, [{"fail": "diverged", "n": k} for k in range(20)], max_failures=3)

    counts = floor.run()

    assert counts.reason == "max_failures"
    assert 3 <= counts.failed <= 3 + PREFETCH  # those may have been in flight


def test_asked_to_stop_it_commits_what_paints_and_begins_nothing(tmp_path):
    asked = []
    floor = Floor(
        tmp_path,
        [{"until": "go", "n": k} for k in range(6)],
        asked=lambda: "drain" if asked else "no",
    )

    def listen(event):
        if isinstance(event, Beat) and event.running:
            asked.append(1)
            if floor.said(Draining):  # now it may end
                (tmp_path / "go").touch()
        floor.events.append(event)

    floor.driver._listen = listen

    counts = floor.run()

    assert counts.reason == "interrupted"
    assert counts.done == 1
    assert counts.failed == 0
    assert list(floor.records.statuses().values()) == ["done"]
    assert floor.said(Draining)


def test_storage_that_stays_broken_ends_the_run_and_fails_no_task(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.driver.failure_policy.FIRST_DELAY", 0.05)
    floor = Floor(tmp_path, [{"n": 0}], storage_patience=0.5)
    (tmp_path / "out").write_text("a file where the folder should be")

    with pytest.raises(StorageError):
        floor.run()

    assert len(floor.said(Paused)) == 1
    assert not floor.said(TaskFailed)


def test_patience_runs_out_though_the_storage_seems_well(tmp_path, monkeypatch):
    """Only records are refused, which a probe does not notice."""
    monkeypatch.setattr("cluster.driver.failure_policy.FIRST_DELAY", 0.05)
    floor = Floor(tmp_path, [{"n": k} for k in range(3)], storage_patience=1.0)
    put = FolderStorage.put

    def failing(storage, key, data, **how):
        if key.startswith("tasks/"):
            raise StorageFailingError("no right to tasks/")
        return put(storage, key, data, **how)

    monkeypatch.setattr(FolderStorage, "put", failing)

    with pytest.raises(StorageError, match="no right to tasks/"):
        floor.run()

    assert len(floor.said(Paused)) == 1
    assert not floor.said(Resumed)
    assert not floor.said(TaskFailed)


def test_the_floor_waits_for_storage_in_trouble_and_goes_on(tmp_path, monkeypatch):
    """Also records that it did not take are committed then."""
    monkeypatch.setattr("cluster.driver.failure_policy.FIRST_DELAY", 0.05)
    floor = Floor(tmp_path, [{"n": k} for k in range(6)])
    working, put = [], FolderStorage.put

    def failing(storage, key, data, **how):
        if not working and key.startswith(("tasks/", ".stylefarm")):
            raise StorageFailingError("503 Slow Down")
        return put(storage, key, data, **how)

    monkeypatch.setattr(FolderStorage, "put", failing)
    begun = []
    listen = floor.driver._listen

    def hear(event):
        listen(event)
        if isinstance(event, Beat) and event.paused:
            begun.append(floor.pool._calls)
            # What was under way ends, and is refused, however long the disk takes.
            under_way = event.in_flight or floor.driver._committer.waiting
            if len(begun) > 3 and not under_way:
                working.append(True)

    floor.driver._listen = hear
    monkeypatch.setattr("cluster.driver.driver.BEAT_SECONDS", 0.05)

    counts = floor.run()

    assert (counts.done, counts.failed) == (6, 0)
    assert [r.attempts[0].id[0] for r in floor.records.all()] == ["1"] * 6
    assert (len(floor.said(Paused)), len(floor.said(Resumed))) == (1, 1)
    assert floor.said(Paused)[0].reason == "503 Slow Down"
    assert len(set(begun)) == 1  # nothing was begun meanwhile


def test_gpu_hours_end_the_run_and_what_paints_is_committed(tmp_path):
    class Meter(InlinePool):
        """Is over any limit once it paints, and no sooner."""

        @property
        def gpu_hours(self):
            return super().gpu_hours if self.progress() else 0.0

    floor = Floor(
        tmp_path, [{"until": "go", "n": k} for k in range(8)], pool=Meter, max_gpu_hours=1e-9
    )

    def listen(event):
        if isinstance(event, Beat) and floor.said(Draining):  # now it may end
            (tmp_path / "go").touch()
        floor.events.append(event)

    floor.driver._listen = listen

    counts = floor.run()

    assert counts.reason == "max_gpu_hours"
    assert (counts.done, counts.failed) == (1, 0)


def test_a_preempted_run_keeps_checkpoints_and_fails_nothing(tmp_path):
    asked = []
    floor = Floor(
        tmp_path,
        [{"until": "never", "every": 20, "n": k} for k in range(3)],
        asked=lambda: "preempt" if asked else "no",
    )
    floor.driver._listen = lambda event: (
        floor.events.append(event),
        isinstance(event, Beat) and any(p.step > 30 for p in event.running) and asked.append(1),
    )

    counts = floor.run()

    assert (counts.reason, counts.done, counts.failed) == ("preempted", 0, 0)
    assert floor.said(Draining)[0].preempted
    assert len(list((tmp_path / "out" / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize(("useful", "most"), [(None, 6), (2, 2), (9, 6)])
def test_no_more_workers_are_wanted_than_can_be_busy_at_once(tmp_path, useful, most):
    wanted = []

    class Wanting(InlinePool):
        def want(self, tasks):
            wanted.append(tasks)

    directives = [{"n": k} for k in range(6)]
    floor = Floor(tmp_path, directives, Wanting, useful=lambda: useful, left=lambda: 6)
    assert floor.run().done == 6
    assert max(known for known in wanted if known is not None) == most
