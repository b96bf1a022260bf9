"""Wherever a run is killed, the next one ends with the same, and renders nothing that was committed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import keys
from jobs.load import load_job
from jobs.records import Records
from jobs.storage import Storage, open_storage
from tests.end_to_end.driver import copy_job
from tests.farm import ROOT, command, stylefarm, wait_for, write_job, write_stand_in_job
from tests.rigs import RIGS, Rig

DRIVER = [sys.executable, "-m", "tests.end_to_end.driver"]


def drive(job: Path, *options: str) -> list[list[str]]:
    """The words of every line that the driver prints."""
    done = subprocess.run(
        [*DRIVER, str(job), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def storage_of(job: Path) -> Storage:
    loaded = load_job(job)
    return open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)


def contents(storage: Storage) -> dict[str, bytes | None]:
    """Every object; of those that tell times only that they are there."""
    found: dict[str, bytes | None] = {}
    for stat in storage.list():
        if stat.key.startswith((keys.SEGMENTS, keys.PROBE)):
            continue  # how records are packed is nobody's business; a probe is swept when it is old
        timed = (keys.RECORDS, keys.JOB, keys.SUMMARY, keys.LIVE, keys.INDEX, keys.GALLERY)
        found[stat.key] = None if stat.key.startswith(timed) else storage.get(stat.key)
    return found


def results(storage: Storage) -> dict[str, tuple[Any, ...]]:
    """What the records say that is the same in every run."""
    return {
        r.id: (r.status, r.error, r.output, r.losses, r.losses_key) for r in Records(storage).all()
    }


DIRECTIVES: list[dict[str, Any]] = [
    {"n": 0, "steps": 3, "checkpoint": 1},
    {"fail": "diverged", "good": [{"n": 1}]},
]


def rig_job(rig: Rig, folder: Path, directives: list[dict[str, Any]]) -> Path:
    job = write_stand_in_job(
        folder / "job",
        directives,
        output=rig.url,
        storage=rig.options.model_dump(mode="json", exclude_none=True),
    )
    return folder / "job" / Path(job.file).name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rig", [r for r in RIGS if not r.endswith("https")], indirect=True)
def test_a_run_may_be_killed_before_and_after_every_write(rig: Rig, tmp_path: Path) -> None:
    job = rig_job(rig, tmp_path, DIRECTIVES)
    undisturbed = copy_job(job, 0)
    ended = drive(undisturbed, "--count")
    points = int(ended[-1][1])
    expected, said = contents(storage_of(undisturbed)), results(storage_of(undisturbed))
    assert points > (25 if rig.is_s3 else 60)
    assert sorted(status for status, *_ in said.values()) == ["done", "failed"]

    # moto is slow, and between the same writes; a third of the points are enough of it.
    by = 3 if rig.name == "moto" else 1
    lines = drive(job, "--from", "1", "--to", str(points), "--by", str(by))

    committed: set[str] = set()
    statuses: list[int] = []
    for word, *rest in lines:
        if word == "crash":
            committed, statuses = set(), []
        elif word == "status":
            statuses.append(int(rest[0]))
        else:
            assert word not in committed, "a task was rendered again that had been committed"
            committed.add(word)
        if len(statuses) == 2:
            # Threads take turns as they like, so the last points may not come every time.
            assert statuses[0] in (-9, 1)
            assert statuses[1] == 1
    for number in range(1, points + 1, by):
        storage = storage_of(job.parent.with_name(f"{job.parent.name}-{number}") / job.name)
        assert contents(storage) == expected, f"killed at point {number}"
        assert results(storage) == said


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("rig", RIGS[:2], indirect=True)
def test_a_driver_killed_twenty_times_ends_like_one_left_alone(rig: Rig, tmp_path: Path) -> None:
    directives = [{"n": k, "steps": 15, "checkpoint": 3} for k in range(60)]
    job = rig_job(rig, tmp_path, directives)
    undisturbed = copy_job(job, 0)
    drive(undisturbed)
    storage = storage_of(job)
    moments = random.Random(4)
    seen: dict[str, bytes] = {}
    kills = 0
    while kills < 20:
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
    assert kills >= 15
    drive(job)
    assert {k: v for k, v in contents(storage).items() if k != keys.LEASE} == contents(
        storage_of(undisturbed)
    )
    assert results(storage) == results(storage_of(undisturbed))
    assert {k: storage.get(k) for k in seen} == seen


@pytest.mark.slow
def test_a_painter_killed_between_checkpoints_paints_the_same_picture(tmp_path: Path) -> None:
    recipe = {"size": 96, "steps": 400, "segment": 40, "start_size": 48, "refine_steps": 400}
    job = write_job(tmp_path / "a", photos=1, styles=1, recipe=recipe, losses={"every": 1})
    whole = write_job(tmp_path / "b", photos=1, styles=1, recipe=recipe, losses={"every": 1})
    assert stylefarm("run", whole, "--pool", "inline").returncode == 0

    often = (
        "import sys, cluster.run; cluster.run.CHECKPOINT_SECONDS = 0.0; "
        "from cluster.cli import main; main(sys.argv[1:])"
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
