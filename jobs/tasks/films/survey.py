"""``Survey``: where the shots of a film begin, looked for once and kept in the job's output.

Ids of tasks depend on the shots, so what was found stays, also when a later version would find another, until
a frame is another: by its size, and its time or ETag. Frames that cannot be read show at the same time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.errors import InputError, ObjectNotFoundError, Problem, StorageError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map
from jobs.spec.films.frame_numbers import as_text
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.films.frames import MISSING_SHOWN, Frames
from stylize.errors import PictureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Small = NDArray[np.uint8]

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the object that is kept."""

LOOKED_AT = 320
"""Frames are looked at with a longest side of about this many pixels."""

READERS = 4
"""Frames that are read and decoded at the same time."""

MOST_WRITTEN = 60
"""The longest text of frames, in characters, that is proposed instead."""

STATS = 16
"""Frames whose size and time are asked for at the same time."""

CutFinder = Callable[["Iterator[Small]"], Iterable[int]]
"""Takes the frames of a film in order, small, (h, w, 3), of one shape, and returns the index of each that
begins a new shot, but for the first."""


Watch = Callable[[str, int, int], None]
"""Is told a film's name, how many of its frames were looked at, and how many it has. What it raises ends the
looking."""


def unwatched(film: str, looked_at: int, frames: int) -> None:
    """Take no notice.

    Args:
        film: The film's name.
        looked_at: How many of its frames were looked at.
        frames: How many it has.
    """


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What looking at all frames of a film has shown."""

    starts: list[int]
    """The index of the first frame of each shot, ascending from 0."""
    unreadable: list[int]
    """The indices of frames that are there and cannot be read."""
    why: str = ""
    """Why the first of these cannot be."""


@dataclass(frozen=True, slots=True)
class UnreadableFrames:
    """Frames of a film that are there and cannot be read, so that their tasks will fail."""

    count: int
    """How many they are."""
    frames: int
    """How many frames the film has."""
    problem: Problem
    """Which they are, why, and where the job file names the film."""


class Survey:
    """Looks for the shots of films.

    Args:
        inputs: Reads the frames.
        storage: The job's output.
        find_cuts: Looks for cuts; None: ``stylize.film.cuts``.
    """

    def __init__(
        self, inputs: Inputs, storage: Storage, find_cuts: CutFinder | None = None
    ) -> None:
        self._inputs = inputs
        self._storage = storage
        self._find_cuts = find_cuts

    def look(self, frames: Frames, watch: Watch = unwatched) -> Surveyed:
        """Return where the shots of a film begin, and which frames cannot be read.

        Args:
            frames: The film.
            watch: Is called for each frame that is looked at.

        Raises:
            StorageError: The output cannot be read, or the store of a frame does not answer.
            StylizeError: What looks for cuts is not installed.
        """
        stamp = self._stamp(frames)
        key = keys.film_cuts(frames.id)
        kept = self._kept(key, stamp, frames)
        if kept is not None:
            return kept
        find_cuts = self._find_cuts or _finder()
        faults: dict[int, str] = {}
        starts = [0, *_cuts(self._looked_at(frames, watch, faults), find_cuts)]
        unreadable = list(faults)
        about = {"version": VERSION, "frames": stamp, "starts": starts, "unreadable": unreadable}
        try:
            self._storage.put(key, json.dumps(about).encode(), content_type="application/json")
        except StorageError as error:  # the next run looks again; a plan need not be able to write
            log.warning("the cuts of %s are not kept: %s", frames.name, error)
        return Surveyed(starts, unreadable, next(iter(faults.values()), ""))

    def _kept(self, key: str, stamp: str, frames: Frames) -> Surveyed | None:
        try:
            kept = json.loads(self._storage.get(key))
            if (kept["version"], kept["frames"]) != (VERSION, stamp):
                return None
            starts = [int(start) for start in kept["starts"]]
            unreadable = [int(index) for index in kept.get("unreadable", ())]
            # What reads it may have been installed since, or be missing on one machine alone.
            first = self._look(frames.uris[unreadable[0]]) if unreadable else None
        except (ObjectNotFoundError, ValueError, TypeError, KeyError, IndexError):
            return None
        return (
            Surveyed(starts, unreadable, first) if isinstance(first, str) else Surveyed(starts, [])
        )

    def _stamp(self, frames: Frames) -> str:
        """Return a digest that changes when a frame is another."""
        digest = hashlib.sha256()
        for seen in parallel_map(self._seen, frames.uris, STATS):
            digest.update(seen.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _seen(self, uri: str) -> str:
        try:
            there = self._inputs.stat(uri)
        except InputError:
            there = None
        about = None if there is None else (there.size, there.etag or there.modified)
        return json.dumps([uri, about])

    def _looked_at(self, frames: Frames, watch: Watch, faults: dict[int, str]) -> Iterator[Small]:
        """Yield every frame, small. One that cannot be read counts as a repetition of the one before.

        Args:
            frames: The film.
            watch: Is called for each frame.
            faults: Takes the index of each frame that is there and cannot be read, and why.
        """
        before: Small | None = None
        for k, seen in enumerate(parallel_map(self._look, frames.uris, READERS)):
            watch(frames.name, k + 1, len(frames))
            if isinstance(seen, str):
                faults[k] = seen
            elif seen is not None:
                before = seen
            yield _nothing() if before is None else before

    def _look(self, uri: str) -> Small | str | None:
        """Return a frame, small; or why it cannot be read; None: that shows without reading it, and is told
        by who looks for pictures that are missing."""
        from stylize.pictures.reading.open import open_raster  # Pillow is slow to import

        try:
            return _small(open_raster(self._inputs.read(uri).data, display(uri)))
        except (InputError, PictureError) as error:
            fault = str(error)
        try:
            self._inputs.check(uri)
        except InputError:
            return None
        return fault


def unreadable_text(film: str, numbers: Sequence[int], found: Surveyed) -> str:
    """Return the sentence about the frames of a film that cannot be read.

    Args:
        film: The film as the job file names it.
        numbers: The numbers of all its frames.
        found: What was found out about them.
    """
    faulty = set(found.unreadable)
    which = as_text((numbers[index] for index in found.unreadable), MISSING_SHOWN)
    frames, it = ("frame", "it") if len(faulty) == 1 else ("frames", "them")
    text = f"{frames} {which} of {film} cannot be read, and what holds to {it} fails, too"
    others = as_text(number for index, number in enumerate(numbers) if index not in faulty)
    if others and len(others) <= MOST_WRITTEN:
        text += f"; to do without, write frames: {others}"
    return f"{text} ({found.why.rstrip('.')})"


def _cuts(frames: Iterator[Small], find_cuts: CutFinder) -> Iterator[int]:
    """Yield the index of each frame that begins a new shot, but for the first. Where frames have another
    shape, a shot begins."""
    at = 0
    for _, alike in itertools.groupby(frames, key=lambda frame: frame.shape):
        if at:
            yield at
        seen = itertools.count()
        counted = (frame for frame, _ in zip(alike, seen, strict=False))
        yield from (at + cut for cut in find_cuts(counted))
        for _ in counted:
            pass
        at += next(seen)


def _small(raster: Any) -> Small:
    """Return the values of a picture, (h, w, 3), as means of squares, with a longest side of about
    ``LOOKED_AT``."""
    import numpy as np

    values = raster.values
    height, width = values.shape[:2]
    step = max(1, max(height, width) // LOOKED_AT)
    rows, columns = height // step, width // step
    if rows and columns:
        blocks = values[: rows * step, : columns * step].reshape(rows, step, columns, step, -1)
        values = blocks.mean((1, 3), dtype=np.float32)
    values = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, axis=2)
    scaled = values.astype(np.float32) * (255 / (raster.white or 1))
    small: Small = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return small


def _nothing() -> Small:
    """Return a small black frame."""
    import numpy as np

    return np.zeros((90, 160, 3), np.uint8)


def _finder() -> CutFinder:
    from stylize.film.cuts import cuts

    return cuts
