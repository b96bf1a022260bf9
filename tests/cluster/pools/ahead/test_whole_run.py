"""A whole run of a film on Ray on this machine: what is found ahead changes nothing of what is painted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from cluster.events.events import Event
from cluster.pools.ahead import motion_ahead, room
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.jobfile.job import Job, open_output
from jobs.records.commit import Records
from tests.support.farm import STAND_IN, write_film_job

ray = pytest.importorskip("ray")

FRAMES = [{"n": k, "seconds": 0.05} for k in range(33)]
ONE = {"workers": {"max": 1, "threads": 1}}


def pictures(job: Job) -> dict[str, str | None]:
    return {r.id: r.output and r.output.sha256 for r in Records(open_output(job)).all()}


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="the worker has the only core")
def test_a_run_on_ray_paints_what_one_without_ray_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SPARE", 0.0)  # this may be a machine of two cores
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[4]))
    alone = write_film_job(tmp_path / "alone", FRAMES)
    run_job(alone, RunOptions(pool="inline", renderer=STAND_IN), lambda event: None)
    job = write_film_job(tmp_path / "ray", FRAMES, job=ONE)
    events: list[Event] = []

    with caplog.at_level(logging.INFO, motion_ahead.__name__):
        result = run_job(job, RunOptions(address="local", renderer=STAND_IN), events.append)

    assert (result.counts.done, result.counts.failed) == (33, 0)
    assert pictures(job) == pictures(alone)
    assert caplog.messages == []  # nothing was left to workers
    assert len(list((tmp_path / "ray/out/films").rglob("*.npz"))) == 2
