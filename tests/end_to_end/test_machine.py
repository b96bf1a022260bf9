"""Runs on machines that lack what others have: a home folder, a short TMPDIR, a Ray cluster."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
from pathlib import Path

import pytest

from cluster.listening import check_listening
from jobs.errors import ExitStatus
from tests.support.farm import (
    PATIENCE,
    ROOT,
    command,
    picture,
    records_of,
    stylefarm,
    wait_for,
    write_job,
)
from tests.support.head import ray_head
from tests.support.machine import alone, folder_for_all, stylefarm_of_stranger
from tests.support.rigs import free_port, make_authority, web_server


@pytest.mark.slow
def test_a_user_without_a_home_folder_renders_on_ray() -> None:
    with folder_for_all() as folder:
        job = write_job(folder / "job", photos=1, styles=1)
        (folder / "job").chmod(0o777)
        ran = stylefarm_of_stranger("run", job, folder=folder)
        assert (ran.returncode, ran.stderr) == (0, ran.stderr), ran.stderr
        assert "1 done" in ran.stderr
        assert [r.status for r in records_of(job).values()] == ["done"]


@pytest.mark.slow
@pytest.mark.parametrize(("home", "below"), [("/proc", "short"), ("/dev/null/home", "long" * 20)])
def test_ray_needs_no_home_folder_that_can_be_written_and_no_short_tmpdir(
    tmp_path: Path, home: str, below: str
) -> None:
    folder = tmp_path / below
    folder.mkdir()
    job = write_job(tmp_path, photos=1, styles=1)
    ran = stylefarm("run", job, HOME=home, TMPDIR=str(folder))
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_a_cluster_is_joined_through_a_ray_client_past_every_proxy(tmp_path: Path) -> None:
    with ray_head() as head:
        wait_for(lambda: _listens(head.client_port), 60)
        job = write_job(tmp_path, photos=1, styles=1)
        address = f"ray://127.0.0.1:{head.client_port}"
        nowhere = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:1")
        ran = stylefarm("run", job, "--address", address, **nowhere)
        assert ran.returncode == 0, ran.stderr
        joined = stylefarm("run", job, "--address", head.gcs, "--overwrite", **nowhere)
        assert joined.returncode == 0, joined.stderr
    assert [r.status for r in records_of(job).values()] == ["done"]


@pytest.mark.slow
def test_a_head_that_starts_no_server_says_why(tmp_path: Path) -> None:
    with ray_head(env={"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "0"}) as head:
        wait_for(lambda: _listens(head.client_port), 60)
        job = write_job(tmp_path, photos=1, styles=1)
        # A head keeps a client that it has refused as long as the client wants to come back: half a minute.
        soon = {"RAY_CLIENT_RECONNECT_GRACE_PERIOD": "1"}
        ran = stylefarm("run", job, "--address", f"ray://127.0.0.1:{head.client_port}", **soon)
    assert ran.returncode == ExitStatus.UNREACHABLE, ran.stderr
    assert "did not start a server for this client in 3 attempts: RuntimeError: " in ran.stderr


@pytest.mark.parametrize(
    "words", [["report", "out"], ["plan", "job.yaml"], ["schedule", "--history"]]
)
def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path, words: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f"cd {gone} && rmdir {gone} && exec {shlex.join(command(*words))} --state st"
    shell = shell if words[0] == "schedule" else shell.removesuffix(" --state st")
    ran = subprocess.run(
        ["sh", "-c", shell],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode in (2, 3), ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1, ran.stderr


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token_is_one_sentence_at_once(tmp_path: Path) -> None:
    """Ray asks for half a minute, and prints a warning each second."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    job = write_job(tmp_path, photos=1, styles=1)
    with ray_head(env=token) as head:
        wait_for(lambda: _listens(head.client_port), 60)
        for address in (head.gcs, f"ray://127.0.0.1:{head.client_port}"):
            for given, said in (
                ({"HOME": str(tmp_path)}, "the cluster asks for a token, and none was given: set"),
                ({**token, "RAY_AUTH_TOKEN": "f" * 32}, "and has another than this machine: set"),
            ):
                ran = stylefarm("run", job, "--address", address, **given)
                assert ran.returncode == 3
                assert said in ran.stderr.splitlines()[-1]
                assert len(ran.stderr.splitlines()) == 4, (
                    ran.stderr
                )  # the job, its gallery, "joining", this
        ran = stylefarm("run", job, "--address", head.gcs, **token)
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("wanted", ["plan", "run", "doctor", "report"])
def test_a_tilde_without_a_home_folder_is_one_sentence(tmp_path: Path, wanted: str) -> None:
    job = write_job(tmp_path, photos=1, styles=1, output="~/out")
    ran = stylefarm(wanted, job, HOME="/dev/null/home")
    assert ran.returncode in ((1, 2) if wanted == "doctor" else (2, 3)), ran.stderr
    said = ran.stdout + ran.stderr
    assert "HOME is /dev/null/home, which is no folder; set HOME to a folder that exists" in said
    assert "Traceback" not in said


