"""The mean of a render's iterates: what Adam's last step happens to be counts for little in it."""

from __future__ import annotations

import torch
from torch import Tensor


class IterateAverage:
    """An exponential moving average, corrected for having begun at zero (as Adam's moments are)."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._sum: Tensor | None = None
        self._weight = 0.0

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Take one more iterate."""
        if self._sum is None:
            self._sum = torch.zeros_like(x)
        self._sum.lerp_(x.detach(), 1 - self._decay)
        self._weight = self._decay * self._weight + 1 - self._decay

    def mean(self) -> Tensor:
        """Of what was taken so far, which must be something."""
        assert self._sum is not None
        return self._sum / self._weight
