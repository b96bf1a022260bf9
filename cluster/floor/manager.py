"""``FloorManager``: knows what all runs of a cluster want, and tells each what it may have. No Ray.

It holds nothing that could not be lost: every run repeats twice a second what it wants and has. A manager
that has just begun says nothing until all have had the time to do so.
"""

from __future__ import annotations

import hmac
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.floor.asking import (
    NORMAL,
    TOKEN_VARIABLE,
    Ask,
    NodeRow,
    Resource,
    RunRow,
    Share,
)
from cluster.floor.shares import Demand, Placement, share_out
from cluster.floor.turns import Turn
from jobs.spec.sharing import name_of

SETTLE_SECONDS = 3.0
"""For how long a new manager listens before it answers."""

SILENT_SECONDS = 10.0
"""A run that is not heard of for so long has died, and loses its share."""

OTHERS_SECONDS = 30.0
"""For how long devices must be in use by nobody who shares, to count as others': a worker that starts is not
up yet, and one that has gone is still counted by Ray."""

RECKON_SECONDS = 0.5
"""The shortest time between two reckonings, unless a run comes or goes."""

RECKON_SHARE = 0.01
"""The largest part of a core's time that reckoning takes."""

ASKS_PER_SECOND = 50
"""Very many runs ask less often than others, so that no more ask in a second."""

AGAIN_SECONDS = 0.5
"""The interval between two asks of a run, where there are few: it decides how soon a worker is given back."""


@dataclass
class _Run:
    """A run that the manager has heard of."""

    ask: Ask
    heard_at: float
    came_at: float
    turn: Turn
    share: Placement
    waits_since: float | None
    given: int = 0
    """The workers of its share."""


@dataclass(frozen=True)
class Supply:
    """A node, as Ray knows it."""

    node: str
    host: str
    total: Mapping[str, float]
    """The node's resources."""
    available: Mapping[str, float]
    """Those of them that nobody uses."""
    kind: str = ""
    """What its GPUs are."""


