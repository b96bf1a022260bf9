"""What a frame holds to: painted frames, moved to where it is, each where it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from stylize.film.background import settled
from stylize.film.cv import opencv
from stylize.film.flow import Flow, Frame, resized
from stylize.film.structure import hastened
from stylize.film.warp import Motion, Weight, followed, trusted
from stylize.pictures.picture import Picture, Reference
from stylize.recipe import Recipe


class Neighbour(NamedTuple):
    """A painted frame, seen from another."""

    picture: Picture
    """The painted frame: all that was painted, also where it is clear."""
    motion: Motion
    """The motion from the other frame to this one, at any size."""
    distance: int
    """How many frames later it is than the other; before it: negative. Not 0."""
    content: Frame
    """The frame that was painted, as it was before."""


ENOUGH = 0.5
"""A frame of which less than this share is held needs as many steps as a picture."""


def held_recipe(recipe: Recipe, held: Reference) -> Recipe:
    """Return the recipe of a frame that holds to others: with fewer steps, where enough of it is held.

    Args:
        recipe: The film's recipe.
        held: What the frame holds to.
    """
    return recipe if float(held.weight.mean()) < ENOUGH else hastened(recipe)


def reference(content: Frame, neighbours: Sequence[Neighbour]) -> Reference:
    """Return what a frame holds to: its painted neighbours, moved as the film moves.

    Where neighbours of both sides are trusted, they count by their nearness: the sum of their squared
    differences is, but for a constant, that to their mean. Of several on one side, a farther one counts only
    where no nearer one is trusted (Ruder, Dosovitskiy, Brox 2016, eq. 9): it shows what was hidden meanwhile.

    Args:
        content: The frame that holds to them, as it is before it is painted.
        neighbours: One or more painted frames of one shape.
    """
    height, width = neighbours[0].picture.rgb.shape[2:]
    # No more is looked at than what the motion was found in: it says nothing about finer things.
    found_in = neighbours[0].motion.there.shape[:2]
    looked_at = min(found_in, (height, width), key=max)
    here = _fitted(content, *looked_at)
    colours = np.zeros((height, width, 3), np.float32)
    shares = np.zeros((height, width, 1), np.float32)
    weight = np.zeros((height, width), np.float32)
    sides = {side: np.zeros((height, width), np.float32) for side in (False, True)}
    for picture, motion, distance, before in sorted(neighbours, key=lambda one: abs(one.distance)):
        there, trust = _seen_from(here, before, motion, height, width)
        nearer = sides[distance > 0]
        trust = np.minimum(trust, 1 - nearer)
        nearer += trust
        # A little of what is not trusted gives unheld pixels a colour; it counts for nothing.
        share = np.maximum(trust, 1e-6)[..., None] / abs(distance)
        painted = np.ascontiguousarray(picture.rgb[0].permute(1, 2, 0).numpy())
        colours += share * followed(painted, there, sharp=True)
        shares += share
        weight = np.maximum(weight, trust)
    rgb = torch.from_numpy(colours / shares).clamp_(0, 1).permute(2, 0, 1)[None].contiguous()
    return Reference(rgb, torch.from_numpy(weight)[None, None])


def _seen_from(
    here: Frame, before: Frame, motion: Motion, height: int, width: int
) -> tuple[Flow, Weight]:
    """Return where the pixels of a painting are in a painted neighbour, and how far that can be trusted.

    Args:
        here: The frame of the painting, at the size that is looked at.
        before: The neighbour's frame, at any size.
        motion: The motion from the one to the other, at any size.
        height: The height of the paintings.
        width: Their width.
    """
    looked_at = here.shape[:2]
    motion = Motion(*(resized(flow, *looked_at) for flow in motion))
    other = _fitted(before, *looked_at)
    (there, _), trust = settled(motion, here, other, trusted(motion))
    if looked_at != (height, width):
        trust = opencv().resize(trust, (width, height), interpolation=opencv().INTER_LINEAR)
    return resized(there, height, width), trust


def frame_of(picture: Picture) -> Frame:
    """Return a decoded picture as a frame of 8 bits."""
    rgb = (picture.rgb[0].permute(1, 2, 0) * 255).round().clamp(0, 255)
    frame: Frame = np.ascontiguousarray(rgb.to(torch.uint8).numpy())
    return frame


def _fitted(frame: Frame, height: int, width: int) -> Frame:
    """Return a frame at another size."""
    if frame.shape[:2] == (height, width):
        return frame
    fitted: Frame = opencv().resize(frame, (width, height), interpolation=opencv().INTER_AREA)
    return fitted
