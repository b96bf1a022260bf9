"""What a run tells Prometheus, through Ray's own exporter: ``cluster/deploy/grafana.json`` shows it.

Ray serves these on every node's metrics port, with ``ray_`` before the name and, of counters, ``_total``
behind. All come from the driver, which hears everything; so a run has one series of each, not every worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.events import (
    Beat,
    Event,
    Paused,
    Resumed,
    TaskDone,
    TaskFailed,
    TaskRetried,
    WorkerLost,
)

COUNTERS = {
    "stylefarm_tasks": ("Tasks that ended, and attempts that are made again.", ("status",)),
    "stylefarm_steps": ("Optimiser steps of finished renders.", ()),
    "stylefarm_device_busy_seconds": ("Seconds for which finished renders held a device.", ()),
    "stylefarm_fetch_seconds": ("Seconds spent on fetching and decoding pictures.", ()),
    "stylefarm_store_seconds": ("Seconds spent on encoding and storing pictures.", ()),
    "stylefarm_wait_seconds": ("Seconds that fetched pictures waited for a device.", ()),
    "stylefarm_workers_lost": ("Workers lost, by reason.", ("reason",)),
}
GAUGES = {
    "stylefarm_queue": ("Tasks at hand, by whether a worker has them.", ("state",)),
    "stylefarm_workers": ("Workers, by whether they are up.", ("state",)),
    "stylefarm_busy_share": ("Mean share of their time for which workers hold their devices.", ()),
    "stylefarm_steps_per_second": ("Optimiser steps of all workers, of late.", ()),
    "stylefarm_paused": ("1 while the floor waits for storage in trouble.", ()),
    "stylefarm_gpu_hours": ("GPU hours that this run's workers have held.", ()),
}
HISTOGRAMS = {
    "stylefarm_task_seconds": (
        "Device seconds of a finished render.",
        (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000),
    )
}
TAG = "job"
"""Every series has it: the job's name."""


class Metrics:
    """A listener that passes on what it hears, and counts it. Needs a connected Ray."""

    def __init__(self, job: str, listen: Callable[[Event], None]) -> None:
        from cluster.ray_cluster import make_metrics

        self._listen = listen
        self._counters, self._gauges, self._histograms = make_metrics(
            COUNTERS, GAUGES, HISTOGRAMS, TAG, job
        )
        self._steps = 0
        self._last: tuple[float, int] | None = None

    def __call__(self, event: Event) -> None:
        self._listen(event)
        if isinstance(event, TaskDone):
            self._count("stylefarm_tasks", status="done")
            self._count("stylefarm_steps", event.steps)
            self._steps += event.steps
            for phase, name in (
                ("render", "stylefarm_device_busy_seconds"),
                ("fetch", "stylefarm_fetch_seconds"),
                ("store", "stylefarm_store_seconds"),
                ("wait", "stylefarm_wait_seconds"),
            ):
                self._count(name, event.phases.get(phase, 0.0))
            # A histogram takes nothing that is not above 0.
            self._histograms["stylefarm_task_seconds"].observe(max(event.seconds, 1e-3))
        elif isinstance(event, TaskFailed):
            self._count("stylefarm_tasks", status="failed")
        elif isinstance(event, TaskRetried):
            self._count("stylefarm_tasks", status="retried")
        elif isinstance(event, WorkerLost):
            self._count("stylefarm_workers_lost", reason=event.kind)
        elif isinstance(event, Paused | Resumed):
            self._set("stylefarm_paused", float(isinstance(event, Paused)))
        elif isinstance(event, Beat):
            self._beat(event)

    def _beat(self, event: Beat) -> None:
        for state, tasks in (("waiting", event.waiting), ("running", event.in_flight)):
            self._set("stylefarm_queue", tasks, state=state)
        for state, workers in (("up", event.workers), ("pending", event.pending)):
            self._set("stylefarm_workers", workers, state=state)
        self._set("stylefarm_paused", float(event.paused))
        self._set("stylefarm_gpu_hours", event.gpu_hours)
        shares = [state.busy for state in event.fleet if state.busy is not None]
        if shares:
            self._set("stylefarm_busy_share", sum(shares) / len(shares))
        now, steps = time.monotonic(), self._steps + sum(p.step for p in event.running)
        if self._last is not None and now > self._last[0]:
            rate = (steps - self._last[1]) / (now - self._last[0])
            self._set("stylefarm_steps_per_second", max(0.0, rate))
        self._last = (now, steps)

    def _count(self, name: str, value: float = 1.0, **tags: str) -> None:
        if value > 0:  # a counter takes nothing else
            self._counters[name].inc(value, tags=tags)

    def _set(self, name: str, value: float, **tags: str) -> None:
        self._gauges[name].set(value, tags=tags)
