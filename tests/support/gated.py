"""A run whose pictures are painted when they are told to, in a process of its own.

``python -m tests.support.gated JOB``: the n-th picture is painted slowly from its middle on, and is not
ready, until ``go-<n>`` is beside the job. It never stands still: a run whose steps do has no speed to show.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from cluster.worker.renderer import Order, Painted, ShouldStop
from jobs.jobfile.load import load_job
from jobs.records.loss_log import LossRow
from tests.support.farm import Echo

STEPS_AT_ONCE = 10

SLOW_SECONDS = 3.0
"""How long so many steps take from the middle on."""


class Gated(Echo):
    """Makes its steps in groups, with rows and previews, and lingers from its middle on until it may end."""

    count = 0

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        (order,) = orders
        self.count += 1
        gate = self._base / f"go-{self.count}"
        steps = order.task.recipe.steps
        layers = (1.0,) * len(order.task.recipe.style_layers)
        order.resumption.begin(0)
        for step in range(0, steps + 1, STEPS_AT_ONCE):
            order.observe([LossRow(32, step, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
            if order.preview is not None and order.preview.due:
                order.preview.take(order.content)
            began = time.monotonic()
            while step >= steps // 2 and not gate.exists():
                if step < steps and time.monotonic() - began > SLOW_SECONDS:
                    break
                time.sleep(0.05)
            time.sleep(0.01)
        return [Painted(order.content, ())]


GATED = "tests.support.gated:Gated"


def main(job: str) -> int:
    """The job to its end; its exit status."""
    options = RunOptions(pool="inline", renderer=GATED)
    return run_job(load_job(job), options, lambda _: None).exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
