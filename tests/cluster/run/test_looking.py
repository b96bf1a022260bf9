"""A run is refused only where it is certain that nothing can be rendered, here."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cluster.events import events
from cluster.run import looking
from cluster.run.looking import Looking
from jobs.errors import JobFileError
from jobs.inputs.reader import Inputs
from jobs.records.statuses import Ledger
from jobs.tasks.todo import Agenda
from tests.jobs.support import read, touch

NOTHING = Ledger.of({})


def agenda(base: Path, style: str = "w.jpg") -> Agenda:
    touch(base, "a.jpg", "b.jpg")
    text = f"output: out\npairs: [{{content: [a.jpg, b.jpg], style: {style}}}]"
    return Agenda(read(text, base), lambda _: "digest")


def judged(job: Agenda, *, refuse: bool) -> list[events.Event]:
    found = Looking(job)
    found.judge(job, lambda: NOTHING, retry_failed=False, refuse=refuse)
    heard: list[events.Event] = []
    found.tell(heard.append)
    return heard


def test_what_is_missing_here_may_be_there_on_a_cluster(tmp_path):
    job = agenda(tmp_path)
    with pytest.raises(JobFileError, match="nothing can be rendered"):
        judged(job, refuse=True)
    (event,) = judged(job, refuse=False)
    assert isinstance(event, events.PicturesMissing)
    assert (event.pictures, event.looked_at, event.complete) == (1, 3, True)
    assert judged(agenda(tmp_path, "a.jpg"), refuse=True) == []


def test_a_disk_that_does_not_answer_holds_no_run_up(tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "LOOK_SECONDS", 0.1)
    check = Inputs.check

    def slow(inputs: Inputs, uri: str) -> None:
        time.sleep(1.5)
        check(inputs, uri)

    monkeypatch.setattr(Inputs, "check", slow)
    job = agenda(tmp_path)
    began = time.monotonic()
    assert judged(job, refuse=True) == []
    assert time.monotonic() - began < 1.0
