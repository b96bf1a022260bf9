"""A job is counted and handed out at once; every task to do comes once, however long the job."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.errors import JobFileError
from jobs.records.statuses import Ledger
from jobs.tasks.background_reader import Reader
from jobs.tasks.task import Task
from jobs.tasks.todo import Agenda
from tests.jobs.manifests.test_manifest import write
from tests.jobs.support import read

NOTHING = Ledger.of({})


def agenda(base: Path, rows: int = 50, bad: int = 0, entry: str = "{manifest: p.jsonl}") -> Agenda:
    good = [{"content": f"{k}.jpg", "style": "s.jpg"} for k in range(rows)]
    write(base / "p.jsonl", [*good, *[{"content": "x.jpg"}] * bad, {"content": "z", "style": "s"}])
    return Agenda(read(f"output: out\npairs: [{entry}]\n", base), lambda _: "digest")


def taken(reader: Reader) -> Iterator[Task]:
    for task in reader:
        if task is not None:
            yield task


@pytest.mark.parametrize("at_hand", [1, 7, 51, 1000])
def test_every_task_comes_once_and_in_order(tmp_path: Path, at_hand: int) -> None:
    job = agenda(tmp_path)
    reader = Reader(job, NOTHING, at_hand=at_hand).start()
    assert list(taken(reader)) == list(job.tasks())
    census = reader.wait(180)
    assert census is not None
    assert (census.tasks, census.left) == (51, 51)
    assert next(reader, "end") == "end"


@pytest.mark.parametrize("retry_failed", [False, True])
def test_what_has_a_record_is_counted_and_not_handed_out(
    tmp_path: Path, retry_failed: bool
) -> None:
    job = agenda(tmp_path)
    done, failed, *rest = job.tasks()
    ledger = Ledger.of({done.id: "done", failed.id: "failed"})
    reader = Reader(job, ledger, retry_failed=retry_failed, at_hand=5).start()
    assert list(taken(reader)) == ([failed, *rest] if retry_failed else rest)
    census = reader.wait(180)
    assert census is not None
    assert (census.done, census.failed) == (1, 0 if retry_failed else 1)


def test_it_counts_to_the_end_though_nobody_takes(tmp_path: Path) -> None:
    reader = Reader(agenda(tmp_path, rows=3000), NOTHING, at_hand=2).start()
    census = reader.wait(180)
    assert census is not None
    assert census.tasks == 3001
    reader.close()
    assert not reader._thread.is_alive()


def test_it_can_be_closed_while_it_reads(tmp_path: Path) -> None:
    reader = Reader(agenda(tmp_path, rows=20_000), NOTHING).start()
    assert next(taken(reader)) is not None
    reader.close()
    assert not reader._thread.is_alive()


def test_rows_that_end_the_run_end_it_and_say_why(tmp_path: Path) -> None:
    reader = Reader(agenda(tmp_path, bad=2), NOTHING).start()
    with pytest.raises(JobFileError, match=r"p\.jsonl:51: style: is empty"):
        reader.wait(180)
    assert list(taken(reader)) == []
    assert reader.census is None


def test_rows_that_are_skipped_are_counted(tmp_path: Path) -> None:
    job = agenda(tmp_path, bad=2, entry="{manifest: p.jsonl, on_bad_row: skip}")
    reader = Reader(job, NOTHING).start()
    assert len(list(taken(reader))) == 51
    census = reader.wait(180)
    assert census is not None
    assert census.rows.bad == 2


def test_the_first_task_does_not_wait_for_the_last_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = agenda(tmp_path, rows=500)
    gate = threading.Event()
    drafts = job._everything

    def slowly(bad: object) -> Iterator[object]:
        for k, draft in enumerate(drafts(bad)):  # type: ignore[arg-type]
            if k == 200:
                gate.wait(180)
            yield draft

    monkeypatch.setattr(job, "_everything", slowly)
    reader = Reader(job, NOTHING).start()
    began = time.monotonic()
    assert next(taken(reader)).content == "0.jpg"
    assert time.monotonic() - began < 90
    assert reader.census is None
    gate.set()
    assert reader.wait(180) is not None
    reader.close()


def test_a_bug_in_reading_is_no_end_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = agenda(tmp_path)
    monkeypatch.setattr(job, "_everything", lambda bad: iter([1 / 0]))
    reader = Reader(job, NOTHING).start()
    with pytest.raises(ZeroDivisionError):
        reader.wait(180)


@pytest.mark.parametrize("text", ["", '{"content": "a.jpg"}\n'])
def test_a_job_without_a_task_is_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.jsonl").write_text(text)
    entry = "{manifest: p.jsonl, on_bad_row: skip}"
    job = Agenda(read(f"output: out\npairs: [{entry}]\n", tmp_path), lambda _: "digest")
    with pytest.raises(JobFileError, match=r"job\.yaml:2: pairs\[0\]\.manifest: there is nothing"):
        Reader(job, NOTHING).start().wait(180)
