"""What to do after a failed attempt: the failure policy, whole. Pure: no sleeping, no I/O, no state.

A user's mistake is never tried again, a machine's fault always is. What is nobody's fault (a machine that is
taken away, a server in trouble) is no attempt of the task's at all, however often it happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cluster.messages import FailureKind

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0

FAILURES_IN_A_ROW = 3
"""So many different tasks that fail on a worker, one after the other, mean that it is the worker."""

FAULTS_OF_A_NODE = 3
"""So many workers that are lost or replaced on a node in ``cluster.driver.fault_counts.MEMORY_SECONDS``,
where others lose
none, mean that it is the node. Where all lose some, it takes as many times more."""

MOST_RETURNS = 20
"""So often a task comes back for nothing that it did, before that counts as an attempt after all: a bound
on what would otherwise go on for ever."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when an attempt has failed."""

    kind: FailureKind
    attempt: int = 1
    """So many attempts have been made that count, this one included."""
    attempts: int = 3
    """The most."""
    returns: int = 0
    """So often it came back before for nothing that it did."""
    painting: bool = True
    """Whether it held the device when its worker was lost."""
    apart: bool = False
    """Whether it was painted in a process beside its worker's, so that its worker's death is no evidence."""
    larger: bool = False
    """Whether there is a worker with more memory than this one has."""
    in_a_row: int = 0
    """So many different tasks have failed on this worker one after the other, this one included."""
    trouble_seconds: float = 0.0
    """For how long the storage has been in trouble."""
    patience_seconds: float = 3600.0
    """How long it may be."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows for the task, its worker, and the floor."""

    task: Literal["again", "give_up", "drop"]
    delay: float = 0.0
    """Before it is tried again, in seconds."""
    counts: bool = True
    """Whether this was an attempt."""
    apart: bool = False
    """Paint it in a process of its own from now on."""
    larger: bool = False
    """Only workers with more memory may try it."""
    worker: Literal["keep", "replace"] = "keep"
    floor: Literal["go_on", "pause", "abort"] = "go_on"


def decide(s: Situation) -> Decision:
    """What follows a failed attempt."""
    if s.kind == "stopped":
        return Decision("drop")
    if s.kind in ("picture", "poison"):
        return Decision("give_up")
    if s.kind == "full":
        return Decision("drop", floor="abort")
    if s.kind == "recalled":
        return Decision("again", counts=False)
    if s.kind == "storage":
        if s.trouble_seconds > s.patience_seconds or s.returns >= MOST_RETURNS:
            return Decision("drop", floor="abort")
        return Decision("again", delay_before(s.returns + 2), counts=False, floor="pause")
    # What only waited at a worker had no part in its end; nor had what was painted by a process beside it.
    innocent = (s.kind == "worker" and s.apart) or (
        s.kind in ("worker", "stalled") and not s.painting
    )
    if (innocent or s.kind in ("preempted", "unavailable")) and s.returns < MOST_RETURNS:
        # Which one painted is known as last heard, so what kills at once may seem to have waited. Not twice.
        suspect = s.kind == "worker" and not s.painting and s.returns > 0
        return Decision("again", counts=False, apart=suspect)
    if s.kind == "memory" and s.larger:
        return Decision("again", counts=False, larger=True)
    worker: Literal["keep", "replace"] = "replace" if s.in_a_row >= FAILURES_IN_A_ROW else "keep"
    if s.attempt < s.attempts:
        # A replacement is a fresh process, and its start is wait enough.
        died = s.kind in ("worker", "stalled")
        delay = 0.0 if died else delay_before(s.attempt + 1)
        return Decision("again", delay, apart=s.kind == "worker" and not innocent, worker=worker)
    if (
        s.kind == "weights"
    ):  # it would be the same for every task, and marking them failed would be wrong
        return Decision("drop", floor="abort")
    return Decision("give_up", worker=worker)


def delay_before(attempt: int) -> float:
    """Seconds to wait before attempt number ``attempt`` (from 2): 1, 2, 4, ... at most a minute."""
    return min(FIRST_DELAY * 2.0 ** min(attempt - 2, 30), LONGEST_DELAY)


def is_bad_node(faults: int, others: float) -> bool:
    """Whether a node that has lost so many workers of late should get no more; ``others`` is the median of
    the other nodes', infinite when there is none to go to."""
    return faults >= FAULTS_OF_A_NODE * (1 + others)


StopReason = Literal["max_failures", "max_gpu_hours"]


def must_stop(
    failed: int, max_failures: int | None, gpu_hours: float, max_gpu_hours: float | None
) -> StopReason | None:
    """Whether the job's own limits end the run."""
    if max_failures is not None and failed >= max_failures:
        return "max_failures"
    if max_gpu_hours is not None and gpu_hours >= max_gpu_hours:
        return "max_gpu_hours"
    return None
