"""The expected curvature of a style loss before the first step: by spatial frequency, and by place.

By frequency the curvature was measured as |y| / |s| over the pairs that L-BFGS remembers, band by band, for
two objectives at 96 and 128 px. From a frequency of 0 to 0.2 cycles per pixel it grows twentyfold, about
linearly, and then stays within a factor of two, for all three colours. Plain L-BFGS, which starts from a
multiple of the identity, is therefore slow to change large and smooth features: colours and light. A start
from the reciprocal of that law saves about a quarter of the steps.

By place it differs from picture to picture, up to twentyfold between a quiet and a busy part, and is about
the same at the next size: ``local_curvature.py`` measures it at one size for the next.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylize.bands.band import Band
from stylize.pictures.resize import resize

KNEE = 0.2
"""The frequency above which the curvature is practically constant, in cycles per pixel."""

LOWEST = 0.05
"""The curvature at frequency 0, relative to the curvature above ``KNEE``."""

LOCAL_POWER = 0.5
"""The power of the measured local curvature that is assumed. The measurement is one of a few steps: half of
it, on a logarithmic scale, is as good as all of it where it helps, and harmless where it does not."""

SMALL = 1 << 22
"""The numbers of a gradient up to which all colours are transformed at once, in work memory that is small."""


class FrequencyPreconditioner:
    """Multiplies each frequency of a gradient by its expected inverse curvature, 1 to 20.

    The transform takes pictures as periodic, which is good enough for an initial estimate.

    Args:
        like_B3HW: A tensor with the shape, dtype and device of the pictures, (B, 3, H, W).
        curvature_B1hw: The local curvature of each picture, up to a factor, > 0, of any size. None: the same
            everywhere.
        band: The rows of the pictures that these are; None: all. The curvature is that of whole pictures.
    """

    def __init__(
        self,
        like_B3HW: Tensor,
        curvature_B1hw: Tensor | None = None,
        band: Band | None = None,
    ) -> None:
        self._band = band = band or Band(like_B3HW.shape[2])
        height, width = band.height, like_B3HW.shape[3]
        device, dtype = like_B3HW.device, like_B3HW.dtype
        fy = torch.fft.fftfreq(height, device=device, dtype=dtype)[:, None]
        fx = torch.fft.rfftfreq(width, device=device, dtype=dtype)[None]
        fx = fx[:, band.frequencies(fx.shape[1])]
        relative = (torch.hypot(fy, fx) / KNEE).clamp(max=1)
        self._gain = 1 / (LOWEST + (1 - LOWEST) * relative)
        self._local_B1HW: Tensor | None = None
        if curvature_B1hw is not None:
            # Resized as a logarithm, which cannot overshoot below 0. Each side of P = D F D gets one half.
            logarithm = resize(curvature_B1hw.to(like_B3HW).log(), height, width)
            self._local_B1HW = (-LOCAL_POWER / 2 * band.cut(logarithm)).exp()

    def _by_frequency(self, v_BCHW: Tensor) -> Tensor:
        """Return some colours with the local gain of one side and the gain of each frequency."""
        shape = v_BCHW.shape[2:]
        if self._local_B1HW is not None:
            v_BCHW = v_BCHW * self._local_B1HW
        gained: Tensor
        if self._band.is_whole:
            spectrum = torch.fft.rfft2(v_BCHW)
            del v_BCHW
            gained = torch.fft.irfft2(spectrum.mul_(self._gain), s=shape)
            return gained
        spectrum = self._band.columns_filtered(torch.fft.rfft(v_BCHW, dim=3), self._gain)
        gained = torch.fft.irfft(spectrum, n=shape[1], dim=3)
        return gained

    def __call__(self, v_B3HW: Tensor) -> Tensor:
        """Return the preconditioned gradient, (B, 3, H, W), a new tensor.

        Args:
            v_B3HW: The gradient, (B, 3, H, W).
        """
        # By the whole pictures: all members do the same, whatever rows they have.
        rows = v_B3HW.shape[2]
        if v_B3HW.numel() // rows * self._band.height <= SMALL:
            gained_B3HW = self._by_frequency(v_B3HW)
        else:
            gained_B3HW = torch.empty_like(v_B3HW)
            # Colour by colour, for a third of the memory: spectra take 8 bytes per pixel and colour.
            for colour in range(v_B3HW.shape[1]):
                gained_B3HW[:, colour, None] = self._by_frequency(v_B3HW[:, colour, None])
        return gained_B3HW if self._local_B1HW is None else gained_B3HW.mul_(self._local_B1HW)
