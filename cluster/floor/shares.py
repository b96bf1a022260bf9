"""Who gets how many workers, and on which nodes: arithmetic, without Ray and without a clock.

The order in which workers are handed out:

1. Every run gets ``fewest`` workers, as far as there is room: one each, then a second one each, and so on;
   where not everybody can have one, in the order of ``rank``.
2. What is left goes to the runs of the highest priority until they have all that they want or can use, then
   to those of the next. Among runs of one priority, each next worker goes to the run with the fewest devices
   for its weight: max-min fairness with weights (Bertsekas, Gallager, *Data Networks*, 1992, section 6.5.2),
   in whole workers.

The same demands always get as many workers, whatever the runs hold at the moment, so that quotas do not flap.
Where they are placed follows what each run was given before, and which of its workers are up, so that few
move. Workers that are on their way do not count first: they lag behind what was given, so that two runs could
change places for ever.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

UNITS = 10_000
"""Parts of a device: Ray's own resolution of shares."""

Placement = dict[str, int]
"""Workers by node."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run asks for."""

    run: str
    """The run's id, which is unique."""
    wanted: int
    """Workers that the run could use, >= 0."""
    each: float
    """Devices of each worker, > 0: a share of one below 1, else a whole number."""
    fewest: int = 1
    """Workers that the run gets before others get more than theirs, >= 0."""
    priority: int = 50
    """0 to 100; runs of a higher priority are served first."""
    weight: float = 1.0
    """The run's part among runs of its priority, > 0."""
    rank: float = 0.0
    """The order in which runs get their fewest workers, the lowest first; see ``cluster.floor.turns``."""
    nodes: frozenset[str] | None = None
    """The nodes that the run can use; None: all."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Workers that the run has, by node, those included that are on their way."""
    up: Mapping[str, int] = field(default_factory=dict)
    """Those of them that are up."""
    given: Mapping[str, int] = field(default_factory=dict)
    """The workers of its share until now, by node."""

    @property
    def given_and_up(self) -> dict[str, int]:
        """Those of its share that are up."""
        return {node: min(count, self.up.get(node, 0)) for node, count in self.given.items()}

    def may_use(self, node: str) -> bool:
        """Return whether the run can use a node."""
        return self.nodes is None or node in self.nodes


def share_out(devices: Mapping[str, float], demands: Sequence[Demand]) -> dict[str, Placement]:
    """Return the workers of each run, by node.

    No node gets more workers than its devices can hold, no run more than it wants, and no node has room left
    for a worker that a run still wants.

    Args:
        devices: The devices that are to be had on each node: GPUs or CPU cores.
        demands: What each run asks for.

    Returns:
        For each run, the nodes on which it gets workers, and how many.
    """
    fair = _fair(devices, demands)
    near = _near_held(devices, demands, fair)
    # Where sizes and nodes are mixed, another order may leave room that this one does not.
    if near is None or any(near.count(d) < d.wanted and near.place(d) for d in demands):
        return fair.placements
    return near.placements


def _fair(devices: Mapping[str, float], demands: Sequence[Demand]) -> _Packing:
    """Return the shares, without regard to what runs hold."""
    packing = _Packing(devices, demands)
    ordered = sorted(demands, key=lambda d: (d.rank, d.run))
    # Everybody's fewest: the first one of each before the second one of any.
    _hand_out(packing, ordered, lambda d: min(d.fewest, d.wanted), lambda d, has: float(has))
    has_grown = True
    while has_grown:  # what has moved may have left room
        before = packing.workers
        for priority in sorted({d.priority for d in demands}, reverse=True):
            peers = [d for d in ordered if d.priority == priority]
            _hand_out(packing, peers, lambda d: d.wanted, lambda d, has: has * d.each / d.weight)
        has_grown = packing.workers > before
    return packing


