"""What a film takes: how many of its frames can be painted at once, how long that lasts at least, and which
videos are made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.films.film_set import FilmSet, SameFilm, films_once
from jobs.tasks.identity import Draft
from jobs.tasks.todo import Agenda
from jobs.videos.wanted import wanted_videos


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """A video that a job asks for."""

    video: str
    """Its key in the output."""
    options: dict[str, Any]
    """How it is made (``WantedVideo.identity``)."""


@dataclass(frozen=True, slots=True)
class FilmPlan:
    """A film, in each of its styles and recipes, however many entries of ``pairs`` name it."""

    film: str
    """The film as the job file names it."""
    frames: int
    """The number of its frames."""
    first: int
    """The number of the first frame."""
    last: int
    """The number of the last frame."""
    shots: int
    """The number of its shots."""
    depth: int
    """Frames that are painted one after the other, however many workers there are."""
    longest: int
    """The frames of its longest shot."""
    width: int
    """Workers that its longest shot can use at once, at most, in one style by one recipe."""
    workers: int
    """Workers that all its shots, in all styles by all recipes, can use at once, at most."""
    motion_bytes: int | None = None
    """Bytes that the motion between its frames takes in the output; None: nobody has measured any."""
    videos: tuple[VideoPlan, ...] = ()
    """The videos that are made of it."""


def plan_films(agenda: Agenda, storage: Storage, pair_bytes: float | None) -> tuple[FilmPlan, ...]:
    """Return what the films of a job take, each once, in the order of the job file.

    Args:
        agenda: The job.
        storage: The output, where earlier runs have kept motion.
        pair_bytes: Bytes of the motion between two frames; None: unknown.

    Raises:
        JobFileError, StorageError: As ``FilmSet.shots``; or the output cannot be listed.
    """
    films = films_once(agenda.films)
    places = {id(entry.frames): k for k, same in enumerate(films) for entry in same.entries}
    videos: defaultdict[int, list[VideoPlan]] = defaultdict(list)
    for video in wanted_videos(agenda):
        videos[places[id(video.frames)]].append(VideoPlan(video.key, video.identity))
    return tuple(
        _plan_film(
            same, kept_pair_bytes(storage, same.film.frames.id) or pair_bytes, videos.get(k, ())
        )
        for k, same in enumerate(films)
    )


def _plan_film(same: SameFilm, pair_bytes: float | None, videos: Sequence[VideoPlan]) -> FilmPlan:
    film: FilmSet = same.film
    shots = film.shots
    longest = max(end - first for first, end in shots)
    pairs = len(film.frames) - (0 if film.loop else len(shots))
    return FilmPlan(
        film=film.written,
        frames=len(film.frames),
        first=film.frames.numbers[0],
        last=film.frames.numbers[-1],
        shots=len(shots),
        depth=film.depth,
        longest=longest,
        width=max(film.widths),
        workers=same.workers,
        motion_bytes=None if pair_bytes is None else round(pair_bytes * pairs),
        videos=tuple(videos),
    )


def kept_pair_bytes(storage: Storage, film: str) -> float | None:
    """Return the bytes of the motion between two frames, by the files that earlier runs kept.

    Args:
        storage: The output.
        film: The film's id.

    Returns:
        The mean; None: there is none yet.

    Raises:
        StorageError: The output cannot be listed.
    """
    total = pairs = 0
    for stat in storage.list(keys.film_flows(film)):
        if stat.key.endswith(".npz"):  # beside motion that was given is what it was read from
            first, last = keys.flow_ends(stat.key)
            total, pairs = total + stat.size, pairs + last - first
    return total / pairs if pairs else None


@dataclass
class _Tree:
    """The frames left of a film with recipes that cost the same, by generation, from 1."""

    whole: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Those that are painted as pictures."""
    held: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Those that hold to others."""

    def seconds(self, whole: float, held: float, workers: int) -> float:
        """Return the time that these take at least: no frame begins before those that it holds to are done.
        So when the first g generations have passed one after the other, what comes after them is still to do.

        Args:
            whole: Seconds of a frame that is painted as a picture.
            held: Seconds of one that holds to others.
            workers: The number of workers.
        """
        last = max([*self.whole, *self.held])
        each = [
            whole if self.whole.get(g) else held if self.held.get(g) else 0.0
            for g in range(1, last + 1)
        ]
        work = [
            whole * self.whole.get(g, 0) + held * self.held.get(g, 0) for g in range(1, last + 1)
        ]
        total, longest = sum(work), 0.0
        for path, done in zip(accumulate(each), accumulate(work), strict=True):
            longest = max(longest, path + (total - done) / workers)
        return max(total / workers, longest)


class Trees:
    """Which frames are left, by film and recipe, and how many must be painted one after the other."""

    def __init__(self) -> None:
        self._trees: defaultdict[tuple[str, object], _Tree] = defaultdict(_Tree)
        self._shot: object = None
        self._generation: dict[int, int] = {}
        """The generations of the frames left of a shot, in one style, by the numbers of their tasks."""

    def add(self, draft: Draft, kind: object) -> None:
        """Take in a frame that is left, after those that it holds to.

        Args:
            draft: The frame.
            kind: What is equal for frames of one recipe.
        """
        spot = draft.spot
        assert spot is not None
        shot = (spot.film, spot.index, draft.styles)
        if not spot.needs and shot != self._shot:  # no shot holds to another
            self._shot = shot
            self._generation.clear()
        generation = 1 + max((self._generation.get(need, 0) for need in draft.needs), default=0)
        self._generation[draft.number] = generation
        tree = self._trees[spot.film, kind]
        (tree.held if spot.needs else tree.whole)[generation] += 1

    def seconds(
        self, seconds_of: Callable[[object, bool], float | None], workers: int
    ) -> float | None:
        """Return the time that the film takes that takes longest.

        Args:
            seconds_of: Returns the seconds of a frame of a kind, held or not; None: unknown.
            workers: The number of workers.

        Returns:
            Seconds; None: a time is unknown.
        """
        longest = 0.0
        for (_, kind), tree in self._trees.items():
            whole, held = (
                seconds_of(kind, of_held) if counts else 0.0
                for of_held, counts in ((False, tree.whole), (True, tree.held))
            )
            if whole is None or held is None:
                return None
            longest = max(longest, tree.seconds(whole, held, workers))
        return longest
