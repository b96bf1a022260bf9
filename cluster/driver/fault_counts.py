"""Who fails too often: workers on which one task after another fails, nodes that lose their workers."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

MEMORY_SECONDS = 600.0
"""How long a node's faults are held against it."""


class Health:
    """Counts what ``cluster.driver.failure_policy`` asks for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._faults: defaultdict[str, deque[float]] = defaultdict(deque)

    def succeeded(self, worker: str) -> None:
        """A task was done there: whatever failed before was not the worker."""
        self._in_a_row.pop(worker, None)

    def failed(self, worker: str, task_id: str) -> int:
        """A task failed there; how many different ones have, one after the other."""
        self._in_a_row[worker][task_id] = None
        return len(self._in_a_row[worker])

    def lost(self, worker: str, node: str) -> int:
        """A worker was lost or had to be replaced; how many of its node, of late."""
        self._in_a_row.pop(worker, None)
        self._faults[node].append(self._clock())
        return self.faults(node)

    def faults(self, node: str) -> int:
        """How many workers a node has lost, of late."""
        faults = self._faults.get(node)
        while faults and self._clock() - faults[0] > MEMORY_SECONDS:
            faults.popleft()
        return len(faults or ())

    def others(self, node: str, nodes: Iterable[str]) -> float:
        """The median of the faults of the other ``nodes``; infinite when there are none."""
        return statistics.median([self.faults(n) for n in set(nodes) - {node}] or [math.inf])
