"""``FilmPart``: a frame's place in its film, as a task has it; and ``Spot``, the same before it has needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.records.record import FilmRecord, HeldRecord

FILM_NAME = "{film}--{style}.{number}"
"""The name of a frame's picture where ``image.name`` is not given: names sort by film, style and number."""


@dataclass(frozen=True, slots=True)
class FilmPart:
    """A frame's place in its film: plain data, as a task is."""

    film: str
    """The film's id, 16 hex digits: the same for the same source, in every job."""
    index: int
    """The frame's index in the film, from 0."""
    number: int
    """The frame's number as its source counts."""
    needs: tuple[tuple[int, str], ...]
    """(index, task id) of each frame that it holds to, nearest first; none for the first of a shot.
    Their pictures are done, and in the same output, before the frame is painted."""
    first: int
    """The index of the first of ``around``."""
    around: tuple[str, ...]
    """The addresses of the frames from the key before to the key after, both included, or, of a key, from
    the farthest that it holds to: those between which there is motion to know. This frame is one of them,
    and ``needs`` are others. The last is the film's first frame again where a loop closes."""
    joints: tuple[int, ...]
    """The places in ``around`` of its first, of its last, and of the keys between, in order: the motion from
    each of them to the next is a file."""
    level: int = 0
    """0 for the first of a shot and for keys, for which the most others wait, 1 for what is in the middle of
    two keys, 2 for the middles of the halves, and so on."""

    def record(self, digests: Mapping[str, str] | None = None) -> FilmRecord:
        """Return the record of the place.

        Args:
            digests: The hex digests of the pictures of ``needs`` that were read, by task id.
        """
        digests = digests or {}
        held = [
            HeldRecord(index=index, id=task_id, sha256=digests.get(task_id))
            for index, task_id in self.needs
        ]
        return FilmRecord(film=self.film, index=self.index, number=self.number, needs=held)


@dataclass(frozen=True, slots=True)
class Spot:
    """A frame's place in its film, the same for every style and recipe that it is painted with."""

    film: str
    """The film's id."""
    name: str
    """What the film is called in the names of pictures."""
    index: int
    """The frame's index in the film, from 0."""
    number: int
    """The frame's number as its source counts."""
    needs: tuple[int, ...]
    """The indices of the frames that it holds to."""
    held: str
    """The digest of all that these frames, and those that they hold to, are made from."""
    level: int
    """As ``FilmPart.level``."""
    first: int
    """As ``FilmPart.first``."""
    around: tuple[str, ...]
    """As ``FilmPart.around``."""
    joints: tuple[int, ...]
    """As ``FilmPart.joints``."""

    def part(self, needs: Sequence[str]) -> FilmPart:
        """Return the place as a task has it; ``needs``: ids of tasks, in the order of ``self.needs``."""
        pairs = tuple(zip(self.needs, needs, strict=True))
        return FilmPart(
            film=self.film,
            index=self.index,
            number=self.number,
            needs=pairs,
            level=self.level,
            first=self.first,
            around=self.around,
            joints=self.joints,
        )