def test_auto_where_no_cluster_runs_says_so(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=1, styles=1)
    # Another test's cluster may run meanwhile, and is noted in the machine's own folder for such files.
    ended = _run_alone("run", job, "--address", "auto", RAY_ADDRESS="", TMPDIR=str(tmp_path))
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-1] == (
        "no Ray cluster runs on this machine, where the address auto looks for one: start one with ray start "
        "--head, name a head elsewhere with --address host:6379, or render here with --address local"
    )


def test_auto_where_the_cluster_has_ended_says_so(tmp_path: Path) -> None:
    """Ray notes the head's address in a file, which a head that is killed leaves behind."""
    job = write_job(tmp_path, photos=1, styles=1)
    (tmp_path / "ray").mkdir()
    port = free_port()
    (tmp_path / "ray/ray_current_cluster").write_text(f"127.0.0.1:{port}")
    ended = _run_alone("run", job, "--address", "auto", RAY_ADDRESS="", TMPDIR=str(tmp_path))
    assert ended.returncode == 3
    assert f":{port}, where a cluster was started on this machine: " in ended.stderr
    assert "it has ended: start one with ray start --head, or leave --address out" in ended.stderr


def test_one_key_names_an_own_authority_for_pictures_and_the_webhook(tmp_path: Path) -> None:
    _, server = make_authority(tmp_path / "ca.pem", tmp_path / "server.pem")
    photo = tmp_path / "photo.png"
    picture(1).save(photo)
    with web_server(lambda *_: (200, {}, photo.read_bytes()), server) as house:
        job = write_job(
            tmp_path,
            styles=1,
            pairs=[{"content": f"{house.url}/photo.png", "style": "styles/"}],
            inputs={"allow_private": True},
            storage={"ca_bundle": "ca.pem"},
            notify={"url": f"{house.url}/hook"},
        )
        ran = stylefarm("run", job, "--pool", "inline")
    assert ran.returncode == 0, ran.stderr
    assert "webhook failed" not in ran.stderr
    assert [(method, path) for method, path, _ in house.seen] == [
        ("GET", "/photo.png"),
        ("POST", "/hook"),
    ]


@pytest.mark.parametrize("wanted", ["plan", "run"])
def test_authorities_that_are_not_there_are_the_job_files_mistake(
    tmp_path: Path, wanted: str
) -> None:
    job = write_job(tmp_path, storage={"ca_bundle": "ca.pem"})
    ran = stylefarm(wanted, job)
    assert ran.returncode == 2
    line = job.read_text().splitlines().index("  ca_bundle: ca.pem") + 1
    assert ran.stderr.splitlines()[-1] == (
        f"{job}:{line}: storage.ca_bundle: there is no file {tmp_path}/ca.pem on this machine."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["run", "{job}", "--pool=inline", "--address=auto"],
            "so --address auto would have no effect",
        ),
        (["run", "{job}", "--pool=inline", "--workers=2"], "so --workers 2 would have no effect"),
        (["promote", "{job}", "--select=all", "--pool=inline", "--address=auto"], "no effect"),
        (["run", "{job}", "--log-format=json"], "--log-format needs --verbose"),
        (["report", "{job}", "--endpoint-url=http://minio:9000"], "which names its own"),
        (["report", "{out}", "--endpoint-url=http://minio:9000"], "which is not on s3://"),
        (["promote", "{out}", "--select=all", "--endpoint-url=http://minio:9000"], "not on s3://"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    job = write_job(tmp_path, photos=1, styles=1)
    words = [word.format(job=job, out=tmp_path / "out") for word in arguments]
    ran = stylefarm(*words)
    assert ran.returncode == 2, ran.stderr
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_one_worker_is_what_inline_has(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=1, styles=1)
    ran = stylefarm("run", job, "--pool=inline", "--workers=1", RAY_ADDRESS="auto")
    assert ran.returncode == 0, ran.stderr


def test_a_run_that_was_killed_here_is_known_to_be_gone_at_once(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=2, styles=1, recipe={"steps": 100_000, "optimizer": "adam"})
    run = subprocess.Popen(command("run", job, "--pool", "inline"), stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _state_of(job) == "running", 60)
    finally:
        run.kill()
        run.wait()
    assert _state_of(job) == "lost"
    ended = stylefarm("cancel", job, RAY_ADDRESS="", RAY_API_SERVER_ADDRESS="")
    assert (ended.returncode, ended.stdout) == (0, f"no run is working on {tmp_path / 'out'}\n")
    assert not (tmp_path / "out/cancel.json").exists()


def _state_of(job: Path) -> str | None:
    told = stylefarm("status", job, "--json", RAY_ADDRESS="", RAY_API_SERVER_ADDRESS="")
    return json.loads(told.stdout)["state"] if told.stdout else None


def _listens(port: int) -> bool:
    try:
        check_listening("127.0.0.1", port)
    except OSError:
        return False
    return True


def _run_alone(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command where no process of another test can be seen, as Ray looks for clusters there."""
    return subprocess.run(
        alone(command(*arguments)),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 60,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        check=False,
    )
