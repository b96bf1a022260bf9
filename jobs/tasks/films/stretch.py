"""``Stretch``: frames of a film from one key to the next, between which motion is one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from jobs.tasks.films.part import FilmPart, Spot, Way


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames that follow each other: plain data, as a task is."""

    film: str
    """The film's id."""
    first: int
    """The index of the first of them."""
    uris: tuple[str, ...]
    """The addresses of the frames, at least two."""
    way: Way = "dis"
    """How the motion between them is known."""
    given: tuple[tuple[str, str], ...] = ()
    """As ``FilmPart.given``, for these frames."""

    @property
    def last(self) -> int:
        """The index of the last of them; where a loop closes, one more than any frame has."""
        return self.first + len(self.uris) - 1


def stretches_of(part: FilmPart) -> Iterator[Stretch]:
    """Yield the stretches of the frames around one, in order, without those of a single frame."""
    for low, high in pairwise(part.joints):
        uris, given = part.around[low : high + 1], part.given[low:high]
        yield Stretch(part.film, part.first + low, uris, part.way, given)


def place_of(part: FilmPart | Spot, need: int) -> int:
    """Return the place of a frame that another holds to among the frames around that one.

    Args:
        part: The place in its film of the frame that holds.
        need: The index of the other.
    """
    last = len(part.around) - 1
    place = need - part.first
    if not 0 <= place <= last:
        return last  # where a loop closes, the first frame comes last
    closes = place == 0 and last > 0 and part.around[last] == part.around[0]
    own = part.index - part.first
    return last if closes and last - own < own else place


def given_between(part: FilmPart | Spot) -> list[str]:
    """Return the addresses of the files with the motion between a frame and those that it holds to.

    Each comes once; there are none unless it is given.

    Args:
        part: The frame's place in its film.
    """
    if not part.given:
        return []
    needs = [need if isinstance(need, int) else need[0] for need in part.needs]
    places = [part.index - part.first, *(place_of(part, need) for need in needs)]
    between = part.given[min(places) : max(places)]
    return list(dict.fromkeys(uri for both in between for uri in both))
