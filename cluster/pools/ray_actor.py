"""The actor: a ``Worker`` in a process of its own, holding its share of the GPUs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from cluster.events import logs
from cluster.messages import Assignment, DeviceInfo, Outcome, Report, WorkerSetup
from cluster.pools.base import PREFETCH
from cluster.worker.worker import Worker, worker_name

FREE_SHARE = 0.5
"""Of a worker's share of a GPU, that must be free when it begins: else somebody else works there."""

FAREWELL_SECONDS = 5.0
"""How long a worker that leaves waits, after its last attempt, for its outcomes to be fetched."""

CONTROL = "control"


@dataclass(frozen=True)
class About:
    """Who a worker is."""

    name: str
    node: str
    """Ray's id of it."""
    host: str
    pid: int
    device: DeviceInfo
    problem: str | None = None
    """Why it cannot work."""


class RayWorker:
    """What Ray runs. Its process is found by this name."""

    def __init__(self, setup: WorkerSetup, kind: str, number: int, gpus: float) -> None:
        context = ray.get_runtime_context()
        if _is_crowded(context.get_node_id()):
            # Read when torch is first imported, which is below. Waiting threads that spin take the cores
            # from the other workers, and a render of several threads then takes many times as long; where
            # each has its own they should, or a render takes half as long again.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        visible_gpus = tuple(context.get_accelerator_ids().get("GPU", []))
        devices = max(1, int(gpus))
        name = (
            f"{kind}-{number}"
            if not visible_gpus
            else f"{kind}-{number}(gpu {','.join(visible_gpus)})"
        )
        full_name = worker_name(name)
        # Ray keeps what a worker writes to standard error in a file of its own, on its node.
        logs.set_up("json", logging.INFO, {"worker": full_name, "node": context.get_node_id()})
        # Relative where the job's folder came along with a submission: Ray starts workers where it is.
        setup = replace(setup, base=str(Path(setup.base).absolute()))
        self._worker = Worker(setup, full_name, devices=devices)
        self._about = About(
            name=self._worker.name,
            node=context.get_node_id(),
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._worker.device,
            problem=_find_problem(visible_gpus, gpus),
        )
        self._lock = threading.Lock()
        self._ended: dict[str, Outcome] = {}
        """Outcomes that the driver may not have got, by attempt."""
        # Ray makes actors on the main thread, where signals can be taken.
        signal.signal(signal.SIGTERM, lambda *_: self.preempt())

    def run(self, assignments: Sequence[Assignment]) -> list[Outcome]:
        """Make attempts."""
        outcomes = self._worker.run(assignments)
        with self._lock:
            self._ended.update({outcome.attempt_record.id: outcome for outcome in outcomes})
            while len(self._ended) > KEPT_OUTCOMES:
                del self._ended[next(iter(self._ended))]
        return outcomes

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def about(self) -> About:
        """Who this is; answers once the worker is up."""
        return self._about

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def report(self) -> Report:
        """What there is to say of it now."""
        return self._worker.report()

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def ended(self, attempt_ids: Sequence[str]) -> list[Outcome] | None:
        """The outcomes of these attempts, whose call's own answer was lost; None while they run."""
        with self._lock:
            if all(attempt_id in self._ended for attempt_id in attempt_ids):
                return [self._ended[attempt_id] for attempt_id in attempt_ids]
        return None

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def drain(self) -> None:
        """Finish what is painting and nothing else."""
        self._worker.drain()

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def recall(self, attempt_ids: Sequence[str]) -> None:
        """Send these attempts back, unless they are painting."""
        self._worker.recall(attempt_ids)

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def preempt(self) -> None:
        """The machine is taken away: hand everything back, and end."""
        self._worker.preempt()
        threading.Thread(target=self._end_when_idle, daemon=True).start()

    def _end_when_idle(self) -> None:
        while not self._worker.idle:
            time.sleep(0.1)
        time.sleep(FAREWELL_SECONDS)
        os._exit(0)


KEPT_OUTCOMES = 64

REMOTE: Any = ray.remote(
    max_restarts=0,
    max_task_retries=0,
    max_concurrency=1 + PREFETCH + 1,
    concurrency_groups={CONTROL: 2},
)(RayWorker)


def _is_crowded(node: str) -> bool:
    """Whether Ray gives out more cores on this node than it has."""
    given: float = sum(n["Resources"].get("CPU", 0) for n in ray.nodes() if n["NodeID"] == node)
    return given > (os.cpu_count() or 1)


def _find_problem(visible_gpus: Sequence[str], gpus: float) -> str | None:
    """Why this process cannot render on the GPUs that it was given; None when it can."""
    wanted = max(1, int(gpus)) if gpus else 0
    if len(visible_gpus) != wanted:
        return f"it must see {wanted} GPUs and sees {list(visible_gpus)}"
    if not wanted or not _has_cuda():
        return None
    import torch

    if torch.cuda.device_count() != wanted:
        return f"Ray gave it {wanted} GPUs and CUDA sees {torch.cuda.device_count()}"
    for index in range(wanted):
        free, total = torch.cuda.mem_get_info(index)
        share = min(gpus, 1.0)
        if free < FREE_SHARE * share * total:
            return (
                f"GPU {visible_gpus[index]} has only {free / 1e9:.1f} of {total / 1e9:.1f} GB free: "
                "something else works there"
            )
    return None


def _has_cuda() -> bool:
    """Whether torch, if it is what renders, has found a GPU."""
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()
