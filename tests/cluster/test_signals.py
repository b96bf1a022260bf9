"""Signals as requests, and as an end that nothing can swallow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.support import rigs
from tests.support.farm import command, wait_for, write_job
from tests.support.rigs import S3Server

LOST = """
import os, signal, sys, time
from cluster.signals import ended_by_interrupt

class Careless:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)  # raised in here, KeyboardInterrupt is lost
        time.sleep(0.01)

with ended_by_interrupt():
    Careless()
    print("goes on", flush=True)
    time.sleep(60)
"""

HEEDED = """
import os, signal, threading, time
from cluster import signals

with signals.ended_by_interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        print("heard", flush=True)
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()  # a timer that is not cancelled ends the process in here
print("and goes on")
"""


TERMINATED = """
import signal, sys, tempfile, time
from cluster.signals import Terminated, die_of, ended_by_termination

try:
    with ended_by_termination(), tempfile.TemporaryDirectory() as folder:
        print(folder, flush=True)
        time.sleep(60)
except Terminated as ended:
    number = ended.number
die_of(number)
"""

LOST_TERMINATION = """
import os, signal, time
from cluster import signals

class Careless:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

signals.INSIST_SECONDS = 0.5
with signals.ended_by_termination():
    Careless()
    time.sleep(60)
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )


def test_an_interrupt_that_is_lost_in_a_destructor_ends_the_process_all_the_same():
    began = time.monotonic()
    done = python(LOST)
    assert done.stdout == "goes on\n"
    assert "KeyboardInterrupt" in done.stderr  # ignored, as Python says
    assert done.returncode == 130
    assert time.monotonic() - began < 20


def test_one_that_is_heard_leaves_the_rest_to_who_hears_it():
    done = python(HEEDED)
    assert done.stdout == "heard\nand goes on\n", done.stderr
    assert done.returncode == 0


def test_the_handler_before_is_back_afterwards():
    from cluster.signals import ended_by_interrupt

    before = signal.getsignal(signal.SIGINT)
    with ended_by_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_terminated_cleans_up_and_dies_of_the_signal(number: int):
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINATED],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir()
    process.send_signal(number)
    assert process.wait(30) == -number
    assert not folder.exists()


def test_where_a_hangup_is_ignored_it_stays_so():
    """As under nohup."""
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINATED],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM


def test_a_termination_that_is_lost_in_a_destructor_ends_the_process_all_the_same():
    assert python(LOST_TERMINATION).returncode == 128 + signal.SIGTERM


def test_a_plan_that_is_terminated_leaves_no_copy_of_a_manifest(
    tmp_path: Path, moto: S3Server, monkeypatch: pytest.MonkeyPatch
):
    rig = rigs.make_rig("moto", moto, tmp_path)
    rigs.clean_aws(monkeypatch, rig.environment)
    row = b"photos/p0.png,styles/s0.png\n"
    rig.open("lists").put("pairs.csv", b"content,style\n" + row * 500_000)
    job = write_job(tmp_path / "job", photos=1, styles=1)
    spec = yaml.safe_load(job.read_text())
    spec["pairs"] = [{"manifest": f"{rig.url}/lists/pairs.csv"}]
    spec["storage"] = rig.options.model_dump(mode="json", exclude_none=True)
    job.write_text(yaml.safe_dump(spec))
    copies = tmp_path / "copies"
    copies.mkdir()
    process = subprocess.Popen(
        command("plan", job),
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(copies)},
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    )
    try:
        wait_for(lambda: list(copies.glob("*/*")) or process.poll() is not None)
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert not list(copies.iterdir())
