"""``Holding``: what a frame of a film is to keep of the finished frames that it holds to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cluster.worker.films.motion import MotionFiles
from cluster.worker.films.needs import NeedPicture
from cluster.worker.renderer import Hold, Reference, Renderer
from jobs.inputs.reader import Inputs
from jobs.storage.base import Storage
from jobs.tasks.films.part import FilmPart
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
        self._motion = MotionFiles(storage, inputs, decode, renderer.find_motion)

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
        motions = self._motion.around(part)
        return self._renderer.hold(content, own, references, motions, recipe)


def place_of(part: FilmPart, need: int) -> int:
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
