"""Joining a Ray cluster, or starting one here, and what its nodes have."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
from ray._private import utils

import cluster
from jobs.errors import ClusterError
from jobs.spec.workers import Workers

log = logging.getLogger(__name__)

CORES_PER_CPU_WORKER = 4
"""Without a GPU: convolutions of one picture keep about so many cores busy."""

KNOCK_SECONDS = 10

TOKEN_ADVICE = (
    " (somebody listens there: is it a Ray head of this version, and is the token the cluster's? With "
    "RAY_AUTH_MODE=token it is read from RAY_AUTH_TOKEN or ~/.ray/auth_token)"
)

PACKAGE_ROOT = Path(cluster.__file__).resolve().parents[1]
"""The folder that holds ``cluster``, ``jobs`` and ``stylize``."""

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
    try:
        with _signals_as_they_are():
            ray.init(
                address=address,
                job_config=_job_config(),
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                **options,
            )
    except Exception as error:  # ConnectionError, RuntimeError, AuthenticationError, ...
        where = "on this machine" if local else f"at {address}"
        advice = "" if local else TOKEN_ADVICE
        raise ClusterError(f"Ray cannot be reached {where}: {first_line(error)}{advice}") from error


def _job_config() -> Any:
    """A Ray job whose workers import this package from where the driver does.

    Ray puts the driver's working directory first on its workers' path, unless the job comes from a Ray
    client; a folder ``jobs`` or ``cluster`` of the user's would then be imported in place of ours. Changing
    the directory for the duration of ``ray.init`` is no way out: other threads resolve relative paths.
    """
    from ray.job_config import JobConfig

    try:
        return JobConfig(_client_job=True, _py_driver_sys_path=[str(PACKAGE_ROOT)])
    except TypeError:
        # A Ray that has renamed these: its own default serves wherever nothing shadows us.
        log.debug("this Ray puts the working directory on its workers' path")
        return JobConfig()


@contextlib.contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """While entered, Ray leaves SIGTERM to who has a handler for it. Its own exits amid whatever is being
    done, which between Python and C++ is a crash, and in no way by which a run ends."""
    take = getattr(utils, "set_sigterm_handler", None)
    if take is None or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        yield
        return
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = take


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


def as_shipped(base: str) -> str:
    """A job's folder as workers are to take it. What came along with a submission lies, on every node, in the
    folder that Ray unpacks there and starts workers in: so the path is made relative to that."""
    here = Path.cwd()
    unpacked = ray.get_runtime_context().runtime_env.get("working_dir")
    if unpacked and Path(base).is_relative_to(here):
        return str(Path(base).relative_to(here))
    return base


def describe() -> str:
    """What the connected cluster has, for a person."""
    nodes = look().nodes
    gpus, cpus = (sum(node.resources.get(what, 0) for node in nodes) for what in ("GPU", "CPU"))
    plural = "s" if len(nodes) > 1 else ""
    return f"{ray.__version__}, {len(nodes)} node{plural}, {gpus:g} GPUs, {cpus:g} CPUs"


@dataclass(frozen=True)
class Node:
    """A machine that Ray holds for alive."""

    id: str
    host: str
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """The cluster at some moment."""

    nodes: tuple[Node, ...]
    draining: frozenset[str] = frozenset()
    """Nodes that are being taken away."""


def look() -> View:
    """What there is now. Asks the head, which takes milliseconds."""
    nodes = tuple(
        Node(
            node["NodeID"],
            node["NodeManagerHostname"],
            node.get("Resources", {}),
            node.get("Labels", {}),
        )
        for node in ray.nodes()
        if node["Alive"]
    )
    return View(nodes, _draining())


def _draining() -> frozenset[str]:
    # Ray Serve asks like this; there is no public way. Without it a spot notice still reaches the workers,
    # as SIGTERM, only not the driver.
    try:
        client = _head(ray.get_runtime_context().gcs_address)
        return frozenset(node.hex() for node in client.get_draining_nodes(timeout=5))
    except Exception as error:
        log.debug("draining nodes are not known: %s", error)
        return frozenset()


@lru_cache(maxsize=1)
def _head(address: str) -> Any:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    return GcsClient(address=address)


@dataclass(frozen=True)
class Needs:
    """What each worker holds."""

    gpus: float
    cpus: float
    threads: int | None

    @property
    def kind(self) -> str:
        return "gpu" if self.gpus else "cpu"

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many workers a node has room for."""
        if self.gpus >= 1:
            return int(resources.get("GPU", 0) / self.gpus)
        if self.gpus:
            # A whole number of shares fits on one GPU; what is left of a card cannot be joined.
            return int(resources.get("GPU", 0)) * int(1 / self.gpus + 1e-9)
        return int(resources.get("CPU", 0) / self.cpus + 1e-9)


