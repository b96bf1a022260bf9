"""``Picture``: a decoded picture, as every part of the painter passes it on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: sRGB colours laid over white, and an alpha channel if it has one."""

    rgb: Tensor
    """The colours, (1, 3, H, W), float32, RGB in [0, 1]."""
    alpha: Tensor | None = None
    """The opacity, (1, 1, H, W), float32 in [0, 1]; None: every pixel is opaque."""
