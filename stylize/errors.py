"""What can go wrong while painting. The message is one sentence for the person who asked.

::

    StylizeError
    ├── PictureError       this picture cannot be used: the asker's to mend, never worth a retry
    ├── WeightsError       the VGG19 weights cannot be found, checked or loaded
    ├── DivergedError      the optimisation left the finite numbers
    └── InterruptedRender  the caller asked the render to stop
"""

from __future__ import annotations


class StylizeError(Exception):
    """Base of the painter's errors."""


class PictureError(StylizeError):
    """A picture cannot be decoded, is too large, or too narrow for the network."""


class WeightsError(StylizeError):
    """The weights are missing, damaged, or not those of a VGG19."""


class DivergedError(StylizeError):
    """A loss became infinite or NaN."""


class InterruptedRender(StylizeError):  # noqa: N818 - asked for, not an error
    """``should_stop`` said yes; nothing was returned."""
