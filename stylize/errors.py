"""The errors that a caller of the painter can catch.

Each message is one sentence, written for the person who asked for the render.

::

    StylizeError
    ├── PictureError       a picture cannot be used; the caller must fix it, and a retry never helps
    ├── FilmError          a film cannot be read or written; the caller must fix it, and a retry never helps
    ├── WeightsError       the VGG19 weights cannot be found, verified or loaded
    ├── CheckpointError    a checkpoint is damaged or belongs to another render; start without it
    ├── DivergedError      the loss did not recover after repeated restarts; has the best pictures
    ├── MemoryLimitError   the smallest way to render does not fit into memory
    ├── MemberLostError    a process that painted a part of the picture has ended; a retry may help
    └── InterruptedRender  the caller asked the render to stop
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylize.pictures.picture import Picture


class StylizeError(Exception):
    """Base of the painter's errors."""


class PictureError(StylizeError):
    """A picture, mask or style cannot be decoded, is too large, is too narrow for the network, or does
    not fit the others."""


class SizesDifferError(PictureError):
    """A frame of a film has another size than the one before.

    Args:
        index: Its place among the frames, from 0.
        fault: What is wrong, as the rest of a sentence about it.
    """

    def __init__(self, index: int, fault: str) -> None:
        super().__init__(f"frame {index} {fault}")
        self.index = index
        self.fault = fault


class FilmError(StylizeError):
    """A film cannot be opened, decoded or written as asked, or PyAV is not installed."""


class WeightsError(StylizeError):
    """The weights are missing, damaged, cannot be downloaded, or do not belong to a VGG19."""


class CheckpointError(StylizeError):
    """A checkpoint cannot be read, or belongs to another render."""


class DivergedError(StylizeError):
    """A loss became infinite, NaN or far too large, and did not recover after repeated restarts."""

    pictures: tuple[Picture, ...] = ()
    """The pictures with the lowest losses before the divergence, in order; empty if there are none."""


class MemoryLimitError(StylizeError):
    """The render does not fit into memory even with one picture at a time, and in strips where the recipe
    allows them."""


class MemberLostError(StylizeError):
    """A process of a team ended without a word, killed by the system for memory for example."""


class InterruptedRender(StylizeError):  # noqa: N818 - asked for, not an error
    """``should_stop`` returned True, so the render returned nothing."""
