"""Signals as requests, and as an end that nothing can swallow."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

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
import os, signal, time
from cluster import signals

signals.INSIST_SECONDS = 0.2
with signals.ended_by_interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        print("heard", flush=True)
time.sleep(1)
print("and goes on")
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
