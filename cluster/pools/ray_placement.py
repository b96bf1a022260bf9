"""How many workers fit on which nodes: arithmetic on resources, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.errors import ClusterError
from jobs.spec.workers import Workers

CORES_PER_CPU_WORKER = 4
"""Without a GPU: convolutions of one picture keep about so many cores busy."""


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
