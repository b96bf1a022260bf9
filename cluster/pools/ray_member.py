"""``Member``: one actor of a pool, from the moment it is requested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cluster.messages import Report
from cluster.pools.base import WorkerHandle
from cluster.pools.busy_share import BusyShare


@dataclass(eq=False)
class Member:
    """One actor, from the moment it is requested."""

    number: int
    """The member's number in its pool, never reused."""
    actor: Any
    """Ray's handle of the actor."""
    handle: WorkerHandle
    up: bool = False
    preempted: bool = False
    """Whether its machine is being taken away; it gets no new calls."""
    yielding: bool = False
    """Whether the run gives it back, because another run is to have its place; it gets no new calls."""
    asked_for: str | None = None
    """The node on which it was requested; None: wherever Ray finds room."""
    beyond: bool = False
    """Whether it was requested for a node that an autoscaler is to add."""
    pid: int = 0
    recalled: set[int] = field(default_factory=set)
    """The calls that it was asked to send back."""
    report: Report | None = None
    """Its last report."""
    reported_at: float = 0.0
    polled_at: float | None = None
    """When the poll was sent that it has not answered yet; None when it has answered."""
    unreachable_since: float | None = None
    """Since when Ray has not been able to reach it; None while it can."""
    busy_meter: BusyShare = field(default_factory=BusyShare)
    busy_share: float | None = None

    @property
    def leaving(self) -> bool:
        """Whether it stores what it paints and goes."""
        return self.preempted or self.yielding

    @property
    def counts(self) -> bool:
        """Whether it is one of the run's workers on the nodes that are there, or is to be one."""
        return not self.leaving and (self.up or not self.beyond)

    @property
    def place(self) -> str | None:
        """The node that it is on, or is requested on; None: that is not known yet."""
        return self.handle.node or self.asked_for

    def attempt_ids(self) -> tuple[str, ...]:
        """Return the ids of its attempts in flight."""
        return tuple(attempt_id for call in self.handle.calls.values() for attempt_id in call)

    def painting(self) -> frozenset[str]:
        """Return the ids of its attempts that hold a device: those of its last report, else the oldest
        call's."""
        in_flight = set(self.attempt_ids())
        reported = (
            {p.attempt_id for p in self.report.painting} & in_flight if self.report else set()
        )
        oldest = next(iter(self.handle.calls.values()), ())
        return frozenset(reported or oldest)

    def stuck(self, now: float) -> tuple[frozenset[str], str | None]:
        """Return the ids of the attempts that may have silenced it, and the picture that the one attempt is
        decoding; None: none. While it answers polls, it says itself which attempt makes no step."""
        report = self.report
        silent = 0.0 if self.polled_at is None else now - self.polled_at
        if report is None or report.quiet is None or silent > self.quiet_seconds(now) / 2:
            return self.painting(), None
        paints = any(progress.attempt_id == report.quiet for progress in report.painting)
        if paints or report.quiet not in self.attempt_ids():
            return self.painting(), None  # all that are painted together make no step
        return frozenset({report.quiet}), report.decoding

    def quiet_seconds(self, now: float) -> float:
        """Return for how long it has given no sign of life, in seconds: it does not answer a poll, or one
        of its attempts makes no step."""
        silent = 0.0 if self.polled_at is None else now - self.polled_at
        stuck = 0.0
        if self.handle.calls and self.report is not None and self.report.quiet_seconds:
            stuck = self.report.quiet_seconds + (now - self.reported_at)
        return max(silent, stuck)
