"""``stylize_film``: a film from its first frame to its last, in one process and in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from stylize.api import Result, stylize
from stylize.errors import PictureError
from stylize.film.cuts import is_cut, looked_at
from stylize.film.flow import Frame
from stylize.film.flow_file import find_motions, read_motions
from stylize.film.motions import between, nearest
from stylize.film.references import Neighbour, frame_of, held_recipe, reference
from stylize.film.structure import KEY_DISTANCE, KEYS_BACK, Place, interval, keys_of, places
from stylize.film.warp import Motion
from stylize.network.vgg19 import VGG19
from stylize.pictures.codec import as_stored, read
from stylize.pictures.inputs import PictureLike, StyleLike
from stylize.pictures.picture import Picture
from stylize.recipe import Recipe
from stylize.render.recorder import Observer
from stylize.video.film import open_film


@dataclass(frozen=True)
class FilmFrame:
    """A painted frame."""

    index: int
    """Its index in the film, from 0."""
    result: Result
    """How it was painted, with its picture."""

    @property
    def picture(self) -> Picture:
        """The painted frame."""
        return self.result.picture


def stylize_film(
    frames: Iterable[PictureLike] | str | os.PathLike[str],
    style: StyleLike,
    recipe: Recipe | None = None,
    *,
    cuts: Collection[int] | Literal["auto", "none"] = "auto",
    loop: bool = False,
    flow: Literal["dis", "raft"] = "dis",
    network: VGG19 | None = None,
    device: torch.device | str | None = None,
    observer: Observer | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[FilmFrame]:
    """Paint the frames of a film so that strokes stick to what they are painted on.

    Frames are read as they are needed, about ``KEY_DISTANCE`` ahead, and yielded in order. They are what a
    farm paints of the same film, frame by frame on many devices, in 8 bits.

    Args:
        frames: The frames, of one shape, in order; or the path of a film: MP4, MOV, MKV or WebM.
        style: The style of all of them, as for ``stylize``.
        recipe: The knobs of each frame. Default: ``Recipe()``.
        cuts: The indices of frames that begin a new shot, which holds to nothing before it; auto: where one
            is found; none: there are none.
        loop: Whether the first frame follows the last again. All frames are in memory at once then.
        flow: How motion is found: by OpenCV, or by the network RAFT, whose weights are downloaded once.
        network: A loaded VGG19, as for ``stylize``.
        device: As for ``stylize``.
        observer: As for ``stylize``, for every frame in the order in which they are painted.
        should_stop: As for ``stylize``.

    Yields:
        The painted frames, in order.

    Raises:
        PictureError: A frame cannot be used or has another shape than the first, or a loop has cuts.
        FilmError: The film cannot be read, or PyAV is not installed.
        ValueError: ``flow`` or ``cuts`` is none of these.
        StylizeError: What finds the motion is not installed, or its weights cannot be had; or as ``stylize``
            raises.
    """
    recipe = recipe or Recipe()
    if flow not in ("dis", "raft"):
        raise ValueError(f"flow is {flow!r}: give dis or raft")
    if isinstance(cuts, str) and cuts not in ("auto", "none"):
        raise ValueError(f"cuts is {cuts!r}: give auto, none, or the indices of frames")
    begins: Collection[int] | None = None if cuts == "auto" else () if cuts == "none" else cuts

    def paint(content: Picture, neighbours: Sequence[Neighbour]) -> Result:
        held = [reference(frame_of(content), neighbours)] if neighbours else []
        return stylize(
            content,
            style,
            held_recipe(recipe, held[0]) if held else recipe,
            references=held,
            network=network,
            device=device,
            observer=observer,
            should_stop=should_stop,
        )

    find = partial(find_motions, way=flow)
    pictures = _pictures(_shown(frames))
    if loop:
        yield from _looped(list(pictures), begins, paint, find)
        return
    shot = _Shot(0, paint, find)
    before: Frame | None = None
    for index, content in enumerate(pictures):
        small = looked_at(frame_of(content))
        if before is not None and (is_cut(before, small) if begins is None else index in begins):
            yield from shot.end()
            shot = _Shot(index, paint, find)
        before = small
        yield from shot.add(content)
    yield from shot.end()


Paint = Callable[[Picture, Sequence[Neighbour]], Result]

Find = Callable[[Iterable[Frame]], bytes]
"""Finds the motion between frames, as ``find_motions`` does."""


@dataclass(frozen=True)
class _Painted:
    """A painted frame, and what it was."""

    frame: Frame
    result: Result


@dataclass
class _Shot:
    """A shot that is painted while it is read: what lies between two keys at a time."""

    first: int
    """The index of its first frame."""
    paint: Paint
    find: Find
    contents: list[Picture] = field(default_factory=list)
    """The frames from the last key on."""
    keys: list[int] = field(default_factory=list)
    """Where the last keys are in the shot, as many as the next one may hold to."""
    painted: dict[int, _Painted] = field(default_factory=dict)
    """These keys, painted."""
    motions: list[Sequence[Motion]] = field(default_factory=list)
    """The motion from each of them to the next."""

    def add(self, content: Picture) -> Iterator[FilmFrame]:
        """Take the next frame, and yield those that can be painted now."""
        self.contents.append(content)
        if len(self.contents) == KEY_DISTANCE + 1:
            yield from self._paint_interval()

    def end(self) -> Iterator[FilmFrame]:
        """Yield what is left."""
        if len(self.contents) > 1 or (self.contents and not self.keys):
            yield from self._paint_interval()
        if self.keys:
            yield FilmFrame(self.first + self.keys[-1], self.painted[self.keys[-1]].result)

    def _paint_interval(self) -> Iterator[FilmFrame]:
        """Paint all frames that are here; yield all but the last, with which the next interval begins."""
        if not self.keys:
            self.keys = [0]
            self._paint(interval(self.keys), 0)
        low, last = self.keys[-1], self.keys[-1] + len(self.contents) - 1
        if last == low:
            return
        self.keys.append(last)
        # As a farm has it: kept in a file.
        self.motions.append(read_motions(self.find(map(frame_of, self.contents))))
        self._paint(interval(self.keys), low)
        for k in range(low, last):
            yield FilmFrame(self.first + k, self.painted[k].result)
        del self.contents[:-1]
        del self.keys[: -max(KEYS_BACK)]
        del self.motions[: len(self.motions) - (len(self.keys) - 1)]
        self.painted = {key: self.painted[key] for key in self.keys}

    def _paint(self, order: Iterable[Place], low: int) -> None:
        """Paint frames, each after those that it holds to; the first content is that of frame ``low``."""
        start = self.keys[0]
        for place in order:
            content = self.contents[place.index - low]
            neighbours = [
                _neighbour(self.painted[need], self.motions, place.index - start, need - start)
                for need in place.needs
            ]
            self.painted[place.index] = _Painted(frame_of(content), self.paint(content, neighbours))


def _looped(
    contents: list[Picture],
    cuts: Collection[int] | None,
    paint: Paint,
    find: Find,
) -> Iterator[FilmFrame]:
    if cuts:
        raise PictureError("a loop has no cuts")
    if not contents:
        return
    count = len(contents)
    frames = [frame_of(content) for content in contents]
    ends = [*keys_of(0, count, loop=True), count]
    round_ = [*frames, frames[0]]
    motions = [
        read_motions(find(round_[low : high + 1])) for low, high in pairwise(ends) if count > 1
    ]
    painted: dict[int, _Painted] = {}
    for place in places([(0, count)], loop=True):
        index = place.index
        neighbours = [
            _neighbour(
                painted[need],
                motions,
                index,
                need if place.key else nearest(index, need, count),  # keys hold to earlier ones
            )
            for need in place.needs
        ]
        painted[index] = _Painted(frames[index], paint(contents[index], neighbours))
    for index in range(count):
        yield FilmFrame(index, painted[index].result)


def _neighbour(
    painted: _Painted, motions: Sequence[Sequence[Motion]], index: int, need: int
) -> Neighbour:
    """Return a painted frame as one that holds to it sees it."""
    picture = as_stored(painted.result.picture)
    return Neighbour(picture, *between(motions, index, need), painted.frame)


def _shown(frames: Iterable[PictureLike] | str | os.PathLike[str]) -> Iterator[PictureLike]:
    """Yield the frames that a film shows, or those that are given."""
    if not isinstance(frames, str | os.PathLike):
        yield from frames
        return
    with open_film(Path(frames)) as film:
        for frame in film.frames():
            yield frame.values


def _pictures(frames: Iterable[PictureLike]) -> Iterator[Picture]:
    shape = None
    for index, frame in enumerate(frames):
        name = f"frame {index}" if isinstance(frame, np.ndarray) else ""
        picture = read(frame, name, keep_opaque=True)
        shape = shape or picture.rgb.shape
        if picture.rgb.shape != shape:
            (h, w), (height, width) = picture.rgb.shape[2:], shape[2:]
            raise PictureError(
                f"frame {index} is {w} x {h} px, and those before it {width} x {height} px"
            )
        yield picture
