"""The arithmetic of a pool: which members it has, which can take a call, how many are missing. No Ray."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

from cluster.pools.base import PREFETCH
from cluster.pools.ray_member import Member

MOST_FAILED_STARTS = 3
"""This many workers that fail to start in a row, before any has been up, mean that none will."""

GROWING_SECONDS = 120.0
"""How long after the last request a worker is expected to come up soon."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before the next request after one failed start, and at most."""


class Roster:
    """The members of a pool.

    Args:
        gpus: GPUs that each member holds, >= 0; a member without a GPU counts as one device.
        clock: Seconds from any origin.
    """

    def __init__(self, gpus: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpus = gpus
        self._clock = clock
        self._members: dict[int, Member] = {}
        self._up_since: dict[int, float] = {}
        self._memory_classes: list[int] = []
        self._open: list[OrderedDict[int, Member]] = [OrderedDict() for _ in range(PREFETCH + 1)]
        """The members that can take a call, by the number of calls they have."""
        self._released_gpu_seconds = 0.0
        """Device seconds of members that were removed."""
        self._alone_since: float | None = clock()
        self.closed = False
        """Whether members get no more calls, because the run ends."""

    def __iter__(self) -> Iterator[Member]:
        """Iterate over a copy, so that members may be removed meanwhile."""
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: Member) -> bool:
        return member.number in self._members

    def get(self, number: int) -> Member | None:
        """Return a member by its number; None when it was removed."""
        return self._members.get(number)

    @property
    def up(self) -> int:
        """The number of members that are up."""
        return len(self._up_since)

    @property
    def pending(self) -> int:
        """The number of members that were requested and are not up."""
        return len(self._members) - len(self._up_since)

    @property
    def alone_seconds(self) -> float:
        """For how long no member has been up, in seconds; 0 while one is."""
        return 0.0 if self._alone_since is None else self._clock() - self._alone_since

    @property
    def gpu_hours(self) -> float:
        """Device hours held by members while they were up, including removed ones."""
        alive = len(self._up_since) * self._clock() - sum(self._up_since.values())
        return (self._released_gpu_seconds + alive * (self._gpus or 1.0)) / 3600

    @property
    def memory_classes(self) -> Sequence[int]:
        """The distinct memory sizes of the members that are up, in bytes, ascending."""
        return self._memory_classes

    def add(self, member: Member) -> None:
        """Add a member that was requested."""
        self._members[member.number] = member

    def mark_up(self, member: Member) -> None:
        """Take note that a member is up; from now on it can take calls."""
        member.up = True
        self._up_since[member.number] = self._clock()
        self._alone_since = None
        self._find_memory_classes()
        self.update(member)

    def remove(self, member: Member) -> None:
        """Remove a member, with its calls."""
        del self._members[member.number]
        for bucket in self._open:
            bucket.pop(member.number, None)
        since = self._up_since.pop(member.number, None)
        if since is not None:
            self._released_gpu_seconds += (self._clock() - since) * (self._gpus or 1.0)
            self._find_memory_classes()
        member.handle.calls.clear()
        if not self._up_since and self._alone_since is None:
            self._alone_since = self._clock()

    def update(self, member: Member) -> None:
        """Note that a member's calls changed, or whether it can take more. Call this after every change."""
        for bucket in self._open:
            bucket.pop(member.number, None)
        usable = member.up and not member.leaving and not self.closed
        calls = len(member.handle.calls)
        if usable and member.unreachable_since is None and calls < len(self._open):
            self._open[calls][member.number] = member

    def open_members(self) -> Iterator[Member]:
        """Iterate over the members that can take a call, the least busy first; each comes once for every
        number of calls it has when it is reached."""
        for calls, bucket in enumerate(self._open):
            for member in list(bucket.values()):
                # It may have got a call since; then it has had its turn.
                if len(member.handle.calls) == calls:
                    yield member

    def missing(self, target: int) -> int:
        """Return how many members are missing from ``target``; negative when there are too many. Those that
        leave do not count, nor those that are requested for nodes to come."""
        return target - sum(1 for member in self._members.values() if member.counts)

    @property
    def beyond(self) -> list[Member]:
        """The members that are requested for nodes to come, the oldest first."""
        return [m for m in self._members.values() if m.beyond and not m.up]

    def surplus(self, most: int) -> list[Member]:
        """Return at most ``most`` members to release: idle ones, first those that are not up, then those
        with the least memory, then the newest."""
        members = sorted(
            self._members.values(),
            key=lambda m: (m.up, m.handle.memory_bytes or 0, -m.number),
        )
        return [m for m in members if not m.handle.calls and not m.leaving][:most]

    def above(self, most: int | None) -> list[Member]:
        """Return the members that are up, and stay, beyond a number of them: those with the fewest calls.

        Args:
            most: The number that is allowed; None: any.
        """
        members = sorted(
            (m for m in self._members.values() if m.up and not m.leaving),
            key=lambda m: (len(m.handle.calls), -m.number),
        )
        return [] if most is None else members[: max(0, len(members) - most)]

    def by_node(self, *, up: bool = False) -> dict[str, int]:
        """Return how many members are on each node, or are requested there.

        Args:
            up: Count those that are up alone, the leaving ones included.
        """
        members = [m for m in self._members.values() if (m.up if up else m.counts)]
        return dict(Counter(m.place for m in members if m.place is not None))

    def wanting(self, share: Mapping[str, int]) -> list[str]:
        """Return the nodes on which members are missing from a share, one for each that is missing. Members
        whose place is not known yet may come up on any of them.

        Args:
            share: The members that there should be, by node.
        """
        has = self.by_node()
        nodes = [
            node for node, count in sorted(share.items()) for _ in range(count - has.get(node, 0))
        ]
        return nodes[: max(0, self.missing(sum(share.values())))]

    def exceeding(self, share: Mapping[str, int]) -> list[Member]:
        """Return the members that are too many for a share, or wait in the wrong place.

        Of those that are up, those of each node go that lose least: idle ones, then those with the fewest
        calls, then the newest. As long as there are too few elsewhere, one may stay where it is not meant to
        be: the manager hears of it.

        Args:
            share: The members that there should be, by node.
        """
        too_many = -self.missing(sum(share.values()))
        left = dict(share)
        found = []
        staying_first = sorted(
            (m for m in self._members.values() if m.counts),
            key=lambda m: (not m.up, -len(m.handle.calls), m.number),
        )
        for member in staying_first:
            if left.get(member.place or "", 0) > 0:
                left[member.place or ""] -= 1
            else:
                found.append(member)
        found.reverse()
        # Those that are not up wait, perhaps for a place that another run keeps.
        found.sort(key=lambda m: (m.up, m.place is None))
        misplaced = sum(1 for m in found if not m.up and m.place is not None)
        return found[: max(0, misplaced, too_many)]

    def _find_memory_classes(self) -> None:
        sizes = {
            self._members[number].handle.memory_bytes
            for number in self._up_since
            if number in self._members
        }
        self._memory_classes = sorted(size for size in sizes if size is not None)


class Starts:
    """Tracks the starts of workers, and decides when to request the next ones.

    Args:
        clock: Seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_in_a_row = 0
        self._ever_up = False
        self._next = -float("inf")
        self._last = -float("inf")

    @property
    def growing(self) -> bool:
        """Whether the last request is recent enough for its worker to come up soon."""
        return self._clock() - self._last < GROWING_SECONDS

    @property
    def may_request(self) -> bool:
        """Whether the pause after failed starts is over."""
        return self._clock() >= self._next

    def expect(self) -> None:
        """Note that a worker was requested, or that a node joined which brings some."""
        self._last = self._clock()

    def succeeded(self) -> None:
        """Note that a worker is up."""
        self._failed_in_a_row, self._ever_up = 0, True

    def failed(self) -> bool:
        """Note that a worker failed to start; return whether it is clear that none ever will."""
        self._failed_in_a_row += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self._failed_in_a_row - 1))
        if self._ever_up:
            self._next = self._clock() + pause
        return not self._ever_up and self._failed_in_a_row >= MOST_FAILED_STARTS
