"""``Picture``: a decoded picture, as every part of the painter passes it on; ``Reference``: one to keep."""

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


@dataclass(frozen=True, slots=True)
class Reference:
    """Colours that a painting holds to, such as its neighbour in a film, moved as the film moves."""

    rgb: Tensor
    """The colours, (1, 3, H, W), RGB in [0, 1], of the painting's proportions."""
    weight: Tensor
    """How firmly each pixel is held, (1, 1, H, W), from 0, where it is not, to 1."""
