"""A command's display may fail in any way: no traceback, the true status, and no work is lost."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.farm import command, records_of, stylefarm, wait_for, write_job

STATES = ("closed", "full", "broken", "vanished", "non-blocking")


@contextlib.contextmanager
def stream_in(state: str) -> Iterator[int | str]:
    """A descriptor that cannot be written to; or "closed"."""
    if state == "closed":
        yield "closed"
        return
    if state == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    elif state == "broken":
        reader, descriptor = os.pipe()
        os.close(reader)
    elif state == "vanished":
        terminal, descriptor = pty.openpty()
        os.close(terminal)
    else:
        reader, descriptor = os.pipe()
        os.set_blocking(descriptor, False)
        threading.Thread(target=read_slowly, args=(reader,)).start()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_slowly(reader: int) -> None:
    """Until the last writer is gone."""
    while os.read(reader, 512):
        time.sleep(0.001)
    os.close(reader)


def run(arguments: list[str], state: str, broken: str) -> tuple[int, str]:
    """The status of a command one of whose streams is in this state, and what the other one got."""
    other = "stderr" if broken == "stdout" else "stdout"
    with stream_in(state) as descriptor:
        number = {"stdout": 1, "stderr": 2}[broken]
        streams = {other: subprocess.PIPE}
        if descriptor != "closed":
            streams[broken] = int(descriptor)
        before: Callable[[], None] | None = None
        if descriptor == "closed":
            before = lambda: os.close(number)  # noqa: E731
        done = subprocess.run(
            arguments,
            **streams,  # type: ignore[call-overload]
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=before,
            timeout=120,
            check=False,
        )
    said = done.stderr if broken == "stdout" else done.stdout
    return done.returncode, said.decode()


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = write_job(tmp_path_factory.mktemp("painted"), photos=1, styles=1)
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    return job


@pytest.mark.parametrize("json_lines", [False, True], ids=["bar", "json"])
@pytest.mark.parametrize("broken", ["stdout", "stderr"])
@pytest.mark.parametrize("state", STATES)
def test_a_run_paints_all_and_says_once_that_its_display_is_gone(
    tmp_path: Path, state: str, broken: str, json_lines: bool
) -> None:
    job = write_job(tmp_path, photos=2, styles=1)
    words = command("run", job, "--pool", "inline", *(["--json"] if json_lines else []))
    status, said = run(words, state, broken)
    assert "Traceback" not in said
    assert status == 0, said
    assert len(records_of(job)) == 2
    assert not (tmp_path / "out" / "lease.json").exists()
    if state == "non-blocking":
        assert "could not be written" not in said
    elif broken == "stdout" and (json_lines or state == "closed"):
        assert said.count("standard output could not be written") == 1
    elif broken == "stderr" and not json_lines:
        assert said.count("standard error could not be written") == 1
    if broken == "stderr" and json_lines:
        assert [json.loads(line) for line in said.splitlines()][-1]["event"] == "finished"


OTHERS = (
    ("plan", "JOB"),
    ("plan", "JOB", "--json"),
    ("report", "JOB"),
    ("status", "JOB"),
    ("schema",),
    ("schedule", "JOB", "--next", "3"),
    ("--help",),
)


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
@pytest.mark.parametrize("state", ["closed", "full", "broken"])
def test_what_a_command_is_for_and_cannot_be_written_is_a_failure(
    painted: Path, words: tuple[str, ...], state: str
) -> None:
    if "schedule" in words:
        text = painted.read_text()
        painted = painted.with_name("nightly.yaml")
        painted.write_text(text + "schedule: {cron: '0 2 * * *'}\n")
    arguments = command(*(str(painted) if word == "JOB" else word for word in words))
    status, said = run(arguments, state, "stdout")
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert status == 1, said
    if state == "full":
        assert said.strip() == "standard output could not be written: No space left on device"


@pytest.mark.parametrize("state", STATES)
def test_a_mistake_keeps_its_status_where_it_cannot_be_said(tmp_path: Path, state: str) -> None:
    status, said = run(command("plan", tmp_path / "no.yaml"), state, "stderr")
    assert (status, said) == (2, "")


def test_a_terminal_that_goes_away_amid_a_run_ends_nothing(tmp_path: Path) -> None:
    """Of a process that hangup does not reach: the run goes on to its end."""
    job = write_job(tmp_path, photos=3, styles=1, recipe={"steps": 60})
    terminal, descriptor = pty.openpty()
    words = command("run", job, "--pool", "inline")
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=descriptor,
        stderr=descriptor,
        start_new_session=True,
    )
    os.close(descriptor)
    os.read(terminal, 10)
    os.close(terminal)
    assert process.wait(120) == 0
    assert len(records_of(job)) == 3


@contextlib.contextmanager
def started(job: Path, hangup: signal.Handlers) -> Iterator[subprocess.Popen[str]]:
    """A run that begins with this answer to SIGHUP, whatever that of these tests is."""
    process = subprocess.Popen(
        command("run", job, "--pool", "inline", "--json"),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("twice", [False, True])
def test_hangup_stores_a_checkpoint_and_gives_the_lease_back(tmp_path: Path, twice: bool) -> None:
    job = write_job(tmp_path, photos=1, styles=1, recipe={"steps": 100_000, "segment": 50})
    with started(job, signal.SIG_DFL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and any(r["step"] > 100 for r in event["running"]):
                break
        process.send_signal(signal.SIGHUP)
        if twice:  # as a terminal that closes does it, and its shell
            time.sleep(0.05)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert list((tmp_path / "out" / "checkpoints").iterdir())
    assert not (tmp_path / "out" / "lease.json").exists()


def test_hangup_is_ignored_where_it_was_before(tmp_path: Path) -> None:
    """As by nohup."""
    job = write_job(tmp_path, photos=1, styles=1, recipe={"steps": 300})
    with started(job, signal.SIG_IGN) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=90)
        assert process.returncode == 0
    assert len(records_of(job)) == 1


@pytest.mark.parametrize("state", ["closed", "full", "broken"])
def test_the_schedule_service_outlives_its_display(tmp_path: Path, state: str) -> None:
    """Nothing that it says arrives, and it goes on to render, tick after tick."""
    job = write_job(
        tmp_path,
        photos=1,
        styles=1,
        output="out-{time}",
        schedule={"every": "2s"},
        recipe={"steps": 2},
    )
    words = command("schedule", job, "--state", tmp_path / "state", "--pool", "inline")
    with stream_in(state) as descriptor:
        streams = {} if descriptor == "closed" else {"stdout": int(descriptor)}
        process = subprocess.Popen(
            words,
            stderr=subprocess.DEVNULL,
            preexec_fn=(lambda: os.close(1)) if descriptor == "closed" else None,
            **streams,  # type: ignore[arg-type]
        )
    try:
        wait_for(lambda: len(list(tmp_path.glob("out-*/summary.json"))) >= 2, 90)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
