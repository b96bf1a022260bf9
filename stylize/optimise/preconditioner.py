"""The expected curvature of a style loss before the first step: it grows with spatial frequency.

The curvature was measured as |y| / |s| over the pairs that L-BFGS remembers, band by band, for two
objectives at 96 and 128 px. From a frequency of 0 to 0.2 cycles per pixel it grows twentyfold, about
linearly, and then stays within a factor of two, for all three colours. Plain L-BFGS, which starts from a
multiple of the identity, is therefore slow to change large and smooth features: colours and light. A start
from the reciprocal of that law saves about a quarter of the steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

KNEE = 0.2
"""The frequency above which the curvature is practically constant, in cycles per pixel."""

LOWEST = 0.05
"""The curvature at frequency 0, relative to the curvature above ``KNEE``."""


class FrequencyPreconditioner:
    """Multiplies each frequency of a gradient by its expected inverse curvature, 1 to 20.

    The transform takes pictures as periodic, which is good enough for an initial estimate.

    Args:
        like_B3HW: A tensor with the shape, dtype and device of the pictures, (B, 3, H, W).
    """

    def __init__(self, like_B3HW: Tensor) -> None:
        height, width = like_B3HW.shape[2:]
        device, dtype = like_B3HW.device, like_B3HW.dtype
        fy = torch.fft.fftfreq(height, device=device, dtype=dtype)[:, None]
        fx = torch.fft.rfftfreq(width, device=device, dtype=dtype)[None]
        relative = (torch.hypot(fy, fx) / KNEE).clamp(max=1)
        self._gain = 1 / (LOWEST + (1 - LOWEST) * relative)

    def __call__(self, v_B3HW: Tensor) -> Tensor:
        """Return the preconditioned gradient, (B, 3, H, W).

        Args:
            v_B3HW: The gradient, (B, 3, H, W).
        """
        spectrum = torch.fft.rfft2(v_B3HW).mul_(self._gain)
        gained_B3HW: Tensor = torch.fft.irfft2(spectrum, s=v_B3HW.shape[2:])
        return gained_B3HW
