"""Whole jobs through Ray: a killed worker, the same bytes everywhere, a cluster of eight GPUs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.pools import ray_cluster
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage.open import open_storage
from tests.support.cluster import title
from tests.support.farm import PATIENCE, command, records_of, stylefarm, wait_for, write_job
from tests.support.head import RayHead, descendants, open_to_all, ray_head


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie does not."""
    return [process for process in processes if title(process)]


def test_starting_ray_leaves_the_working_directory_alone(tmp_path, monkeypatch):
    """The job is still being read by another thread, which resolves relative paths meanwhile."""
    seen = []
    job = write_job(tmp_path, photos=1, styles=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_cluster.ray, "init", lambda **_: seen.append(Path.cwd()))
    with open_to_all():
        ray_cluster.connect("local")
    assert seen == [tmp_path]
    assert load_job(job.name).base == tmp_path


def test_kill_9_on_a_worker_in_the_middle_of_a_job(tmp_path):
    # One thread: as many as there are decide in which order numbers are added up.
    knobs = {"recipe": {"steps": 600, "optimizer": "adam"}, "workers": {"threads": 1}}
    job = write_job(tmp_path, **knobs)
    undisturbed = write_job(tmp_path / "undisturbed", **knobs)
    stylefarm("run", undisturbed, "--pool", "inline")
    process = subprocess.Popen(
        command("run", job, "--workers", "1", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    # In the middle: a picture is committed, another paints.
    wait_for(lambda: '"event": "done"' in process.stdout.readline())
    wait_for(lambda: json.loads(process.stdout.readline()).get("running"))

    family = descendants(process.pid)
    (worker,) = (child.pid for child in family if "RayWorker" in title(child))
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE * 120)

    assert process.returncode == 0, err
    # Ray says that a worker died, but not among the events.
    assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "finished"
    records = records_of(job)
    assert [r.status for r in records.values()] == ["done"] * 4
    retried = [r for r in records.values() if len(r.attempts) > 1]
    assert retried
    assert all("died" in r.attempts[0].error for r in retried)
    assert pictures(tmp_path) == pictures(tmp_path / "undisturbed")
    assert len(family) > 3  # Ray's own processes
    wait_for(lambda: not alive(family), 30)


def pictures(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "out" / "images").iterdir()}


def test_folder_and_s3_hold_the_same_pictures_byte_for_byte(tmp_path, s3):
    # One thread: as many as there are decide in which order numbers are added up.
    workers = {"threads": 1}
    here = write_job(tmp_path / "here", image={"format": "png"}, workers=workers)
    there = write_job(
        tmp_path / "there",
        output=s3.url,
        storage=s3.options.model_dump(exclude_none=True),
        workers=workers,
    )

    on_folder = stylefarm("run", here, "--pool", "inline")
    on_s3 = stylefarm("run", there)
    again = stylefarm("run", there)

    assert (on_folder.returncode, on_s3.returncode) == (0, 0), on_folder.stderr + on_s3.stderr
    storage = open_storage(s3.url, s3.options)
    stored = {
        stat.key.removeprefix("images/"): storage.get(stat.key) for stat in storage.list("images/")
    }
    assert len(stored) == 4
    assert stored == pictures(tmp_path / "here")
    assert {r.id for r in Records(storage).all()} == {r.id for r in records_of(here).values()}
    assert "already done" in again.stderr


def test_inputs_from_s3_are_rendered(tmp_path, s3):
    # Files say their task's id, which is made from the addresses.
    image = {"metadata": "none"}
    job = write_job(tmp_path, photos=1, styles=1, image=image)
    storage = open_storage(s3.url, s3.options)
    for name in ("photos/p0.png", "styles/s0.png"):
        storage.put(name, (tmp_path / name).read_bytes())
    remote = write_job(
        tmp_path / "remote",
        storage=s3.options.model_dump(exclude_none=True),
        image=image,
        pairs=[{"content": f"{s3.url}/photos/", "style": f"{s3.url}/styles/*.png"}],
    )

    stylefarm("run", job, "--pool", "inline")
    ran = stylefarm("run", remote, "--pool", "inline")

    assert ran.returncode == 0, ran.stderr
    assert list(pictures(tmp_path / "remote").values()) == list(pictures(tmp_path).values())


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-0123456789"}, "s3://"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "redentials"),
    ],
)
def test_storage_that_refuses_is_status_3_before_anything_renders(
    tmp_path, s3, environment, sentence
):
    job = write_job(tmp_path, output=s3.url, storage=s3.options.model_dump(exclude_none=True))

    refused = stylefarm("run", job, AWS_EC2_METADATA_DISABLED="true", **environment)

    assert refused.returncode == 3
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "wrong-secret" not in refused.stderr


def test_a_cluster_that_is_not_there_is_status_3(tmp_path):
    refused = stylefarm("run", write_job(tmp_path), "--address", "127.0.0.1:1")

    assert refused.returncode == 3
    assert "Ray cannot be reached at 127.0.0.1:1" in refused.stderr
    assert "Traceback" not in refused.stderr


