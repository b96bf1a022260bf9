"""A run on a Ray cluster with the stand-in renderer, in a process of its own: one JSON line for each event.

``python -m tests.support.floor JOB ADDRESS``
"""

from __future__ import annotations

import os
import sys
import threading

# Ray gives its workers what the driver has: they find the stand-in here.
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)

import cluster.run.run_job
from cluster.events.events import Event
from cluster.events.json_lines import to_json
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from cluster.signals import Interrupts
from jobs.jobfile.load import load_job
from tests.support.farm import STAND_IN


def main(job: str, address: str) -> int:
    """The job to its end; its exit status."""
    cluster.run.run_job.CHECKPOINT_SECONDS = 0.2

    # What Ray prints, of a worker that died, say, is not to be mixed with a line of ours.
    lines = os.dup(1)
    os.dup2(2, 1)

    one_at_a_time = threading.Lock()

    def listen(event: Event) -> None:
        # Events come from several threads.
        with one_at_a_time, open(lines, "w", encoding="utf-8", closefd=False) as out:
            out.write(f"{to_json(event)}\n")

    options = RunOptions(address=address, renderer=STAND_IN)
    with Interrupts() as interrupts:
        return run_job(
            load_job(job), options, listen, interrupts.what, on_connected=interrupts.install
        ).exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
