"""Workers on a Ray cluster: one actor per GPU (or share of one, or group of CPU cores).

Ray restarts and retries nothing here; the driver does, because only it knows what a task's attempts
mean. This file's part is to say truthfully which attempts ended, and to keep the number of workers up.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from cluster.messages import Failure, Outcome, Progress, WorkerSetup
from cluster.pool import PREFETCH, Lost
from cluster.worker import Worker, worker_name
from jobs.errors import ClusterError
from jobs.spec import Workers
from jobs.tasks import Task

log = logging.getLogger(__name__)

CORES_PER_CPU_WORKER = 4
"""Without a GPU: convolutions of one picture keep about so many cores busy."""

STILLBORN_LIMIT = 3
"""So many workers that die before they are up, one after another, mean that none will ever be."""

KNOCK_SECONDS = 10

LOCAL_STORE_BYTES = 128 * 1024 * 1024
"""Pictures never go through Ray's object store, so a local one need not be large."""


def connect(address: str | None) -> None:
    """Join the cluster at ``address`` (or RAY_ADDRESS), or start one on this machine.

    Raises ClusterError.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # Ray would otherwise warn that it will stop hiding GPUs from actors that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = address == "local"
    options: dict[str, Any] = {"object_store_memory": LOCAL_STORE_BYTES} if local else {}
    if not local:
        _knock(address)
    # Ray's workers put the driver's working folder first on their path, where a folder jobs or
    # cluster of the user's would be taken for ours.
    here = Path.cwd()
    os.chdir(Path(__file__).resolve().parents[1])
    try:
        ray.init(
            address=address,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            **options,
        )
    except Exception as error:  # ConnectionError, RuntimeError, AuthenticationError, ...
        where = "on this machine" if local else f"at {address}"
        raise ClusterError(f"Ray cannot be reached {where}: {_first_line(error)}") from error
    finally:
        os.chdir(here)


def _knock(address: str) -> None:
    """Raise ClusterError when nobody listens at host:port: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # auto, and whatever else Ray understands
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"Ray cannot be reached at {address}: {error.strerror or error}; is the head up?"
        ) from error


def disconnect() -> None:
    """Leave the cluster; a local one ends with it."""
    ray.shutdown()


def describe() -> str:
    """What the connected cluster has, for a person."""
    resources = ray.cluster_resources()
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    return (
        f"{ray.__version__}, {nodes} node{'s' if nodes > 1 else ''}, "
        f"{resources.get('GPU', 0):g} GPUs, {resources.get('CPU', 0):g} CPUs"
    )


@dataclass(frozen=True)
class Layout:
    """How many workers there are to be, and what each holds."""

    workers: int
    gpus: float
    cpus: float
    threads: int | None

    @property
    def kind(self) -> str:
        return "gpu" if self.gpus else "cpu"


