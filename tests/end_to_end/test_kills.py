"""A run that is killed again and again, at any moment, ends like one that was left alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.storage import keys
from tests.support.driver import copy_job
from tests.support.farm import ROOT, command, stylefarm, wait_for, write_job
from tests.support.outputs import DRIVER, contents, drive, results, rig_job, storage_of
from tests.support.rigs import RIGS, Rig


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("rig", RIGS[:2], indirect=True)
def test_a_driver_killed_eight_times_ends_like_one_left_alone(rig: Rig, tmp_path: Path) -> None:
    directives = [{"n": k, "steps": 15, "checkpoint": 3} for k in range(24)]
    job = rig_job(rig, tmp_path, directives)
    undisturbed = copy_job(job, 0)
    drive(undisturbed)
    storage = storage_of(job)
    moments = random.Random(4)
    seen: dict[str, bytes] = {}
    kills = 0
    while kills < 8:
        process = subprocess.Popen(
            [*DRIVER, str(job)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        # Its start takes a while, in which there is nothing to lose; then it may be any moment.
        if moments.random() < 0.8:
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.3))
        else:
            time.sleep(moments.uniform(0, 1.0))
        process.kill()
        process.communicate()
        kills += process.returncode == -9
        for stat in storage.list(keys.RECORDS):
            data = storage.get(stat.key)
            assert seen.setdefault(stat.key, data) == data, "a committed task was rendered again"
        if len(seen) == len(directives):
            break
    assert kills >= 6
    drive(job)
    assert {k: v for k, v in contents(storage).items() if k != keys.LEASE} == contents(
        storage_of(undisturbed)
    )
    assert results(storage) == results(storage_of(undisturbed))
    assert {k: storage.get(k) for k in seen} == seen


@pytest.mark.slow
def test_a_painter_killed_between_checkpoints_paints_the_same_picture(tmp_path: Path) -> None:
    recipe = {"size": 96, "steps": 240, "segment": 40, "start_size": 48, "refine_steps": 240}
    job = write_job(tmp_path / "a", photos=1, styles=1, recipe=recipe, losses={"every": 1})
    whole = write_job(tmp_path / "b", photos=1, styles=1, recipe=recipe, losses={"every": 1})
    assert stylefarm("run", whole, "--pool", "inline").returncode == 0

    often = (
        "import sys, cluster.run.run_job; cluster.run.run_job.CHECKPOINT_SECONDS = 0.0; "
        "from cluster.cli.app import main; main(sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", often, "run", str(job), "--pool", "inline"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, cwd=ROOT)
        folder = tmp_path / "a" / "out" / "checkpoints"
        before = {p: p.stat().st_mtime_ns for p in folder.glob("*")}
        wait_for(
            lambda f=folder, b=before: (
                {p: p.stat().st_mtime_ns for p in f.glob("*.safetensors")} not in ({}, b)
            )
        )
        process.kill()
        process.communicate()
        assert not list((tmp_path / "a" / "out").glob("tasks/*/*.json")), "it ended too soon"
    ran = subprocess.run(
        [*command("run", job, "--pool", "inline", "--json")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    progress = [json.loads(line) for line in ran.stdout.splitlines()]
    steps = [p["step"] for e in progress if e["event"] == "progress" for p in e["running"]]
    assert all(step == 0 or step >= 40 for step in steps)

    def picture(folder: Path) -> bytes:
        (path,) = (folder / "out" / "images").iterdir()
        return path.read_bytes()

    def log(folder: Path) -> list[str]:
        (path,) = (folder / "out" / "losses").glob("*/*.csv")
        return [line.rpartition(",")[0] for line in path.read_text().splitlines()]

    assert picture(tmp_path / "a") == picture(tmp_path / "b")
    assert log(tmp_path / "a") == log(tmp_path / "b")
    assert not list((tmp_path / "a" / "out").glob("checkpoints/*"))