def _hand_out(
    packing: _Packing,
    demands: Iterable[Demand],
    most: Callable[[Demand], int],
    level: Callable[[Demand, int], float],
) -> None:
    """Give the next worker to the run of the lowest level, until there is no room or each has its most. Among
    runs of one level, it goes to the one that it lifts least, else to the first."""

    def entry(k: int, demand: Demand) -> tuple[float, float, int, Demand]:
        has = packing.count(demand)
        return level(demand, has), level(demand, has + 1), k, demand

    heap = [entry(k, demand) for k, demand in enumerate(demands)]
    heapq.heapify(heap)
    while heap:
        *_, k, demand = heap[0]
        # Room hardly comes back while workers are handed out: a run that found none is done.
        if packing.count(demand) < most(demand) and packing.place(demand):
            heapq.heapreplace(heap, entry(k, demand))
        else:
            heapq.heappop(heap)


def _near_held(
    devices: Mapping[str, float], demands: Sequence[Demand], fair: _Packing
) -> _Packing | None:
    """Return a placement of so many workers in which as few as possible move; None: none was found.

    Those stay first that a run was given and that are up. Then others that are up: two runs that have each
    other's place keep it. Then those that it was given and that are on their way, so that the same counts
    lead to the same places. What is left goes where a run holds some.
    """
    packing = _Packing(devices, demands)
    # The largest first, as long as there are whole devices and nodes. Where each size is a multiple of the
    # next smaller one, as many find room in this order as in any; else a worker may have to move at times.
    largest_first = sorted(demands, key=lambda d: (-d.each, d.rank, d.run))
    for where in map(attrgetter, ("given_and_up", "up", "given", "held")):
        for demand in largest_first:
            left = fair.count(demand) - packing.count(demand)
            for node, count in sorted(where(demand).items()):
                more = count - packing.placements[demand.run].get(node, 0)
                for _ in range(min(more, left)):
                    left -= demand.may_use(node) and packing.place_on(demand, node)
    for demand in largest_first:
        while packing.count(demand) < fair.count(demand):
            if not packing.place(demand):
                return None
    return packing


class _Node:
    """The free devices of a node, in units."""

    __slots__ = ("parts", "whole")

    def __init__(self, devices: float) -> None:
        self.whole = int(devices + 1e-9)
        self.parts: list[int] = []
        """The units that are free of each device that has been begun, ascending."""

    @property
    def free(self) -> int:
        return self.whole * UNITS + sum(self.parts)

    def fits(self, units: int) -> bool:
        if units >= UNITS:
            return self.whole * UNITS >= units
        return self.whole > 0 or any(part >= units for part in self.parts)

    def take(self, units: int) -> None:
        """Take room that is there; of a share, on the device with the least room for it, as Ray does."""
        if units >= UNITS:
            self.whole -= units // UNITS
            return
        for index, part in enumerate(self.parts):
            if part >= units:
                self.parts[index] -= units
                break
        else:
            self.whole -= 1
            self.parts.append(UNITS - units)
        self.parts.sort()


