"""What to do after a failed attempt. Pure: no sleeping, no I/O, no state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cluster.messages import FailureKind

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0


@dataclass(frozen=True, slots=True)
class Decision:
    """again: after ``delay`` seconds; give_up: record the failure; abort: end the run; drop: say nothing."""

    what: Literal["again", "give_up", "abort", "drop"]
    delay: float = 0.0


def decide(kind: FailureKind, attempt: int, attempts: int) -> Decision:
    """What follows attempt number ``attempt`` (from 1) of at most ``attempts``.

    A user's mistake is never tried again, a machine's fault always is. When the output's storage is full
    or stays broken, or the network cannot be loaded, the run ends: it would be the same for every task,
    and marking them failed would be wrong.
    """
    if kind == "stopped":
        return Decision("drop")
    if kind == "picture":
        return Decision("give_up")
    if kind == "full":
        return Decision("abort")
    if attempt < attempts:
        return Decision("again", delay_before(attempt + 1, kind))
    return Decision("abort" if kind in ("storage", "weights") else "give_up")


def delay_before(attempt: int, kind: FailureKind) -> float:
    """Seconds to wait before attempt number ``attempt`` (from 2): 1, 2, 4, ... at most a minute.

    None after a worker died: the replacement is a fresh process, and its start is wait enough.
    """
    if kind == "worker":
        return 0.0
    return min(FIRST_DELAY * 2.0 ** (attempt - 2), LONGEST_DELAY)
