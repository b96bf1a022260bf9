"""``FilmSet``: an entry of ``pairs`` that names a film, expanded to drafts of its frames."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from jobs.jobfile.yaml_source import FieldPath
from jobs.spec.films.video import VideoOptions
from jobs.spec.styles import StyleMix
from jobs.tasks.films.flow_source import FOUND, FlowSource
from jobs.tasks.films.frames import Frames, Numbered, find_number
from jobs.tasks.films.part import Spot
from jobs.tasks.films.spots import Shots, generations, spots
from jobs.tasks.identity import Draft, Kind
from jobs.tasks.pairs import for_content
from stylize.recipe import Recipe


@dataclass(frozen=True)
class FilmSet:
    """One entry of ``pairs`` with a film, its frames found. ``len()`` is its number of tasks."""

    written: str
    """The film as the job file names it."""
    frames: Frames
    styles: Sequence[StyleMix]
    """Styles; what stands for the frame in their masks is not replaced yet."""
    recipes: Sequence[Recipe]
    """One complete recipe per combination of the sweep."""
    find_shots: Callable[[], Shots]
    """Returns the film's shots; it may read all frames."""
    loop: bool = False
    """Whether the first frame follows the last again."""
    flow: FlowSource = FOUND
    """Where the motion comes from."""
    video: VideoOptions | None = None
    """The video that is made of the finished frames; None: none."""
    step: int = 1
    """For how many frames of the source each is shown in it: more than one where the job file takes only
    every so many."""
    mask_fields: Mapping[str, FieldPath] = field(default_factory=dict)
    """The field of the job file that names each mask first."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _shots: list[Shots] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.frames) * len(self.styles) * len(self.recipes)

    @property
    def contents(self) -> Sequence[str]:
        """The addresses of the frames."""
        return self.frames.uris

    @property
    def shots(self) -> Shots:
        """The film's shots, found when they are first asked for.

        Raises:
            JobFileError: They cannot be looked for.
            StorageError: A frame cannot be read, because its store does not answer.
        """
        with self._lock:
            if not self._shots:
                self._shots.append(self.find_shots())
            return self._shots[0]

    @property
    def depth(self) -> int:
        """The frames that are painted one after the other, however many workers there are. Raises as
        ``shots``."""
        return max(map(len, self._generations))

    @property
    def widths(self) -> Sequence[int]:
        """The workers that each shot can use at once, at most. Raises as ``shots``."""
        return [max(counts) for counts in self._generations]

    @cached_property
    def _generations(self) -> Sequence[Sequence[int]]:
        return generations(self.shots, loop=self.loop)

    @property
    def has_shots(self) -> bool:
        """Whether its shots are found."""
        return bool(self._shots)

    @cached_property
    def paintings(self) -> frozenset[object]:
        """What is equal for films of the same frames that become the same pictures: each style with each
        recipe, and where the motion comes from."""
        kinds = [Kind(recipe, "") for recipe in self.recipes]
        flow = self.flow.way, tuple(self.flow.files.items())
        return frozenset(
            (style, kind.effect or kind.json, flow) for style in self.styles for kind in kinds
        )

    def drafts(self, digest_of: Callable[[Recipe], str]) -> Iterator[Draft]:
        """Yield a draft for every frame in every style with every recipe, each after those that it holds to.

        Args:
            digest_of: Returns the digest of a recipe's weights; what it raises passes through.

        Raises:
            JobFileError, StorageError: As ``shots``.
        """
        kinds = [Kind(recipe, digest_of(recipe)) for recipe in self.recipes]
        for style in self.styles:
            numbers: list[dict[int, int]] = [{} for _ in kinds]
            for spot in spots(self.frames, self.shots, loop=self.loop, flow=self.flow):
                content = self.frames.uris[spot.index]
                mix = for_frame(style, content, spot)
                for kind, known in zip(kinds, numbers, strict=True):
                    if not spot.needs:
                        known.clear()  # no shot holds to another
                    needs = [known[need] for need in spot.needs]
                    draft = Draft(content, mix, None, kind, spot=spot, needs=needs)
                    known[spot.index] = draft.number
                    yield draft

    def masks(self) -> Iterator[tuple[FieldPath, str]]:
        """Yield the masks that follow the names of frames, with the field of the job file that names each.
        Those that follow their numbers are known to be there."""
        for style in self.styles:
            for part in style:
                if part.mask is None or mask_sequence(part.mask) is not None:
                    continue
                for content in self.frames.uris:
                    (one,) = for_content((part,), content)
                    assert one.mask is not None
                    yield self.mask_fields.get(part.mask, ()), one.mask


def for_frame(style: StyleMix, content: str, spot: Spot) -> StyleMix:
    """Return a style with the masks of one frame.

    Args:
        style: The style; its masks may be sequences, or have ``{content}``.
        content: The frame's address.
        spot: Its place.
    """
    style = for_content(style, content)
    if not any(part.mask is not None and mask_sequence(part.mask) for part in style):
        return style
    parts = []
    for part in style:
        sequence = None if part.mask is None else mask_sequence(part.mask)
        parts.append(part if sequence is None else part._replace(mask=sequence.name(spot.number)))
    return tuple(parts)


@lru_cache(maxsize=256)
def mask_sequence(mask: str) -> Numbered | None:
    """Return the sequence that a mask such as ``masks/a.####.png`` is; None: it is one picture."""
    parts = find_number(mask)
    return None if parts is None else Numbered(*parts)


@dataclass(frozen=True, slots=True)
class SameFilm:
    """Entries of ``pairs`` with the same frames in the same shots, such as several videos of one film."""

    entries: Sequence[FilmSet]
    """At least one."""

    @property
    def film(self) -> FilmSet:
        """The first of them."""
        return self.entries[0]

    @property
    def workers(self) -> int:
        """The workers that all its shots, in all styles by all recipes, can use at once, at most."""
        paintings = {painting for entry in self.entries for painting in entry.paintings}
        return sum(self.film.widths) * len(paintings)


def films_once(films: Iterable[FilmSet]) -> list[SameFilm]:
    """Return each film once, in the order in which they are named first.

    Args:
        films: Entries.

    Raises:
        JobFileError, StorageError: As ``FilmSet.shots``.
    """
    once: defaultdict[object, list[FilmSet]] = defaultdict(list)
    for film in films:
        once[film.frames.id, len(film.frames), tuple(film.shots), film.loop].append(film)
    return list(map(SameFilm, once.values()))


def useful_workers(films: Sequence[FilmSet]) -> int | None:
    """Return the workers that films can use at once, at most; None: the shots of one are not found yet."""
    if not all(film.has_shots for film in films):
        return None
    return sum(same.workers for same in films_once(films))
