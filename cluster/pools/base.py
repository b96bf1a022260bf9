"""Where attempts run: the protocol, and the pool that runs them in this very process.

``InlinePool`` is a real backend (``--pool inline``): one worker, no Ray, everything else the same. It
is what to use under a debugger, and on a machine where Ray cannot run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cluster.messages import (
    Assignment,
    DeviceInfo,
    Failure,
    Outcome,
    Progress,
    StationState,
)

PREFETCH = 2
"""Calls at a worker beside the one that paints: one is ready when it ends, while another stores."""


@dataclass(eq=False)
class Station:
    """A worker that is up, as the driver sees it."""

    key: str
    """Unique in a run, and never used again."""
    name: str
    node: str
    """Ray's id of its machine."""
    device: DeviceInfo
    host: str = ""
    """That machine's name."""
    memory_bytes: int | None = None
    """What of the device's memory is its share; None where it is not told, or the machine's own."""
    lanes: int = 1
    """Its devices."""
    calls: int = 0
    """Under way."""
    styles: OrderedDict[object, None] = field(default_factory=OrderedDict)
    """Those it was given last, for ``cluster.driver.backlog``."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that a worker has ended."""

    outcome: Outcome
    station: Station


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that is gone, with what it had."""

    station: Station
    failure: Failure
    """Its kind is worker, stalled, unavailable or preempted."""
    attempts: tuple[str, ...] = ()
    painting: frozenset[str] = frozenset()
    """Those of them that held a device; those that only waited had no part in it."""


class Pool(Protocol):
    """Workers that take attempts. Used by one thread, the driver's."""

    @property
    def workers(self) -> int:
        """How many workers are up."""

    @property
    def pending(self) -> int:
        """How many were asked for and are not up."""

    @property
    def growing(self) -> bool:
        """Whether workers are on their way that will soon be up."""

    @property
    def gpu_hours(self) -> float:
        """For how long devices have been held by workers that were up, all together."""

    def open_stations(self) -> Iterator[Station]:
        """Workers that can take a call, the least busy first. One may be submitted to meanwhile."""

    def memory_classes(self) -> Sequence[int]:
        """The sizes of memory that workers have, ascending, each once."""

    def nodes(self) -> set[str]:
        """Where there are workers."""

    def want(self, tasks: int | None) -> None:
        """So many tasks are not done yet (None: nobody knows): no more workers than that are needed."""

    def submit(self, station: Station, assignments: Sequence[Assignment]) -> None:
        """Start attempts, in one call. Only at a station that is open."""

    def recall(self, most: int) -> None:
        """Have as many calls sent back as idle workers could take, that wait at others, at most ``most``."""

    def wait(self, timeout: float) -> list[Ended | Lost]:
        """What ended since the last call; waits up to ``timeout`` seconds for something.

        Raises ClusterError when there is no way to go on.
        """

    def wake(self) -> None:
        """Have ``wait`` return now. Any thread may call it."""

    def replace(self, station: Station, reason: str) -> None:
        """A worker is of no use: it comes back as lost, and another takes its place."""

    def avoid(self, node: str) -> None:
        """Place no more workers there."""

    def progress(self) -> list[Progress]:
        """Where the running attempts stand, as last heard. Never waits."""

    def states(self) -> list[StationState]:
        """What the workers are like, as last heard. Never waits."""

    def drain(self) -> None:
        """Let painting attempts finish; the others come back as stopped."""

    def leave(self) -> None:
        """Everything is taken away: painting attempts store a checkpoint, and all come back."""

    def close(self) -> None:
        """Release everything, now; running attempts are abandoned."""
