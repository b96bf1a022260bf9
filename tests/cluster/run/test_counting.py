"""A long job is counted while it is rendered, and the counts come when they are known."""

from __future__ import annotations

import pytest

from cluster.events import events
from cluster.events.searching import Searching
from cluster.run import counting
from cluster.run.counting import Counting
from jobs.errors import Problem
from jobs.inputs.formats import Unread
from jobs.tasks.census import Census
from jobs.tasks.row_account import RowAccount, RowCounts

BEAT = events.Beat(done=0, failed=0, workers=1, running=())
CENSUS = Census(10, 4, 1, 900)


class Reader:
    """Reads ``reads`` times before it knows how long the job is."""

    def __init__(self, reads=0, census=CENSUS, unused=(), bad=()):
        self._left, self._census = reads, census
        self.unused_columns = unused
        self.rows, self.unread = RowAccount(), Unread()
        self.without_effect: tuple[str, ...] = ()
        for problem in bad:
            self.rows.refuse(problem, skipped=True)
        self.has_task = False

    @property
    def census(self):
        return self._census if self._left <= 0 else None

    def wait(self, seconds):
        self._left -= 1
        self.has_task = True
        return self.census


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(counting, "FIRST_READ_SECONDS", 0.0)


def kinds(heard):
    return [event.event for event in heard]


def test_a_short_job_begins_with_its_counts():
    heard = []
    assert (
        Counting(Reader(), heard.append, Searching(heard.append)).begin("harbour", "out") == CENSUS
    )
    (started,) = heard
    assert (started.tasks, started.done, started.failed, started.work_left) == (10, 4, 1, 900)
    assert not started.counting


def test_a_long_job_begins_without_and_its_counts_come_with_a_beat_once():
    heard = []
    reader = Reader(reads=5)
    count = Counting(reader, heard.append, Searching(heard.append))
    assert count.begin("harbour", "out") is None
    assert (heard[0].event, heard[0].counting, heard[0].tasks) == ("started", True, 0)

    count(BEAT)
    assert kinds(heard) == ["started", "progress"]
    while reader.census is None:
        reader.wait(0)
    count(BEAT)
    count(BEAT)
    assert kinds(heard) == ["started", "progress", "counted", "progress", "progress"]
    assert (heard[2].tasks, heard[2].done, heard[2].failed, heard[2].work_left) == (10, 4, 1, 900)


def test_nothing_is_opened_before_there_is_a_task():
    """``begin`` returns once one is read, however long that takes."""

    class Slow(Reader):
        waits = 0

        def wait(self, seconds):
            self.waits += 1
            self.has_task = self.waits >= 4
            return self.census

    slow = Slow(reads=10**9)
    watch = Searching(lambda event: None)
    assert Counting(slow, lambda event: None, watch).begin("harbour", "out") is None
    assert slow.waits == 4


@pytest.mark.parametrize("reads", [0, 3])
def test_rows_that_were_skipped_are_reported_with_the_counts(reads):
    heard = []
    problem = Problem("pairs.csv", 7, "style", "is empty")
    reader = Reader(
        reads, Census(10, 4, 1, 900, RowCounts(rows=12, used=10, bad=2)), ("kontent",), (problem,)
    )
    count = Counting(reader, heard.append, Searching(heard.append))
    count.begin("harbour", "out")
    while reader.census is None:
        reader.wait(0)
    count(BEAT)
    assert [event.columns for event in heard if event.event == "columns_unused"] == [("kontent",)]
    (read,) = [event for event in heard if event.event == "rows_read"]
    assert (read.rows, read.used, read.repeated, read.skipped) == (12, 10, 0, 2)
    (skipped,) = [event for event in heard if event.event == "rows_skipped"]
    assert skipped.rows == 2
    assert skipped.first == (str(problem),)
