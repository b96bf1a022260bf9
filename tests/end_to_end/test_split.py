"""One picture over several devices of a worker, from the job file to the record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stylize.team.team import MODULE
from tests.support.cluster import title
from tests.support.farm import (
    PATIENCE,
    command,
    picture,
    records_of,
    stylefarm,
    wait_for,
    write_job,
)
from tests.support.head import RayHead, descendants, ray_head

SPLIT = {"gpus": 2, "split": "picture", "threads": 2}


def write_large(folder: Path, **changes: Any) -> Path:
    """A job whose pictures have rows for two members."""
    knobs = {"size": 160, "steps": 20, "precision": "float32", **changes.pop("recipe", {})}
    job = write_job(folder, styles=1, recipe=knobs, **changes)
    for k in range(changes.get("photos", 2)):
        picture(k, 200, 200).save(folder / "photos" / f"p{k}.png")
    return job


def of_workers(cluster: RayHead) -> list[psutil.Process]:
    """The processes in which the cluster's workers paint a picture together, in order."""
    found = [process for process in descendants(cluster.pid) if MODULE in title(process)]
    return sorted(found, key=lambda process: process.cmdline()[4])


def test_two_processes_paint_what_one_does(tmp_path: Path) -> None:
    together = write_large(tmp_path / "together", workers=SPLIT)
    alone = write_large(tmp_path / "alone", workers={"threads": 2})

    for job in (together, alone):
        assert stylefarm("run", job, "--pool", "inline").returncode == 0

    of_together, of_alone = records_of(together), records_of(alone)
    assert of_together.keys() == of_alone.keys()
    for key, record in of_together.items():
        assert record.status == "done"
        assert record.attempts[-1].device == "2 x cpu"
        assert record.losses["total"] == pytest.approx(of_alone[key].losses["total"], rel=0.05)


def painting(event: str) -> list[dict[str, Any]]:
    """What is painted, by an event that says so."""
    return json.loads(event).get("running") or []


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayHead]:
    env = {"RAY_AUTH_MODE": "disabled"}
    with ray_head("--include-dashboard=false", "--num-gpus=2", env=env) as head:
        yield head


def test_a_member_is_killed_amid_a_picture(tmp_path: Path, cluster: RayHead) -> None:
    """The worker lives on, the picture is painted again, and the GPUs are those of one worker."""
    job = write_large(
        tmp_path, workers=SPLIT, recipe={"steps": 300, "optimizer": "adam", "start_size": None}
    )
    process = subprocess.Popen(
        command("run", job, "--address", cluster.gcs, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    # Amid the first picture of two, of which both make steps.
    wait_for(lambda: any(p["step"] for p in painting(process.stdout.readline())), 90)
    family = of_workers(cluster)
    assert len(family) == 2
    os.kill(family[1].pid, signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE * 120)

    assert process.returncode == 0, err
    records = records_of(job).values()
    assert [record.status for record in records] == ["done"] * 2
    (retried,) = (record for record in records if len(record.attempts) > 1)
    assert "process 2 of 2" in retried.attempts[0].error
    assert all("(gpu 0,1)" in record.attempts[-1].worker for record in records)
    wait_for(lambda: not any(title(process) for process in family), 30)
