"""``spots``: every frame of a film with its place, in the order in which they are painted."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from jobs.tasks.films.frames import Frames
from jobs.tasks.films.part import Spot
from stylize.film.structure import Place, places

Shots = Sequence[tuple[int, int]]
"""The index of the first frame of each shot, and the one after its last."""


def spots(frames: Frames, shots: Shots, *, loop: bool = False) -> Iterator[Spot]:
    """Yield each frame once, after those that it holds to.

    A frame's ``held`` is the digest of the addresses of all frames of its shot up to it, or up to those that
    it holds to, of where these are in the shot, and of what they hold to themselves. So it says all that
    the frame's picture depends on besides style and recipe, and does not change when the film goes on, when
    another shot is cut otherwise, or when another job names the same frames otherwise.

    Args:
        frames: The film.
        shots: Its shots.
        loop: Whether the first frame follows the last again; the film is then one shot.
    """
    ends = dict(shots)
    shot = _Shot(frames, 0, 0)
    for place in places(shots, loop=loop):
        if not place.needs:
            shot = _Shot(frames, place.index, ends[place.index])
        yield shot.spot(place)


def generations(shots: Shots, *, loop: bool = False) -> list[list[int]]:
    """Return, for each shot, how many frames there are of each generation: those of one may be painted at the
    same time, after those of the one before. A shot takes as many turns as it has generations, however many
    workers there are, and uses no more workers than its largest generation has frames.

    Args:
        shots: As for ``spots``.
        loop: As for ``spots``.
    """
    of_shots: list[list[int]] = []
    depths: dict[int, int] = {}
    for place in places(shots, loop=loop):
        if not place.needs:
            depths = {}
            of_shots.append([])
        depth = depths[place.index] = 1 + max((depths[need] for need in place.needs), default=-1)
        counts = of_shots[-1]
        counts += [0] * (depth + 1 - len(counts))
        counts[depth] += 1
    return of_shots


class _Shot:
    """What is known of a shot while its places come."""

    def __init__(self, frames: Frames, first: int, end: int) -> None:
        self._frames = frames
        self._first, self._end = first, end
        self._keys: list[int] = []
        self._held: dict[int, str] = {}
        self._levels: dict[int, int] = {}
        self._chain: list[bytes] = []
        """Digests of the addresses of the shot's frames: the first, the first two, and so on."""
        self._between: tuple[int, int] = (-1, -1)
        self._around: tuple[str, ...] = ()

    def spot(self, place: Place) -> Spot:
        index = place.index
        if place.key:
            self._keys.append(index)
        low, high = self._ends(place)
        if (low, high) != self._between:
            self._between, self._around = (low, high), tuple(self._uris(low, high))
        # The root again, at the end of a loop, stands for the whole shot.
        reach = self._end - 1 if high == self._end else max((index, *place.needs))
        offsets = [index - self._first, *(need - self._first for need in place.needs)]
        parts = [self._up_to(reach), *offsets, *(self._held[need] for need in place.needs)]
        held = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        self._held[index] = held
        level = 0 if place.key else 1 + max(self._levels[need] for need in place.needs)
        self._levels[index] = level
        return Spot(
            film=self._frames.id,
            name=self._frames.name,
            index=index,
            number=self._frames.numbers[index],
            needs=place.needs,
            held=held,
            level=level,
            first=low,
            around=self._around,
            joints=tuple(key - low for key in (*self._keys_within(low, high), high)),
        )

    def _ends(self, place: Place) -> tuple[int, int]:
        """Return the key before and the key after a frame; of a key, the first that it needs and itself."""
        if place.key:
            return min(place.needs, default=place.index), place.index
        at = bisect_right(self._keys, place.index)
        # What closes a loop has no key after it but the root.
        return self._keys[at - 1], self._keys[at] if at < len(self._keys) else self._end

    def _keys_within(self, low: int, high: int) -> Sequence[int]:
        """Return the keys from one on that come before a frame."""
        return self._keys[bisect_left(self._keys, low) : bisect_left(self._keys, high)]

    def _uris(self, low: int, high: int) -> Iterator[str]:
        for index in range(low, high + 1):
            yield self._frames.uris[self._first if index == self._end else index]

    def _up_to(self, index: int) -> str:
        for at in range(self._first + len(self._chain), index + 1):
            before = self._chain[-1] if self._chain else b""
            uri = self._frames.uris[at].encode("utf-8", "surrogatepass")
            self._chain.append(hashlib.sha256(before + uri).digest())
        return self._chain[index - self._first].hex()
