"""How much memory a process of its own takes: that of the tests has holes and peaks of all tests before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PEAK = """
import json, sys
arguments = json.loads(sys.argv[1])


def peak():
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(int(line.split()[1]) * 1024)


"""


def peaks(script: str, arguments: Any, threads: int = 1) -> list[int]:
    """Run a script in a fresh Python; return in bytes what was the most it took at each call of ``peak()``.

    Args:
        script: It may call ``peak()``, and finds ``arguments``.
        arguments: Whatever JSON has.
        threads: Of its computing.
    """
    if sys.platform != "linux":
        pytest.skip("the peak is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", PEAK + script, json.dumps(arguments)],
        # Threads that wait sleep: on a machine with other work they would spin for longer than they compute.
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]
