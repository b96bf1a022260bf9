"""``Holding``: what a frame of a film is to keep of the finished frames that it holds to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cluster.worker.films.motion import MotionFiles
from cluster.worker.films.needs import NeedPicture
from cluster.worker.renderer import Hold, Reference, Renderer
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.storage.base import Storage
from jobs.tasks.films.part import FilmPart
from jobs.tasks.films.stretch import given_between, place_of
from stylize.recipe import Recipe


class Holding:
    """Brings together the finished frames, the frames that they were, and the motion between all of them.

    Args:
        storage: The output.
        inputs: Tells whether frames have changed.
        renderer: Finds motion, and what is to be kept.
        decode: Reads and decodes the frame at an address.
    """

    def __init__(
        self, storage: Storage, inputs: Inputs, renderer: Renderer, decode: Callable[[str], Any]
    ) -> None:
        self._renderer = renderer
        self._decode = decode
        self._motion = MotionFiles(storage, inputs, decode, renderer)

    def hold(
        self,
        part: FilmPart,
        content: Any,
        pictures: Sequence[tuple[NeedPicture, Any]],
        recipe: Recipe,
    ) -> Hold:
        """Return what a frame is to keep of the frames that it holds to.

        Args:
            part: The frame's place in its film.
            content: The decoded frame.
            pictures: The finished pictures that it holds to, at least one, as files and decoded.
            recipe: The task's recipe.

        Raises:
            InputError, PictureError: A frame or the motion cannot be used.
            StorageError: A store does not answer.
        """
        own = part.index - part.first
        references = []
        for need, picture in pictures:
            place = place_of(part, need.index)
            before = self._decode(part.around[place])
            references.append(Reference(need.index, picture, place, before))
        motions, read = self._motion.around(part)
        between = frozenset(map(display, given_between(part)))
        hold = self._renderer.hold(content, own, references, motions, recipe)
        return replace(hold, flow=tuple(one for one in read if one.uri in between))