def lay_out(wanted: Workers, resources: dict[str, float]) -> Layout:
    """Share out a cluster's resources, as ``ray.cluster_resources()`` gives them.

    Raises ClusterError when nothing fits.
    """
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if gpus:
        # A whole number of shares fits on one GPU; what is left of a card cannot be joined.
        most = int(gpus) * int(1 / wanted.gpus + 1e-9)
        count = most if wanted.max == "auto" else wanted.max
        threads = None if wanted.threads == "auto" else wanted.threads
        # Fetching and encoding take a core now and then; asking for whole ones would leave GPUs idle.
        return Layout(count, wanted.gpus, 0.0, threads)
    if cpus < 1:
        raise ClusterError("the cluster has neither GPUs nor CPUs to work with")
    if wanted.threads != "auto":
        each = min(wanted.threads, int(cpus))
        count = max(1, int(cpus) // each) if wanted.max == "auto" else wanted.max
    elif wanted.max == "auto":
        count = max(1, int(cpus) // CORES_PER_CPU_WORKER)
        each = int(cpus) // count
    else:
        count = min(wanted.max, int(cpus))
        each = int(cpus) // count
    return Layout(count, 0.0, float(each), each)


class RayWorker:
    """A ``Worker`` in a process of its own, holding its share of a GPU."""

    def __init__(self, setup: WorkerSetup, kind: str, number: int, gpus: float) -> None:
        seen = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
        if gpus and len(seen) != 1:
            raise RuntimeError(f"a worker must see exactly one GPU, and this one sees {seen}")
        # Read when torch is first imported, which is below. Waiting threads that spin take the cores
        # from the other workers, and a render of several threads then takes many times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        name = f"{kind}-{number}" if not seen else f"{kind}-{number}(gpu {seen[0]})"
        self._about = {"gpus": seen, "pid": os.getpid()}
        self._worker = Worker(setup, worker_name(name))

    def run(self, task: Task, attempt: str) -> Outcome:
        """Make an attempt."""
        return self._worker.run(task, attempt)

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def about(self) -> dict[str, Any]:
        """Who this is; answers once the worker is up."""
        return {**self._about, "name": self._worker.name, "device": self._worker.device}

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def progress(self) -> list[Progress]:
        """Where its attempts stand."""
        return self._worker.progress()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def drain(self) -> None:
        """Finish what is painting and nothing else."""
        self._worker.drain()


_RayWorker: Any = ray.remote(
    max_restarts=0,
    max_task_retries=0,
    max_concurrency=1 + PREFETCH,
    concurrency_groups={"control": 1},
)(RayWorker)


@dataclass
class _Member:
    """One actor and what it is doing."""

    number: int
    actor: Any
    about: Any
    """The pending answer to ``about``; None once the worker is up."""
    name: str
    attempts: dict[Any, tuple[Task, str]] = field(default_factory=dict)
    asked: Any = None
    """The pending answer to ``progress``."""
    heard: list[Progress] = field(default_factory=list)

    def painting(self) -> str:
        """Which of its attempts holds the device: as last heard, else the one it has had longest."""
        heard = {progress.attempt for progress in self.heard}
        by_age = [attempt for _, attempt in self.attempts.values()]
        return next((attempt for attempt in by_age if attempt in heard), by_age[0])


class RayPool:
    """Actors on the connected cluster, replaced when they die."""

    def __init__(self, setup: WorkerSetup, wanted: Workers) -> None:
        self.layout = lay_out(wanted, ray.cluster_resources())
        self._setup = replace(setup, threads=self.layout.threads)
        self._members: list[_Member] = []
        self._made = 0
        self._stillborn = 0
        self._draining = False
        for _ in range(self.layout.workers):
            self._add()

    @property
    def free_slots(self) -> int:
        return sum(1 + PREFETCH - len(m.attempts) for m in self._members if m.about is None)

    @property
    def workers(self) -> int:
        return sum(1 for m in self._members if m.about is None)

    def submit(self, task: Task, attempt: str) -> None:
        # The least busy first, so that no worker waits while another has a queue.
        member = min((m for m in self._members if m.about is None), key=lambda m: len(m.attempts))
        member.attempts[member.actor.run.remote(task, attempt)] = (task, attempt)

    def wait(self, timeout: float) -> list[Outcome | Lost]:
        self._listen()
        refs = [ref for m in self._members for ref in (*m.attempts, *_pending(m.about))]
        if not refs:
            return []
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        if not ready:
            ready, _ = ray.wait(refs, num_returns=1, timeout=timeout)
        ended: list[Outcome | Lost] = []
        for ref in ready:
            member = next((m for m in self._members if ref is m.about or ref in m.attempts), None)
            if member is None:
                continue  # its worker died in this very round, and with it was dealt already
            if ref is member.about:
                self._welcome(member)
            else:
                ended += self._collect(member, ref)
        return ended

    def progress(self) -> list[Progress]:
        return [p for m in self._members for p in m.heard if p.attempt in _attempts(m)]

    def drain(self) -> None:
        self._draining = True
        for member in self._members:
            if member.about is None:
                member.actor.drain.remote()

    def close(self) -> None:
        for member in self._members:
            ray.kill(member.actor)
        self._members.clear()

    def _add(self) -> None:
        number = self._made
        self._made += 1
        layout = self.layout
        actor = _RayWorker.options(num_gpus=layout.gpus, num_cpus=layout.cpus).remote(
            self._setup, layout.kind, number, layout.gpus
        )
        name = f"{layout.kind}-{number}"
        self._members.append(_Member(number, actor, actor.about.remote(), name))

    def _welcome(self, member: _Member) -> None:
        try:
            member.name = ray.get(member.about)["name"]
        except RayError as error:
            self._members.remove(member)
            self._stillborn += 1
            log.warning("%s did not come up: %s", member.name, _first_line(error))
            if self._stillborn >= STILLBORN_LIMIT:
                raise ClusterError(f"no worker comes up: {_cause(error)}") from error
            self._add()
            return
        member.about = None
        self._stillborn = 0
        log.info("%s is up", member.name)

    def _collect(self, member: _Member, ref: Any) -> list[Outcome | Lost]:
        task, attempt = member.attempts[ref]
        try:
            outcome: Outcome = ray.get(ref)
        except RayActorError as error:
            # Everything it held is lost with it; wait for no other reference to say so.
            painting = member.painting()
            self._members.remove(member)
            ray.kill(member.actor)  # unavailable is not dead: make sure that it does not go on
            reason = f"its worker {member.name} died: {_first_line(error)}"
            log.warning("%s is lost with %d attempts", member.name, len(member.attempts))
            if not self._draining:
                self._add()
            return [
                Lost(t, a, Failure("worker", reason), member.name, painting=a == painting)
                for t, a in member.attempts.values()
            ]
        except RayError as error:
            del member.attempts[ref]
            reason = f"Ray could not run it: {_first_line(error)}"
            return [Lost(task, attempt, Failure("worker", reason), member.name)]
        del member.attempts[ref]
        return [outcome]

    def _listen(self) -> None:
        """Take in what workers said of their progress, and ask again. Never waits."""
        for member in self._members:
            if member.about is not None or not member.attempts:
                continue
            if member.asked is not None:
                ready, _ = ray.wait([member.asked], timeout=0)
                if not ready:
                    continue
                try:
                    member.heard = ray.get(member.asked)
                except RayError:
                    member.heard = []  # its attempts will say what happened
            member.asked = member.actor.progress.remote()


def _pending(ref: Any) -> tuple[Any, ...]:
    return () if ref is None else (ref,)


def _attempts(member: _Member) -> set[str]:
    return {attempt for _, attempt in member.attempts.values()}


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _cause(error: BaseException) -> str:
    """What the worker's constructor raised: the last line of the traceback that Ray reports."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
