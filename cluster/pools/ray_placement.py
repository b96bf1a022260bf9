"""Compute how many workers fit on which nodes, from the nodes' resources alone, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.errors import ClusterError
from jobs.spec.workers import Workers

CORES_PER_CPU_WORKER = 4
"""CPU cores per worker without a GPU: the convolutions of one picture keep about this many busy."""


@dataclass(frozen=True)
class Node:
    """A machine that Ray considers alive."""

    id: str
    """Ray's id of the node."""
    host: str
    """The machine's host name."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """The node's resources in total, by Ray's names: ``GPU``, ``CPU``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The node's labels in Ray."""


@dataclass(frozen=True)
class View:
    """A snapshot of the cluster."""

    nodes: tuple[Node, ...]
    draining: frozenset[str] = frozenset()
    """The ids of the nodes that are being taken away."""


@dataclass(frozen=True)
class Needs:
    """The resources that each worker holds."""

    gpus: float
    """GPUs, >= 0; below 1, a share of one."""
    cpus: float
    """CPU cores, >= 0."""
    threads: int | None
    """CPU threads for painting; None: the library's default."""

    @property
    def kind(self) -> str:
        """``gpu`` or ``cpu``."""
        return "gpu" if self.gpus else "cpu"

    def fit(self, resources: Mapping[str, float]) -> int:
        """Return how many workers fit on a node with these resources in total."""
        if self.gpus >= 1:
            return int(resources.get("GPU", 0) / self.gpus)
        if self.gpus:
            # Each GPU takes a whole number of shares; remainders of several GPUs cannot be joined.
            return int(resources.get("GPU", 0)) * int(1 / self.gpus + 1e-9)
        return int(resources.get("CPU", 0) / self.cpus + 1e-9)


def needs_of(wanted: Workers, nodes: Sequence[Node]) -> Needs:
    """Return the resources that each worker of a job should hold.

    Args:
        wanted: The job's ``workers`` section.
        nodes: The cluster's nodes.

    Raises:
        ClusterError: The cluster has no device of the wanted kind, and none is expected.
    """
    any_gpu = any(node.resources.get("GPU", 0) >= 1 for node in nodes)
    cpus = [int(node.resources.get("CPU", 0)) for node in nodes]
    cpus = [count for count in cpus if count]
    threads = None if wanted.threads == "auto" else wanted.threads
    # A head without any resources waits for machines, and those of a render farm have GPUs.
    if wanted.device == "gpu" or (wanted.device == "auto" and (any_gpu or not cpus)):
        if not any_gpu and wanted.max == "auto":
            raise ClusterError(
                "the cluster has no GPU; if an autoscaler adds nodes, set workers.max to a number"
            )
        # Fetching and encoding need a core only at times; reserving whole cores would leave GPUs idle.
        return Needs(wanted.gpus, 0.0, threads)
    if not cpus:
        raise ClusterError("the cluster has no CPUs")
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
    """Return whether a node has a job's labels; conditions are Ray's: a, !a, in(a, b), !in(a, b)."""
    for key, condition in wanted.labels.items():
        has = node.labels.get(key)
        text = condition.removeprefix("!")
        listed = text.removeprefix("in(").removesuffix(")") if text.startswith("in(") else text
        matches = has in [value.strip() for value in listed.split(",")]
        if matches == condition.startswith("!"):
            return False
    return True


def check_room(wanted: Workers, needs: Needs, nodes: Sequence[Node]) -> None:
    """Raise if no node has room for a worker and ``workers.max`` is ``auto``, so that no node is added.

    Args:
        wanted: The job's ``workers`` section.
        needs: The resources that each worker holds.
        nodes: The cluster's nodes.

    Raises:
        ClusterError: No node that has the job's labels has room for one worker.
    """
    if wanted.max != "auto" or any(needs.fit(n.resources) for n in nodes if suits(wanted, n)):
        return
    what, each = ("GPU", needs.gpus) if needs.gpus else ("CPU", needs.cpus)
    largest = max((node.resources.get(what, 0.0) for node in nodes), default=0.0)
    labelled = f" with the labels {dict(wanted.labels)}" if wanted.labels else ""
    raise ClusterError(
        f"no node{labelled} has room for a worker, which needs {each:g} {what}s (the largest has "
        f"{largest:g}); if an autoscaler adds nodes, set workers.max to a number"
    )


def room_for(wanted: Workers, needs: Needs, nodes: Sequence[Node]) -> int:
    """Return the number of workers of a job that these nodes have room for.

    Args:
        wanted: The job's ``workers`` section.
        needs: The resources that each worker holds.
        nodes: The cluster's nodes.
    """
    return sum(needs.fit(node.resources) for node in nodes if suits(wanted, node))


def capacity(wanted: Workers, needs: Needs, nodes: Sequence[Node]) -> int:
    """Return the largest number of workers of a job on these nodes.

    It exceeds the room on the nodes where ``workers.max`` is a number and workers hold GPUs, because an
    autoscaler may then add nodes, and where ``workers.max`` is auto and ``workers.min`` is larger.

    Args:
        wanted: The job's ``workers`` section.
        needs: The resources that each worker holds.
        nodes: The cluster's nodes.
    """
    room = room_for(wanted, needs, nodes)
    if wanted.max == "auto":
        return max(room, wanted.min)
    if needs.gpus:
        return wanted.max
    return max(1, min(wanted.max, room))
