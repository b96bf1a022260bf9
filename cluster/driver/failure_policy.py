"""What follows from a failed attempt, as a pure function: no clock, no I/O, no sleeping.

A picture that cannot be used fails at once; it always will. A worker that died is replaced, and the task is
painted in a process of its own from then on: if that process dies, too, the picture is to blame. An event
that is no one's fault (a preempted machine, a storage outage) never counts as an attempt, however often it
happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cluster.messages import FailureKind

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds before the second attempt, and before any."""

FAILURES_IN_A_ROW = 3
"""This many different tasks that fail on one worker in a row mean that the worker is to blame."""

FAULTS_OF_A_NODE = 3
"""This many workers lost on one node in ``cluster.driver.fault_counts.MEMORY_SECONDS``, while other nodes
lose none, mean that the node is to blame. Where all nodes lose workers, the limit grows with their median."""

MOST_REQUEUES = 20
"""A task is requeued at most this often without an attempt being counted: a bound on what would otherwise
repeat for ever."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts about a failed attempt."""

    kind: FailureKind
    attempt_number: int = 1
    """The number of counted attempts, including this one."""
    max_attempts: int = 3
    requeues: int = 0
    """How many times the task was requeued without an attempt being counted."""
    painting: bool = True
    """Whether the attempt held the device when its worker was lost."""
    isolated: bool = False
    """Whether a process beside the worker painted, so that the worker's death is no evidence."""
    larger: bool = False
    """Whether another worker has more memory than this one."""
    in_a_row: int = 0
    """The number of different tasks that have failed on this worker in a row, including this one."""
    outage_seconds: float = 0.0
    """How long the storage has been down, in seconds."""
    patience_seconds: float = 3600.0
    """How long the storage may be down, in seconds."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows for the task, its worker and the floor."""

    task: Literal["again", "give_up", "drop"]
    delay: float = 0.0
    """Seconds before the retry."""
    counts: bool = True
    """Whether this counts as an attempt."""
    isolated: bool = False
    """Whether to paint the task in a process of its own from now on."""
    larger: bool = False
    """Whether only workers with more memory may retry the task."""
    worker: Literal["keep", "replace"] = "keep"
    floor: Literal["go_on", "pause", "abort"] = "go_on"


def decide(s: Situation) -> Decision:
    """Return what follows from a failed attempt."""
    if s.kind == "stopped":
        return Decision("drop")
    if s.kind in ("picture", "poison"):
        return Decision("give_up")
    if s.kind == "full":
        return Decision("drop", floor="abort")
    if s.kind in ("recalled", "yielded"):
        return Decision("again", counts=False)
    if s.kind == "storage":
        if s.outage_seconds > s.patience_seconds or s.requeues >= MOST_REQUEUES:
            return Decision("drop", floor="abort")
        return Decision("again", delay_before(s.requeues + 2), counts=False, floor="pause")
    # An attempt that only waited had no part in its worker's death, nor had one painted by another process.
    innocent = (s.kind == "worker" and s.isolated) or (
        s.kind in ("worker", "stalled") and not s.painting
    )
    if (innocent or s.kind in ("preempted", "unavailable")) and s.requeues < MOST_REQUEUES:
        # Which attempt painted is known from the last report, so a picture that kills its worker at once, or
        # while it is decoded, may seem to have waited. It is believed once.
        suspect = s.kind in ("worker", "stalled") and not s.painting and s.requeues > 0
        return Decision("again", counts=False, isolated=suspect)
    if s.kind == "memory" and s.larger:
        return Decision("again", counts=False, larger=True)
    worker: Literal["keep", "replace"] = "replace" if s.in_a_row >= FAILURES_IN_A_ROW else "keep"
    if s.attempt_number < s.max_attempts:
        # A replacement is a fresh process; its start is delay enough.
        died = s.kind in ("worker", "stalled")
        delay = 0.0 if died else delay_before(s.attempt_number + 1)
        isolated = s.kind == "worker" and not innocent
        return Decision("again", delay, isolated=isolated, worker=worker)
    if s.kind == "weights":
        # Every task would fail with the same reason, and recording them as failed would be wrong.
        return Decision("drop", floor="abort")
    return Decision("give_up", worker=worker)


def delay_before(attempt_number: int) -> float:
    """Return the seconds to wait before an attempt (from 2): 1, 2, 4, ... at most a minute."""
    return min(FIRST_DELAY * 2.0 ** min(attempt_number - 2, 30), LONGEST_DELAY)


def is_bad_node(faults: int, others: float) -> bool:
    """Return whether a node should get no more workers.

    Args:
        faults: Workers that the node has lost lately.
        others: The median of the other nodes' faults; infinite when there is no other node.
    """
    return faults >= FAULTS_OF_A_NODE * (1 + others)


StopReason = Literal["max_failures", "max_gpu_hours"]


def must_stop(
    failed: int, max_failures: int | None, gpu_hours: float, max_gpu_hours: float | None
) -> StopReason | None:
    """Return the job's own limit that ends the run; None where none is reached.

    Args:
        failed: Tasks that failed in this run.
        max_failures: The limit of ``failed``, > 0; None: no limit.
        gpu_hours: Device hours of this run, >= 0.
        max_gpu_hours: The limit of ``gpu_hours``, > 0; None: no limit.
    """
    if max_failures is not None and failed >= max_failures:
        return "max_failures"
    if max_gpu_hours is not None and gpu_hours >= max_gpu_hours:
        return "max_gpu_hours"
    return None