def needs_of(wanted: Workers, nodes: Sequence[Node]) -> Needs:
    """What each worker of a job should hold on these nodes. Raises ClusterError."""
    any_gpu = any(node.resources.get("GPU", 0) >= 1 for node in nodes)
    cpus = [int(node.resources.get("CPU", 0)) for node in nodes]
    cpus = [count for count in cpus if count]
    threads = None if wanted.threads == "auto" else wanted.threads
    # A head without anything to work with waits for machines, and those of a render farm have GPUs.
    if wanted.device == "gpu" or (wanted.device == "auto" and (any_gpu or not cpus)):
        if not any_gpu and wanted.max == "auto":
            raise ClusterError(
                "the cluster has no GPU; where an autoscaler is to bring some, say how many with "
                "workers.max"
            )
        # Fetching and encoding take a core now and then; asking for whole ones would leave GPUs idle.
        return Needs(wanted.gpus, 0.0, threads)
    if not cpus:
        raise ClusterError("the cluster has no CPUs to work with")
    if threads is not None:
        each = min(threads, max(cpus))
    elif wanted.max == "auto":
        smallest = min(cpus)
        each = smallest // max(1, smallest // CORES_PER_CPU_WORKER)
    else:
        count = min(wanted.max, sum(cpus))
        per_node = -(-count // len(cpus))
        each = max(1, min(cpus) // per_node)
    return Needs(0.0, float(each), each)


def suits(wanted: Workers, node: Node) -> bool:
    """Whether a node has the labels that a job asks for, as Ray reads them: a, !a, in(a, b), !in(a, b)."""
    for key, condition in wanted.labels.items():
        has = node.labels.get(key)
        text = condition.removeprefix("!")
        listed = text.removeprefix("in(").removesuffix(")") if text.startswith("in(") else text
        matches = has in [value.strip() for value in listed.split(",")]
        if matches == condition.startswith("!"):
            return False
    return True


def check_room(wanted: Workers, needs: Needs, nodes: Sequence[Node]) -> None:
    """Raise ClusterError where no node has room for a worker, and none is asked to come."""
    if wanted.max != "auto" or any(needs.fit(n.resources) for n in nodes if suits(wanted, n)):
        return
    what, each = ("GPU", needs.gpus) if needs.gpus else ("CPU", needs.cpus)
    largest = max((node.resources.get(what, 0.0) for node in nodes), default=0.0)
    labelled = f" with the labels {dict(wanted.labels)}" if wanted.labels else ""
    raise ClusterError(
        f"no node{labelled} has room for a worker, which needs {each:g} {what}s (the largest of all has "
        f"{largest:g}); where an autoscaler is to bring some, say how many workers with workers.max"
    )


def capacity(wanted: Workers, needs: Needs, nodes: Sequence[Node]) -> int:
    """How many workers a job wants on these nodes. More than they have room for only where ``max`` says
    so, on GPUs: an autoscaler may bring them."""
    room = sum(needs.fit(node.resources) for node in nodes if suits(wanted, node))
    if wanted.max == "auto":
        return max(room, wanted.min)
    if needs.gpus:
        return wanted.max
    return max(1, min(wanted.max, room))


def first_line(error: BaseException) -> str:
    """The first thing that an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """What a worker's constructor raised: the last line of the traceback that Ray reports."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def make_metrics(
    counters: Mapping[str, tuple[str, tuple[str, ...]]],
    gauges: Mapping[str, tuple[str, tuple[str, ...]]],
    histograms: Mapping[str, tuple[str, tuple[float, ...]]],
    tag: str,
    value: str,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Ray's metrics, by name, each with a tag that is always the same. Descriptions and tags, or buckets,
    are as in ``cluster.metrics``."""
    from ray.util.metrics import Counter, Gauge, Histogram

    # Ray's metrics know no other letters, and would end the run over them.
    plain = value.encode("ascii", "backslashreplace").decode()

    def tagged(metric: Any) -> Any:
        return metric.set_default_tags({tag: plain})

    return (
        {
            name: tagged(Counter(name, description=text, tag_keys=(tag, *tags)))
            for name, (text, tags) in counters.items()
        },
        {
            name: tagged(Gauge(name, description=text, tag_keys=(tag, *tags)))
            for name, (text, tags) in gauges.items()
        },
        {
            name: tagged(
                Histogram(name, description=text, boundaries=list(buckets), tag_keys=(tag,))
            )
            for name, (text, buckets) in histograms.items()
        },
    )
