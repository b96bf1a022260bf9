"""A decoded picture, as every part of the painter hands it on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: ``rgb`` (1, 3, H, W) and ``alpha`` (1, 1, H, W) or None, float32 in [0, 1]."""

    rgb: Tensor
    alpha: Tensor | None = None
