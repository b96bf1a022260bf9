"""A run that is killed again and again, at any moment, ends like one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.storage import keys
from tests.support.driver import copy_job
from tests.support.farm import HURRY, ROOT, command, hurry, stylefarm, write_job
from tests.support.outputs import contents, drive, results, rig_job, storage_of
from tests.support.rigs import RIGS, Rig


@pytest.mark.slow
@pytest.mark.parametrize("rig", RIGS[:2], indirect=True)
def test_a_driver_killed_eight_times_ends_like_one_left_alone(rig: Rig, tmp_path: Path) -> None:
    # The last one would last for hours: none ends before it is killed, however late that comes.
    count = 40
    directives = [
        {"n": k, "steps": 15, "checkpoint": 3, "pace": 0.02, "hurry": HURRY} for k in range(count)
    ]
    directives[-1]["pace"] = 600
    job = rig_job(rig, tmp_path, directives)
    undisturbed = copy_job(job, 0)
    hurry(undisturbed)
    drive(undisturbed)

    lines = drive(job, "--kills", "8")

    storage = storage_of(job)
    seen: dict[str, str] = {}
    for key, digest in (rest for word, *rest in lines if word == "record"):
        assert seen.setdefault(key, digest) == digest, "a committed task was rendered again"
    assert [line for line in lines if line[0] == "status"] == [["status", "-9"]] * 8 + [
        ["status", "0"]
    ]
    assert len(seen) == count
    assert {k: v for k, v in contents(storage).items() if k != keys.LEASE} == contents(
        storage_of(undisturbed)
    )
    assert results(storage) == results(storage_of(undisturbed))


KILLED_AFTER_A_CHECKPOINT = """
import os, signal
import cluster.run.run_job
from cluster.worker.uploads import LossStream
from jobs.storage.folder import FolderStorage

cluster.run.run_job.CHECKPOINT_SECONDS = 0.0
put, add, left = FolderStorage.put, LossStream.add, []

def put_and_count(storage, key, data, *more, **named):
    result = put(storage, key, data, *more, **named)
    if key.startswith("checkpoints/") and not left:
        left.extend(range(5))
    return result

def add_or_die(stream, rows):
    if left and not left.pop():
        os.kill(os.getpid(), signal.SIGKILL)
    add(stream, rows)

FolderStorage.put, LossStream.add = put_and_count, add_or_die
from cluster.cli.app import main
main()
"""


@pytest.mark.slow
def test_a_painter_killed_between_checkpoints_paints_the_same_picture(tmp_path: Path) -> None:
    recipe = {"size": 96, "steps": 240, "segment": 40, "start_size": 48, "refine_steps": 240}
    job = write_job(tmp_path / "a", photos=1, styles=1, recipe=recipe, losses={"every": 1})
    whole = write_job(tmp_path / "b", photos=1, styles=1, recipe=recipe, losses={"every": 1})
    assert stylefarm("run", whole, "--pool", "inline").returncode == 0

    # Each dies some steps after its first checkpoint is stored.
    arguments = [
        sys.executable,
        "-c",
        KILLED_AFTER_A_CHECKPOINT,
        "run",
        str(job),
        "--pool",
        "inline",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    folder = tmp_path / "a" / "out" / "checkpoints"
    kept: list[bytes] = []
    for _ in range(2):
        killed = subprocess.run(
            arguments, env=environment, capture_output=True, cwd=ROOT, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        (checkpoint,) = folder.glob("*.safetensors")
        kept.append(checkpoint.read_bytes())
        assert not list((tmp_path / "a" / "out").glob("tasks/*/*.json"))
    assert kept[0] != kept[1]
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
