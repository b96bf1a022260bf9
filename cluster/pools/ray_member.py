"""One actor, as the pool sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cluster.messages import (
    Report,
)
from cluster.pools.base import Station
from cluster.pools.busy_share import BusyShare


@dataclass(eq=False)
class Member:
    """One actor, from the moment it is asked for."""

    number: int
    actor: Any
    station: Station
    up: bool = False
    doomed: bool = False
    """It gets nothing new: its machine is taken away, or it is not needed any more."""
    pid: int = 0
    calls: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """The attempts of each call under way."""
    recalled: set[int] = field(default_factory=set)
    heard: Report | None = None
    heard_at: float = 0.0
    asked_at: float | None = None
    """When it was asked how it does, and has not answered; None when it has."""
    missing_since: float | None = None
    """Since when Ray could not reach it."""
    busy: BusyShare = field(default_factory=BusyShare)
    busy_share: float | None = None

    def attempts(self) -> tuple[str, ...]:
        return tuple(attempt for call in self.calls.values() for attempt in call)

    def painting(self) -> frozenset[str]:
        """Which of its attempts hold a device: as last heard, else the call it has had longest."""
        attempts = set(self.attempts())
        heard = {p.attempt for p in self.heard.painting} & attempts if self.heard else set()
        first = next(iter(self.calls.values()), ())
        return frozenset(heard or first)
