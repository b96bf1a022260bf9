"""Where OpenMP has more helpers than cores a render takes half as long again: one thread has them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.farm import ROOT, picture

CODE = """
import sys, threading
from pathlib import Path
import torch
from cluster.worker.paint_thread import PaintThread
from cluster.worker.renderer import Painter
from jobs.spec.output import ImageOptions

seen = []
def threads_here():
    seen.append(torch.get_num_threads())
def in_thread(*calls):
    thread = threading.Thread(target=lambda: [call() for call in calls])
    thread.start()
    thread.join()

before = torch.get_num_threads()
painter = Painter(".", 5)
data = Path(sys.argv[1]).read_bytes()
five, own = PaintThread(5), PaintThread(None)
in_thread(lambda: painter.decode(data, "p", ImageOptions()), threads_here)
five.run(threads_here)
in_thread(lambda: five.run(threads_here))
own.run(threads_here)
PaintThread(None).run(threads_here)
threads_here()
print(before, *seen)
"""


def test_no_thread_but_the_one_that_paints_spreads_over_cores(tmp_path):
    picture(1).save(tmp_path / "p.png")
    ran = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "p.png"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    before, *seen = ran.stdout.split()
    # Of who fetched; of the one with five, called from here and from there; of those with what torch takes
    # by itself, though others were kept to one meanwhile; and of this one, which nobody asked to change.
    assert seen == ["1", "5", "5", before, before, before]


@pytest.mark.parametrize(
    ("given", "patience"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
)
def test_helpers_wait_briefly_unless_the_environment_says_otherwise(given, patience):
    code = """
import os, sys
from cluster.worker.paint_thread import wait_awake_briefly
wait_awake_briefly()
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env | given, capture_output=True, text=True
    )

    assert ran.stdout.split() == [patience, "False"], ran.stderr


def test_errors_of_painting_come_out_where_it_was_called(tmp_path):
    code = """
from cluster.worker.paint_thread import PaintThread
def fail():
    raise KeyError("paint")
try:
    PaintThread(1).run(fail)
except KeyError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ran.stdout == "'paint'\n", ran.stderr
