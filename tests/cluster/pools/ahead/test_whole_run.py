"""A whole run of a film on Ray on this machine: what is found ahead changes nothing of what is painted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.jobfile.job import Job, open_output
from jobs.records.commit import Records
from tests.support.farm import ROOT, STAND_IN, write_film_job

pytest.importorskip("ray")

FRAMES = [{"n": k, "seconds": 0.05} for k in range(33)]
ONE = {"workers": {"max": 1, "threads": 1}}

# In a process of its own, since Ray leaves the cluster's token and more behind in that which started it.
ON_RAY = f"""
import logging, sys
from cluster.pools.ahead import motion_ahead, room
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.jobfile.load import load_job
logging.basicConfig(stream=sys.stdout)
logging.getLogger(motion_ahead.__name__).setLevel(logging.INFO)
room.SPARE = 0.0  # this may be a machine of two cores
options = RunOptions(address="local", renderer={STAND_IN!r})
result = run_job(load_job(sys.argv[1]), options, lambda event: None)
print(result.counts.done, result.counts.failed)
"""


def pictures(job: Job) -> dict[str, str | None]:
    return {r.id: r.output and r.output.sha256 for r in Records(open_output(job)).all()}


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="the worker has the only core")
def test_a_run_on_ray_paints_what_one_without_ray_does(tmp_path: Path) -> None:
    alone = write_film_job(tmp_path / "alone", FRAMES)
    run_job(alone, RunOptions(pool="inline", renderer=STAND_IN), lambda event: None)
    job = write_film_job(tmp_path / "ray", FRAMES, job=ONE)

    ran = subprocess.run(
        [sys.executable, "-c", ON_RAY, job.file],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "33 0\n"  # no word that motion was left to workers
    assert pictures(job) == pictures(alone)
    assert len(list((tmp_path / "ray/out/films").rglob("*.npz"))) == 2
