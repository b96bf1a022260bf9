"""Which frames each frame of a film holds to: the order in which a shot is painted, on many devices at once.

The first frame of a shot, its root, is painted like a picture. Every ``KEY_DISTANCE``-th frame after it, and
the last one, is a key, which holds to the key before, and to earlier ones where something was hidden in that:
what comes out from behind something is painted as it was. What lies between two keys is painted by
bisection: the middle frame holds to both ends, then the middles of the halves hold to theirs, and so on.
(Video codecs order their B frames in the same way.) So of any two neighbours one holds to the other, every
frame but keys is held from both sides, and a change has few generations to grow in: ``n / KEY_DISTANCE + 4``
for a shot of n frames, where a chain from frame to frame has n. Each key sets ``KEY_DISTANCE`` frames free,
which as many devices paint together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stylize.recipe import Recipe

KEY_DISTANCE = 16
"""Frames from one key to the next. ``stylize/film/README.md`` says how frames hold to each other."""

KEYS_BACK = (1, 2, 4)
"""The keys that a key holds to: the one before, the one before that, and so on."""


HASTE = 0.4
"""The steps at each size that a held frame needs, as a share of a picture's."""


@dataclass(frozen=True, slots=True)
class Place:
    """A frame's place in its film."""

    index: int
    """The frame's index in the film, from 0."""
    needs: tuple[int, ...]
    """The indices of the frames that it holds to, nearest first: none for a root, at most two
    between keys, and for a key as many as there are in ``KEYS_BACK``."""
    key: bool
    """Whether the frame is a root or a key."""


def places(shots: Sequence[tuple[int, int]], *, loop: bool = False) -> Iterator[Place]:
    """Yield each frame of a film once, after those that it holds to.

    The key after next comes before what lies between two keys, so that whoever looks a few hundred frames
    ahead sees work for many devices.

    Args:
        shots: The first frame of each shot and the one after its last, in order, none empty.
        loop: Whether the first frame follows the last again; only with a single shot.

    Raises:
        ValueError: A shot is empty, or a loop has several shots.
    """
    if loop and len(shots) != 1:
        raise ValueError(f"a loop is one shot, not {len(shots)}")
    for first, end in shots:
        if end <= first:
            raise ValueError(f"a shot from {first} to {end} has no frame")
        yield from _shot(first, end, loop)


def hastened(recipe: Recipe) -> Recipe:
    """Return the recipe of a frame that is held: it begins painted, and needs fewer steps.

    Args:
        recipe: The film's recipe.
    """
    counts = [max(1, round(HASTE * count)) for _, count in recipe.schedule()]
    return recipe.model_copy(update={"steps": counts[0], "refine_steps": counts[-1]})


def place_of(index: int, shots: Sequence[tuple[int, int]], *, loop: bool = False) -> Place:
    """Return the place of one frame.

    Args:
        index: The frame's index in the film, from 0.
        shots: As for ``places``.
        loop: As for ``places``.

    Raises:
        ValueError: The frame is in none of the shots.
    """
    for first, end in shots:
        if first <= index < end:
            keys = keys_of(first, end, loop=loop)
            ends = [*keys, end] if loop else keys
            if index in keys:
                return _key(keys, keys.index(index))
            right = next(k for k, at in enumerate(ends) if at > index)
            low, high = ends[right - 1], ends[right]
            while (middle := (low + high) // 2) != index:
                low, high = (low, middle) if index < middle else (middle, high)
            return _between(low, index, high, first, end)
    raise ValueError(f"there is no frame {index}")


def interval(keys: Sequence[int]) -> Iterator[Place]:
    """Yield the last of several keys of a shot that is no loop, and then what lies before it.

    Args:
        keys: The indices of as many keys as there are up to this one, or at least of those that it holds to
            and all between.
    """
    yield _key(keys, len(keys) - 1)
    if len(keys) > 1:
        yield from _bisected(keys[-2], keys[-1], keys[0], keys[-1] + 1)


def _shot(first: int, end: int, loop: bool) -> Iterator[Place]:
    keys = keys_of(first, end, loop=loop)
    intervals = list(itertools.pairwise([*keys, end] if loop else keys))
    yield _key(keys, 0)
    known = 1
    for number, (low, high) in enumerate(intervals):
        # The end of this interval, and that of the next.
        while known < min(number + 3, len(keys)):
            yield _key(keys, known)
            known += 1
        yield from _bisected(low, high, first, end)


def keys_of(first: int, end: int, *, loop: bool = False) -> list[int]:
    """Return the root and the keys of a shot, in order.

    Args:
        first: The first frame of the shot.
        end: The one after its last.
        loop: As for ``places``.
    """
    length = end - first
    if loop:
        # Evenly, since the root is the end of the last interval.
        intervals = max(1, round(length / KEY_DISTANCE))
        return [first + k * length // intervals for k in range(intervals)]
    keys = list(range(first, end, KEY_DISTANCE))
    return keys if keys[-1] == end - 1 else [*keys, end - 1]


def _key(keys: Sequence[int], number: int) -> Place:
    needs = tuple(keys[number - back] for back in KEYS_BACK if back <= number)
    return Place(keys[number], needs, True)


def _bisected(low: int, high: int, first: int, end: int) -> Iterator[Place]:
    """Yield what lies between two frames, by levels: first the middle, then the middles of the halves."""
    level = [(low, high)]
    while level:
        halves = []
        for left, right in level:
            if right - left > 1:
                middle = (left + right) // 2
                yield _between(left, middle, right, first, end)
                halves += [(left, middle), (middle, right)]
        level = halves


def _between(low: int, middle: int, high: int, first: int, end: int) -> Place:
    near = [low, first if high == end else high]
    if high - middle < middle - low:
        near.reverse()
    return Place(middle, tuple(dict.fromkeys(near)), False)
