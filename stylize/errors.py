"""What can go wrong while painting. The message is one sentence for the person who asked.

::

    StylizeError
    ├── PictureError       this picture cannot be used: the asker's to mend, never worth a retry
    ├── WeightsError       the VGG19 weights cannot be found, checked or loaded
    ├── CheckpointError    a checkpoint is damaged, or another render's; start without it
    ├── DivergedError      the optimisation left the finite numbers; has the last good pictures
    ├── MemoryLimitError   there is no memory for this render, whatever is done
    └── InterruptedRender  the caller asked the render to stop
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylize.pictures.picture import Picture


class StylizeError(Exception):
    """Base of the painter's errors."""


class PictureError(StylizeError):
    """A picture cannot be decoded, is too large, or too narrow for the network."""


class WeightsError(StylizeError):
    """The weights are missing, damaged, or not those of a VGG19."""


class CheckpointError(StylizeError):
    """A checkpoint cannot be read, or was made by another render."""


class DivergedError(StylizeError):
    """A loss became infinite or NaN, and stayed so."""

    pictures: tuple[Picture, ...] = ()
    """The last good ones of the render, in order."""


class MemoryLimitError(StylizeError):
    """The render needs more memory than there is, one picture at a time and in strips."""


class InterruptedRender(StylizeError):  # noqa: N818 - asked for, not an error
    """``should_stop`` said yes; nothing was returned."""