def _metrics(port: int) -> dict[str, float]:
    """What a node serves of ours, by name and tags."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("ray_stylefarm_"):
            name, _, value = line.rpartition(" ")
            family, _, tags = name.partition("{")
            # Ray adds tags of its own.
            ours = ",".join(sorted(t for t in tags.rstrip("}").split(",") if t.startswith(OURS)))
            found[f"{family}{{{ours}}}"] = float(value)
    return found


OURS = ("job=", "status=", "state=")


@pytest.fixture
def cluster() -> Iterator[RayHead]:
    """A Ray cluster that was started before, with eight logical GPUs."""
    # Metrics come as often as they do for everybody.
    env = {"RAY_AUTH_MODE": "disabled"}
    with ray_head("--include-dashboard=false", "--num-gpus=8", env=env) as head:
        yield head


def test_a_job_joins_a_running_cluster_and_uses_its_gpus(tmp_path, cluster):
    # More than is done when all is served, however long that takes.
    job = write_job(
        tmp_path,
        photos=600,
        styles=1,
        workers={"max": 2, "batch": 1},
        recipe={"steps": 100, "optimizer": "adam"},
    )
    process = subprocess.Popen(
        command("run", job, "--address", cluster.gcs, "--verbose", "--log-format", "json"),
        stderr=(tmp_path / "log").open("w"),
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"},
    )

    def served() -> bool:
        """Whether the node serves what the dashboard shows, tagged with the job's name."""
        assert process.poll() is None, (tmp_path / "log").read_text()
        found = _metrics(cluster.metrics_port)
        return (
            found.get('ray_stylefarm_tasks_total{job="test",status="done"}', 0) >= 1
            and found.get('ray_stylefarm_workers{job="test",state="up"}', 0) >= 1
            and found.get('ray_stylefarm_steps_total{job="test"}', 0) > 0
        )

    wait_for(served, 120)
    process.send_signal(signal.SIGINT)
    status = process.wait(PATIENCE * 120)

    log = (tmp_path / "log").read_text()
    assert status == 130, log
    # Each line of the log is an object, and says which task it is about.
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    done = [line for line in lines if line["message"].startswith("done ")]
    records = records_of(job).values()
    assert {line["task"] for line in done} == {record.id for record in records}
    assert {record.status for record in records} == {"done"}
    assert all("(gpu " in record.attempts[0].worker for record in records)
    assert load_job(job).spec.workers.max == 2


def test_ctrl_c_in_a_terminal_reaches_ray_too_and_still_behaves(tmp_path):
    knobs = {"recipe": {"steps": 300, "optimizer": "adam"}, "workers": {"batch": 1}}
    job = write_job(tmp_path, photos=50, **knobs)
    process = subprocess.Popen(
        command("run", job, "--workers", "1", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    wait_for(lambda: json.loads(process.stdout.readline()).get("running"))

    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: everyone in the group gets it
    out, err = process.communicate(timeout=PATIENCE * 120)

    assert process.returncode == 130, err
    # What paints is committed, and nothing after it.
    said = [json.loads(line)["event"] for line in out.splitlines()]
    assert said[said.index("draining") :].count("done") <= 1
    records = records_of(job).values()
    assert {record.status for record in records} == {"done"}
    assert len(records) < 100
    assert "run the same command again" in err
    assert "Traceback" not in err
    wait_for(lambda: not alive(family), 30)


@pytest.mark.parametrize("sign", ["gcs_server", "raylet"])
def test_sigterm_while_ray_is_only_starting_ends_the_run_in_order(tmp_path, sign):
    """Ray would have the process exit amid its own start, with a status that means something else."""
    job = write_job(tmp_path, recipe={"steps": 100_000})
    process = subprocess.Popen(
        command("run", job, "--workers", "1", "--json", "--brief"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    family = descendants(process.pid)
    while not any(f"/{sign} " in title(child) for child in family):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
        family = descendants(process.pid)

    process.terminate()
    out, err = process.communicate(timeout=PATIENCE * 60)

    assert process.returncode == 130, err
    (ended,) = (line for line in map(json.loads, out.splitlines()) if line["event"] == "finished")
    assert (ended["reason"], ended["done"], ended["left"]) == ("preempted", 0, 4)
    assert "Traceback" not in err
    wait_for(lambda: not alive(family), 30)


def test_folders_named_like_ours_where_the_command_runs_do_no_harm(tmp_path):
    job = write_job(tmp_path / "job", photos=1, styles=1)
    elsewhere = tmp_path / "elsewhere"
    for name in ("jobs", "cluster", "stylize"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise SystemExit('hijacked')")

    ran = subprocess.run(
        [Path(sys.executable).with_name("stylefarm"), "run", job],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert len(pictures(tmp_path / "job")) == 1
