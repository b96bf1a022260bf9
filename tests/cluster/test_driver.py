"""The driver's decisions, over the inline pool, and over a script where workers must die."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from cluster.driver import Driver
from cluster.events import Beat, Draining, TaskDone, TaskFailed, TaskRetried
from cluster.messages import Failure, WorkerSetup
from cluster.pool import InlinePool, Lost
from cluster.run import open_agenda
from jobs.errors import StorageError
from jobs.records import Records
from jobs.storage import open_storage
from tests.farm import STAND_IN, write_stand_in_job


class Floor:
    """A driver over an inline pool, and what it said."""

    def __init__(self, tmp_path, directives, pool=None, **options):
        self.job = write_stand_in_job(tmp_path, directives)
        storage = open_storage(self.job.spec.output, base=self.job.base)
        self.records = Records(storage)
        self.events = []
        self.setup = WorkerSetup(
            output=storage.url,
            storage=self.job.spec.storage,
            base=str(tmp_path),
            inputs=self.job.spec.inputs,
            image=self.job.spec.image,
            losses_every=1,
            renderer=STAND_IN,
        )
        self.pool = (pool or InlinePool)(self.setup)
        tasks = options.pop("tasks", None) or open_agenda(self.job).tasks()
        self.driver = Driver(tasks, self.pool, self.records, self.events.append, **options)

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
    monkeypatch.setattr("cluster.retry.FIRST_DELAY", 0.01)
    floor = Floor(tmp_path, [{"fail": "bug"}], attempts=3)

    counts = floor.run()

    (record,) = floor.records.all()
    assert counts.failed == 1
    assert [a.id.split("-")[0] for a in record.attempts] == ["1", "2", "3"]
    assert len(floor.said(TaskRetried)) == 2


class DyingPool(InlinePool):
    """The first ``deaths`` attempts lose their worker; the rest run."""

    deaths = 1

    def __init__(self, setup):
        super().__init__(setup)
        self.lost = []

    def submit(self, task, attempt):
        if self.deaths:
            self.deaths -= 1
            self.lost.append(Lost(task, attempt, Failure("worker", "its worker died"), "w"))
        else:
            super().submit(task, attempt)

    def wait(self, timeout):
        if self.lost:
            lost, self.lost = self.lost, []
            return lost
        return super().wait(timeout)


def test_a_task_whose_worker_died_is_done_by_another(tmp_path):
    floor = Floor(tmp_path, [{"n": k} for k in range(3)], pool=DyingPool)

    counts = floor.run()

    assert counts.done == 3
    errors = [[a.error for a in record.attempts] for record in floor.records.all()]
    assert sorted(errors, key=len) == [[None], [None], ["its worker died", None]]


def test_waiting_at_a_worker_that_died_is_no_attempt(tmp_path):
    class Innocent(DyingPool):
        """Every worker that dies takes a task with it that only waited there."""

        deaths = 8

        def submit(self, task, attempt):
            before = self.deaths
            super().submit(task, attempt)
            if self.deaths < before:
                self.lost[-1] = replace(self.lost[-1], painting=False)

    floor = Floor(tmp_path, [{"n": 0}], pool=Innocent, attempts=2)

    assert floor.run().done == 1
    (record,) = floor.records.all()
    assert [a.error for a in record.attempts] == [None]


def test_a_task_that_keeps_killing_workers_is_given_up(tmp_path):
    class Deadly(DyingPool):
        deaths = 3

    floor = Floor(tmp_path, [{"n": 0}], pool=Deadly, attempts=3)

    counts = floor.run()

    assert (counts.done, counts.failed) == (0, 1)
    assert next(iter(floor.records.all())).error == "its worker died"


def test_the_outcome_of_an_attempt_that_was_given_up_is_ignored(tmp_path):
    class Late(InlinePool):
        """Says that the worker is lost, and lets its attempt come back all the same."""

        said = False

        def wait(self, timeout):
            ended = super().wait(timeout)
            if ended and not self.said:
                self.said = True
                first = ended[0]
                failure = Failure("worker", "unreachable")
                return [Lost(first.task, first.attempt.id, failure, "w"), *ended]
            return ended

    floor = Floor(tmp_path, [{"n": 0}], pool=Late)

    assert floor.run().done == 1
    assert len(floor.said(TaskDone)) == 1


def test_no_more_is_in_flight_than_the_pool_has_slots(tmp_path):
    drawn = itertools.count()

    class Watched(InlinePool):
        most = 0

        def submit(self, task, attempt):
            super().submit(task, attempt)
            Watched.most = max(Watched.most, self._running)

    def tasks(agenda):
        for task in agenda.tasks():
            next(drawn)
            yield task

    job = write_stand_in_job(tmp_path, [{"seconds": 0.05, "n": k} for k in range(6)])
    floor = Floor(
        tmp_path,
        [{"seconds": 0.05, "n": k} for k in range(6)],
        pool=Watched,
        tasks=tasks(open_agenda(job)),
        limit=3,
    )

    counts = floor.run()

    assert Watched.most == 2
    assert counts.done == 3
    assert counts.reason == "limit"
    assert next(drawn) <= 3  # the rest of the job was never even looked at


def test_it_stops_at_the_limit_of_failures(tmp_path):
    floor = Floor(tmp_path, [{"fail": "diverged", "n": k} for k in range(20)], max_failures=3)

    counts = floor.run()

    assert counts.reason == "max_failures"
    assert 3 <= counts.failed <= 4  # one more may have been in flight


def test_asked_to_stop_it_commits_what_paints_and_begins_nothing(tmp_path):
    asked = []
    floor = Floor(
        tmp_path,
        [{"seconds": 0.5, "n": k} for k in range(6)],
        should_stop=lambda: bool(asked),
    )
    floor.driver._listen = lambda event: (
        floor.events.append(event),
        isinstance(event, Beat) and event.running and asked.append(1),
    )

    counts = floor.run()

    assert counts.reason == "interrupted"
    assert counts.done == 1
    assert counts.failed == 0
    assert list(floor.records.statuses().values()) == ["done"]
    assert floor.said(Draining)


def test_broken_storage_ends_the_run_and_fails_no_task(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.retry.FIRST_DELAY", 0.01)
    floor = Floor(tmp_path, [{"n": 0}])
    (tmp_path / "out").write_text("a file where the folder should be")

    with pytest.raises(StorageError):
        floor.run()