class FloorManager:
    """Who may have how many workers.

    Args:
        token: What a run must know for a priority above normal; empty: nothing.
        clock: Seconds from any origin.
    """

    def __init__(self, token: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._began = clock()
        self._runs: dict[str, _Run] = {}
        self._supply: tuple[Supply, ...] = ()
        self._others: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        """What others used of a node's resource lately: (time, amount)."""
        self._foreign: dict[tuple[str, str], float] = {}
        """What others have used of a node's resource all the time lately."""
        self._reckon_after = -float("inf")

    @property
    def is_settled(self) -> bool:
        """Whether every run has had the time to say what it has."""
        return self._clock() - self._began >= SETTLE_SECONDS

    def see(self, supply: Sequence[Supply]) -> None:
        """Take note of the nodes of the cluster.

        Args:
            supply: All nodes that are not being taken away.
        """
        self._supply = tuple(supply)
        now = self._clock()
        there = {node.node for node in supply}
        for key in [key for key in self._others if key[0] not in there]:
            del self._others[key]
            del self._foreign[key]
        for node in supply:
            for resource in ("GPU", "CPU"):
                used = node.total.get(resource, 0.0) - node.available.get(resource, 0.0)
                ours = sum(
                    run.ask.up.get(node.node, 0) * run.ask.each
                    for run in self._runs.values()
                    if run.ask.resource == resource
                )
                seen = self._others.setdefault((node.node, resource), deque())
                seen.append((now, max(0.0, used - ours)))
                while len(seen) > 1 and now - seen[1][0] >= OTHERS_SECONDS:
                    seen.popleft()
                lasting = now - seen[0][0] >= OTHERS_SECONDS - 1
                least = min(amount for _, amount in seen) if lasting else 0.0
                self._foreign[node.node, resource] = least

    def ask(self, ask: Ask) -> Share | None:
        """Take note of what a run wants, and return what it may have; None: it is to go on as it does.

        Args:
            ask: What the run wants and has.
        """
        now = self._clock()
        knows = not self._token or hmac.compare_digest(ask.token.encode(), self._token.encode())
        lowered = ask.priority > NORMAL and not knows
        ask = replace(ask, priority=NORMAL, token="") if lowered else replace(ask, token="")
        known = self._runs.get(ask.run)
        if known is None:
            self._runs[ask.run] = _Run(ask, now, now, Turn(now), {}, None)
            self._reckon_after = -float("inf")
        else:
            known.ask, known.heard_at = ask, now
        if not self.is_settled or not self._supply:
            return None
        self._reckon(now)
        run = self._runs[ask.run]
        waits = self._waits(run)
        if waits and lowered:
            waits += f"; its priority counts as normal, because it does not know {TOKEN_VARIABLE}"
        return Share(dict(run.share), waits, self._again_seconds)

    @property
    def _again_seconds(self) -> float:
        return max(AGAIN_SECONDS, len(self._runs) / ASKS_PER_SECOND)

    def leave(self, run: str) -> None:
        """Forget a run that has ended."""
        if self._runs.pop(run, None) is not None:
            self._reckon_after = -float("inf")

    def runs(self) -> list[RunRow]:
        """Return all runs: those of the highest priority first, then those that came first."""
        now = self._clock()
        self._reckon(now)
        waiting = sorted(
            (run for run in self._runs.values() if run.waits_since is not None),
            key=lambda run: (self._rank(run, now), run.came_at),
        )
        places = {run.ask.run: place for place, run in enumerate(waiting, 1)}
        ordered = sorted(self._runs.values(), key=lambda r: (-r.ask.priority, r.came_at))
        return [self._row(run, places.get(run.ask.run), now) for run in ordered]

    def nodes(self) -> list[NodeRow]:
        """Return all nodes, by host."""
        return [
            NodeRow(
                node=node.node,
                host=node.host,
                kind=node.kind,
                devices={r: node.total[r] for r in ("GPU", "CPU") if node.total.get(r)},
                others={r: n for r in ("GPU", "CPU") if (n := self._foreign[node.node, r])},
            )
            for node in sorted(self._supply, key=lambda n: (n.host, n.node))
        ]

    # -- the reckoning ------------------------------------------------------------------------------

    def _reckon(self, now: float) -> None:
        if now < self._reckon_after:
            return
        began = time.thread_time()
        silent = max(SILENT_SECONDS, 3 * self._again_seconds)
        for run in [r for r in self._runs.values() if now - r.heard_at > silent]:
            del self._runs[run.ask.run]
        for resource in ("GPU", "CPU"):
            runs = [run for run in self._runs.values() if run.ask.resource == resource]
            if runs:
                self._share_out(resource, runs, now)
        took = time.thread_time() - began
        self._reckon_after = now + max(RECKON_SECONDS, took / RECKON_SHARE)

    def _share_out(self, resource: Resource, runs: Sequence[_Run], now: float) -> None:
        devices = {
            node.node: max(0.0, node.total.get(resource, 0.0) - self._foreign[node.node, resource])
            for node in self._supply
        }
        # Of runs that came together, the first to come has the first worker.
        ordered = sorted(runs, key=lambda run: (self._rank(run, now), run.came_at, run.ask.run))
        demands = [_demand(run, place) for place, run in enumerate(ordered)]
        shares = share_out(devices, demands)
        for run in runs:
            run.share = shares[run.ask.run]
            run.given = sum(run.share.values())
            enough = min(run.ask.fewest, run.ask.wanted)
            has_fewest = run.given >= enough
            run.turn.note(now, has_fewest=has_fewest)
            if has_fewest:
                run.waits_since = None
            elif run.waits_since is None:
                run.waits_since = now

    def _rank(self, run: _Run, now: float) -> float:
        return -run.turn.points(run.ask.priority, now)

    # -- in words -----------------------------------------------------------------------------------

    def _waits(self, run: _Run) -> str:
        """Return what a run waits for, or an empty text."""
        ask = run.ask
        if ask.paused_by:
            return f"paused by {ask.paused_by}"
        if run.given >= ask.wanted:
            return ""
        usable = None if ask.nodes is None else set(ask.nodes)
        holders = []
        for other in self._runs.values():
            if other is run or not other.given or other.ask.resource != ask.resource:
                continue
            count = other.given
            if usable is not None:
                count = sum(n for node, n in other.share.items() if node in usable)
            if count:
                holders.append((count * other.ask.each, other.ask))
        others = sum(
            self._foreign[node.node, ask.resource]
            for node in self._supply
            if usable is None or node.node in usable
        )
        named = [
            f"{held:g} held by {of.job} ({name_of(of.priority)})"
            for held, of in sorted(holders, key=lambda h: -h[0])
        ]
        if others:
            named.append(f"{others:g} held by others")
        if not named:
            return ""
        if len(named) > MOST_NAMED:
            named[MOST_NAMED - 1 :] = [f"the rest by {len(named) - MOST_NAMED + 1} more"]
        return f"waits for {ask.resource}s: {', '.join(named)}"

    def _row(self, run: _Run, place: int | None, now: float) -> RunRow:
        ask = run.ask
        return RunRow(
            run=ask.run,
            job=ask.job,
            output=ask.output,
            by=ask.by,
            resource=ask.resource,
            priority=ask.priority,
            weight=ask.weight,
            each=ask.each,
            wanted=ask.wanted,
            held=dict(ask.held),
            share=dict(run.share),
            waits_seconds=None if run.waits_since is None else round(now - run.waits_since, 1),
            waits=self._waits(run),
            next=place,
        )


MOST_NAMED = 3
"""The most runs that are named in a sentence."""


def _demand(run: _Run, place: int) -> Demand:
    ask = run.ask
    return Demand(
        run=ask.run,
        wanted=ask.wanted,
        each=ask.each,
        fewest=ask.fewest,
        priority=ask.priority,
        weight=ask.weight,
        rank=float(place),
        nodes=None if ask.nodes is None else frozenset(ask.nodes),
        held=dict(ask.held),
        up=dict(ask.up),
        given=run.share,
    )