class _Packing:
    """Workers on nodes, one after another.

    Args:
        devices: The devices of each node.
        demands: The runs that may get workers.
    """

    def __init__(self, devices: Mapping[str, float], demands: Sequence[Demand]) -> None:
        self._demands = {demand.run: demand for demand in demands}
        self.placements: dict[str, Placement] = {demand.run: {} for demand in demands}
        self._counts: Counter[str] = Counter()
        self._runs: dict[str, Counter[str]] = {node: Counter() for node in devices}
        """The workers of each run, by node."""
        self._nodes = {node: _Node(count) for node, count in sorted(devices.items())}
        self._by_room: dict[int, dict[str, None]] = {}
        """The nodes by the number of their devices that are free, in a fixed order."""
        self._begun: dict[str, None] = {}
        """The nodes that have a device of which only a part is free."""
        for name in self._nodes:
            self._file(name)

    @property
    def workers(self) -> int:
        """How many have a place."""
        return self._counts.total()

    def count(self, demand: Demand) -> int:
        """Return how many workers a run has."""
        return self._counts[demand.run]

    def place(self, demand: Demand) -> bool:
        """Give a run one more worker; return whether there was room.

        The node with the least room is taken. If no node of the run has any, workers of the same size move,
        each to another node that its run can use, until one has: an augmenting path. Else larger
        ones do, which came first and can be elsewhere.
        """
        node = self._least_room(demand)
        if node is not None:
            self._put(demand, node)
            return True
        return demand.nodes is not None and self._place_by_moving(demand)

    def place_on(self, demand: Demand, node: str) -> bool:
        """Give a run one more worker on a node; return whether there was room."""
        if node not in self._nodes or not self._nodes[node].fits(_units(demand)):
            return False
        self._put(demand, node)
        return True

    def _least_room(self, demand: Demand) -> str | None:
        """Return the node with the least room for a worker of a run; None: there is none."""
        units = _units(demand)
        if units < UNITS:
            for node in self._begun:
                if demand.may_use(node) and self._nodes[node].parts[-1] >= units:
                    return node
        for whole in sorted(self._by_room):
            if whole * UNITS >= units:
                for node in self._by_room[whole]:
                    if demand.may_use(node):
                        return node
        return None

    def _place_by_moving(self, demand: Demand) -> bool:
        units = _units(demand)
        node = self._make_room(demand, units)
        if node is not None:
            self._note(demand.run, node, 1)
            self._counts[demand.run] += 1
            return True
        larger = {_units(other) for other in self._demands.values()}
        for size in sorted(size for size in larger if size > units and size >= UNITS):
            node = self._make_room(demand, size)
            if node is not None:
                self._give_back(node, size)
                self._put(demand, node)
                return True
        return False

    def _make_room(self, demand: Demand, units: int) -> str | None:
        """Move workers of a size so that one less is on a node of a run, whose room is still taken; return
        this node. None: there is no way."""
        came_from: dict[str, tuple[str, str] | None] = {
            node: None for node in self._nodes if demand.may_use(node)
        }
        if not any(of.fits(units) for node, of in self._nodes.items() if node not in came_from):
            return None
        waiting = deque(came_from)
        while waiting:
            node = waiting.popleft()
            for run in self._movable(node, units):
                for other in self._nodes:
                    if other in came_from or not self._demands[run].may_use(other):
                        continue
                    came_from[other] = (node, run)
                    if self._nodes[other].fits(units):
                        return self._move_along(other, came_from, units)
                    waiting.append(other)
        return None

    def _movable(self, node: str, units: int) -> Iterator[str]:
        """Iterate over the runs that have workers of a size on a node."""
        for run, count in self._runs[node].items():
            if count and _units(self._demands[run]) == units:
                yield run

    def _move_along(
        self, free: str, came_from: Mapping[str, tuple[str, str] | None], units: int
    ) -> str:
        """Move a worker to the free node, another to its place, and so on; return where the last one was."""
        self._take(free, units)
        step = came_from[free]
        while step is not None:
            node, run = step
            self._note(run, free, 1)
            self._note(run, node, -1)
            free, step = node, came_from[node]
        return free

    def _put(self, demand: Demand, node: str) -> None:
        self._take(node, _units(demand))
        self._note(demand.run, node, 1)
        self._counts[demand.run] += 1

    def _take(self, name: str, units: int) -> None:
        before = self._nodes[name].whole
        self._nodes[name].take(units)
        self._file_again(name, before)

    def _give_back(self, name: str, units: int) -> None:
        """Free whole devices."""
        before = self._nodes[name].whole
        self._nodes[name].whole += units // UNITS
        self._file_again(name, before)

    def _file_again(self, name: str, before: int) -> None:
        if self._nodes[name].whole != before:
            del self._by_room[before][name]
        self._file(name)

    def _file(self, name: str) -> None:
        """Note how much room a node has."""
        node = self._nodes[name]
        self._by_room.setdefault(node.whole, {})[name] = None
        if node.parts and node.parts[-1]:
            self._begun[name] = None
        else:
            self._begun.pop(name, None)

    def _note(self, run: str, node: str, change: int) -> None:
        placement = self.placements[run]
        placement[node] = placement.get(node, 0) + change
        if not placement[node]:
            del placement[node]
        self._runs[node][run] += change


def _units(demand: Demand) -> int:
    """Return the units of a device that each worker of a run takes, at least one."""
    return max(1, round(demand.each * UNITS))
