"""What every writer of a format gets: pixels, and what the file says besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""(H, W, 3) RGB or (H, W, 4) RGB with straight alpha, uint8 or uint16, contiguous."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What a file says besides its pixels."""

    profile: bytes
    """The ICC profile."""
    xmp: bytes | None = None
    """A packet of XMP; None: none."""


def is_deep(pixels_HWC: Pixels) -> bool:
    """Return whether pixels have 16 bits per channel."""
    return bool(pixels_HWC.dtype == np.uint16)
