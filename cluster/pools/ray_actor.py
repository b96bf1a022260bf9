"""``RayWorker``: the actor that runs a ``Worker`` in a process of its own, with its share of the GPUs."""

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
"""The part of a worker's share of a GPU that must be free at its start; else another program uses it."""

FAREWELL_SECONDS = 5.0
"""How long a preempted worker stays up after its last attempt, for its outcomes to be fetched, in seconds."""

CONTROL = "control"
"""The concurrency group of the methods that must answer while attempts run."""


@dataclass(frozen=True)
class About:
    """A worker's identity, device and fitness, as it reports them once it is up."""

    name: str
    node: str
    """Ray's id of the worker's node."""
    host: str
    """The host name of the worker's node."""
    pid: int
    device: DeviceInfo
    problem: str | None = None
    """The reason for which the worker cannot render; None if it can."""


class RayWorker:
    """The actor's class. ``cluster.leave`` finds the actors' processes by this name.

    Args:
        setup: The settings of the job's workers.
        kind: ``gpu`` or ``cpu``; the worker's name starts with it.
        number: The worker's number in its pool.
        gpus: GPUs that the worker holds, >= 0; below 1, a share of one.
    """

    def __init__(self, setup: WorkerSetup, kind: str, number: int, gpus: float) -> None:
        context = ray.get_runtime_context()
        if _is_crowded(context.get_node_id()):
            # OpenMP reads this when torch is first imported, which is below. Waiting threads that spin take
            # the cores of other workers, and a render with several threads then takes many times as long.
            # Where each worker has its own cores they should spin: without it a render takes half as long
            # again.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        visible_gpus = tuple(context.get_accelerator_ids().get("GPU", []))
        devices = 1 if setup.members > 1 else max(1, int(gpus))
        name = (
            f"{kind}-{number}"
            if not visible_gpus
            else f"{kind}-{number}(gpu {','.join(visible_gpus)})"
        )
        full_name = worker_name(name)
        # Ray stores a worker's standard error in a file on its node.
        logs.set_up("json", logging.INFO, {"worker": full_name, "node": context.get_node_id()})
        # The path is relative where the job's folder was shipped with a submission: Ray starts workers in it.
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
        """The last outcomes, by attempt id: a call's answer may be lost on its way to the driver."""
        # Ray makes actors on the main thread, where signals can be taken.
        signal.signal(signal.SIGTERM, lambda *_: self.preempt())

    def run(self, assignments: Sequence[Assignment]) -> list[Outcome]:
        """Make attempts, and keep their outcomes for ``ended``.

        Args:
            assignments: The attempts of one call.

        Returns:
            One outcome per assignment, in order; see ``Worker.run``.
        """
        outcomes = self._worker.run(assignments)
        with self._lock:
            self._ended.update({outcome.attempt_record.id: outcome for outcome in outcomes})
            while len(self._ended) > KEPT_OUTCOMES:
                del self._ended[next(iter(self._ended))]
        return outcomes

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def about(self) -> About:
        """Return the worker's name, place and device; answers once the worker is up."""
        return self._about

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def report(self) -> Report:
        """Return the worker's progress and signs of life; see ``Worker.report``."""
        return self._worker.report()

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def ended(self, attempt_ids: Sequence[str]) -> list[Outcome] | None:
        """Return the outcomes of a call whose answer was lost.

        Args:
            attempt_ids: The ids of the call's attempts.

        Returns:
            The outcomes, in order; None while an attempt is in flight.
        """
        with self._lock:
            if all(attempt_id in self._ended for attempt_id in attempt_ids):
                return [self._ended[attempt_id] for attempt_id in attempt_ids]
        return None

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def drain(self) -> None:
        """Let painting attempts finish and hand the others back; see ``Worker.drain``."""
        self._worker.drain()

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def recall(self, attempt_ids: Sequence[str]) -> None:
        """Hand attempts back, unless they are painting; see ``Worker.recall``.

        Args:
            attempt_ids: The attempts' ids.
        """
        self._worker.recall(attempt_ids)

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def preempt(self) -> None:
        """Store checkpoints, hand all attempts back, and exit: the machine is being taken away."""
        self._worker.preempt()
        threading.Thread(target=self._end_when_idle, daemon=True).start()

    def _end_when_idle(self) -> None:
        while not self._worker.idle:
            time.sleep(0.1)
        time.sleep(FAREWELL_SECONDS)
        os._exit(0)


KEPT_OUTCOMES = 64
"""The number of outcomes that a worker keeps for ``ended``."""

REMOTE: Any = ray.remote(
    max_restarts=0,
    max_task_retries=0,
    max_concurrency=1 + PREFETCH + 1,
    concurrency_groups={CONTROL: 2},
)(RayWorker)


def _is_crowded(node: str) -> bool:
    """Return whether Ray hands out more cores of this node than it has."""
    given: float = sum(n["Resources"].get("CPU", 0) for n in ray.nodes() if n["NodeID"] == node)
    return given > (os.cpu_count() or 1)


def _find_problem(visible_gpus: Sequence[str], gpus: float) -> str | None:
    """Return why this process cannot render on its GPUs; None if it can."""
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
                "another program is using it"
            )
    return None


def _has_cuda() -> bool:
    """Return whether the renderer uses torch, and torch has a GPU."""
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()
