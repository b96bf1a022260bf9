"""``FaultCounts``: tasks that fail in a row on a worker, and workers that a node loses."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

MEMORY_SECONDS = 600.0
"""How long a node's faults count, in seconds."""


class FaultCounts:
    """The counts that ``cluster.driver.failure_policy`` decides by.

    Args:
        clock: Seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """By worker: the ids of the tasks that have failed since one was done."""
        self._faults: defaultdict[str, deque[float]] = defaultdict(deque)
        """By node: when it lost workers."""

    def succeeded(self, worker: str) -> None:
        """Note that a worker has done a task: earlier failures were not the worker's fault."""
        self._in_a_row.pop(worker, None)

    def failed(self, worker: str, task_id: str) -> int:
        """Note that a task failed on a worker; return how many different ones have, in a row."""
        self._in_a_row[worker][task_id] = None
        return len(self._in_a_row[worker])

    def lost(self, worker: str, node: str) -> int:
        """Note that a worker was lost or had to be replaced; return the recent faults of its node."""
        self._in_a_row.pop(worker, None)
        self._faults[node].append(self._clock())
        return self.faults(node)

    def faults(self, node: str) -> int:
        """Return the number of workers that a node has lost in the last ``MEMORY_SECONDS``."""
        faults = self._faults.get(node)
        while faults and self._clock() - faults[0] > MEMORY_SECONDS:
            faults.popleft()
        return len(faults or ())

    def median_of_others(self, node: str, nodes: Iterable[str]) -> float:
        """Return the median of the faults of the other ``nodes``; infinite without any."""
        return statistics.median([self.faults(n) for n in set(nodes) - {node}] or [math.inf])
