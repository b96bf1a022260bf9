"""The protocol of a pool: workers that take attempts, and what a driver may ask of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cluster.messages import (
    Assignment,
    DeviceInfo,
    Failure,
    Outcome,
    Progress,
    WorkerState,
)

PREFETCH = 2
"""Calls at a worker beside the one that paints: one that is ready to paint, and one that stores."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker that is up, as the driver sees it."""

    key: str
    """The worker's key, unique in a run and never reused."""
    name: str
    node: str
    """Ray's id of the worker's node."""
    device: DeviceInfo
    host: str = ""
    """The host name of the worker's node."""
    memory_bytes: int | None = None
    """The worker's share of its device's memory; None where it is unknown or is the machine's own."""
    devices: int = 1
    """The number of devices that the worker holds."""
    calls: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """The attempt ids of each call in flight, by the call's number."""
    styles: OrderedDict[object, None] = field(default_factory=OrderedDict)
    """The styles that the worker painted last; ``cluster.driver.backlog`` keeps them."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that a worker has ended."""

    outcome: Outcome
    worker: WorkerHandle


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that was lost, with the attempts it had."""

    worker: WorkerHandle
    failure: Failure
    """The reason; its kind is worker, stalled, unavailable, preempted or yielded."""
    attempt_ids: tuple[str, ...] = ()
    painting: frozenset[str] = frozenset()
    """The ids of the attempts that held a device, or that are known to have stalled the worker. The others
    only waited and had no part in the loss."""


class Sharing(Protocol):
    """A floor that this run shares with others: ``cluster.floor.link.FloorLink``. Nothing here waits."""

    @property
    def share(self) -> Mapping[str, int] | None:
        """The workers that the run may have, by node; None: nothing is shared, as far as is known."""

    @property
    def undecided(self) -> bool:
        """Whether it is about to be said what the run may have; until then it requests nothing."""

    @property
    def waits(self) -> str:
        """What the run waits for; empty: nothing."""

    def tell(
        self,
        wanted: int,
        held: Mapping[str, int],
        up: Mapping[str, int],
        nodes: Collection[str] | None,
    ) -> None:
        """Say what the run wants and has.

        Args:
            wanted: Workers that it could use.
            held: Its workers by node, those included that are on their way.
            up: Those of them that are up.
            nodes: The nodes that it can use; None: all that have room for a worker.
        """


class Pool(Protocol):
    """Workers that take attempts. Only the driver's thread uses a pool, except for ``wake``."""

    @property
    def workers(self) -> int:
        """The number of workers that are up."""

    @property
    def pending(self) -> int:
        """The number of workers that were requested and are not up yet."""

    @property
    def growing(self) -> bool:
        """Whether requested workers are expected to be up soon."""

    @property
    def share(self) -> int | None:
        """The number of workers that the run may have, beside others; None: nothing is shared."""

    @property
    def waits(self) -> str:
        """What the run waits for, because others have it: ``waits for GPUs: 8 held by nightly (low)``; empty:
        nothing."""

    @property
    def wanted(self) -> int:
        """The number of workers that the run could use, if nobody else were there."""

    @property
    def given_back(self) -> int:
        """The number of workers that were given back so far, because others are to have their places."""

    @property
    def gpu_hours(self) -> float:
        """Device hours that workers of this run have held, in total."""

    def open_workers(self) -> Iterator[WorkerHandle]:
        """Iterate over the workers that can take a call, the least busy first.

        The caller may submit to a worker while it iterates.
        """

    def memory_classes(self) -> Sequence[int]:
        """Return the distinct memory sizes of the workers in bytes, ascending."""

    def nodes(self) -> set[str]:
        """Return the ids of the nodes that can hold workers."""

    def want(self, tasks: int | None) -> None:
        """Set the number of tasks that are not done, or of those that can be painted at once where that is
        less; the pool needs no more workers than that.

        Args:
            tasks: The number of tasks, >= 0; None where it is unknown.
        """

    def submit(self, worker: WorkerHandle, assignments: Sequence[Assignment]) -> None:
        """Start attempts at a worker, in one call.

        Args:
            worker: A worker that ``open_workers`` yielded.
            assignments: The attempts; those with pictures of one shape are painted together.
        """

    def recall(self, most: int) -> None:
        """Have workers send back calls that wait for a device, at most ``most``, for idle workers to take."""

    def wait(self, timeout: float) -> list[Ended | Lost]:
        """Return the attempts and workers that ended since the last call.

        Args:
            timeout: The longest time to wait for the first one, in seconds; 0 does not wait.

        Raises:
            ClusterError: The run cannot continue.
        """

    def wake(self) -> None:
        """Have ``wait`` return now. Any thread may call this."""

    def replace(self, worker: WorkerHandle, reason: str) -> None:
        """Replace a worker that is of no use; ``wait`` returns it as lost."""

    def avoid(self, node: str) -> None:
        """Place no more workers on a node."""

    def progress(self) -> list[Progress]:
        """Return the progress of the attempts that paint, as of the last reports. Never waits."""

    def states(self) -> list[WorkerState]:
        """Return the states of the workers that are up, as of their last reports. Never waits."""

    def drain(self) -> None:
        """Let painting attempts finish; all others come back as stopped."""

    def preempt(self) -> None:
        """Have painting attempts store a checkpoint; all attempts come back."""

    def close(self) -> None:
        """Release all workers now; attempts in flight are abandoned."""
