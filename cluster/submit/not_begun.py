"""``tasks_waiting``: how much there is to render of a job that was never run."""

from __future__ import annotations

import contextlib
import posixpath
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.events.progress import plural
from cluster.open_job import open_agenda
from jobs.errors import StylefarmError
from jobs.jobfile.job import Job
from jobs.spec.films.film import is_film
from jobs.spec.pairs import PairSet
from jobs.tasks.films.film_set import FilmSet
from jobs.tasks.pairs import PictureSet
from jobs.tasks.todo import Agenda

MOST_PAIRS = 20_000
"""Pairs of pictures that are compared, so that none is counted twice: a second's work."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The tasks of a job that was never run."""

    tasks: int
    frames: int
    """Those of them that are frames of films."""

    @property
    def text(self) -> str:
        """The sentence about them: "20 tasks wait, 16 of them frames of films"."""
        text = f"{plural(self.tasks, 'task')} {'waits' if self.tasks == 1 else 'wait'}"
        if self.frames == self.tasks:
            return f"{text}, {'a frame of a film' if self.tasks == 1 else 'all of them frames of films'}"
        if self.frames:
            return f"{text}, {self.frames:,} of them {'a frame' if self.frames == 1 else 'frames'} of films"
        return text


def tasks_waiting(job: Job) -> Waiting | None:
    """Return how many tasks a job has, without looking for the cuts of its films.

    Returns:
        The counts; None: that cannot be told without reading a manifest or a film file of a store, or looking
        for cuts; or the job's pictures are not there.
    """
    if any(map(_is_long, job.spec.pairs)):
        return None
    try:
        with contextlib.closing(open_agenda(job)) as agenda:
            pictures, frames = _pictures(agenda), _frames(agenda)
    except StylefarmError:  # plan and run say what is wrong
        return None
    if pictures is None or frames is None:
        return None
    return Waiting(pictures + frames, frames)


def _is_long(pair: PairSet) -> bool:
    """Return whether it takes long to find out what an entry names."""
    film = pair.film or ""
    return pair.manifest is not None or (is_film(film) and film.startswith("s3://"))


def _pictures(agenda: Agenda) -> int | None:
    """Return the number of tasks that are no frames; None: they are too many to be compared."""
    sets = [entry for entry in agenda.sets if isinstance(entry, PictureSet)]
    if sum(map(len, sets)) > MOST_PAIRS:
        return None
    return len({d.effect for entry in sets for d in entry.drafts(lambda recipe: recipe.weights)})


def _frames(agenda: Agenda) -> int | None:
    """Return the number of tasks that are frames; None: two entries may have some of a film in common, which
    depends on its shots."""
    entries: defaultdict[str, list[tuple[FilmSet, object]]] = defaultdict(list)
    for entry, pair in zip(agenda.entries, agenda.job.spec.pairs, strict=True):
        if isinstance(entry, FilmSet):
            frames = entry.frames
            where = str(frames.numbered or posixpath.dirname(frames.uris[0]))
            how = frames.id, len(frames), str(pair.cuts), pair.loop
            entries[where].append((entry, how))
    if any(len({how for _, how in same}) > 1 for same in entries.values()):
        return None
    return sum(_paintings([entry for entry, _ in same]) for same in entries.values())


def _paintings(entries: Sequence[FilmSet]) -> int:
    """Return the number of tasks of entries with the same frames in the same shots."""
    paintings = {painting for entry in entries for painting in entry.paintings}
    return len(entries[0].frames) * len(paintings)
