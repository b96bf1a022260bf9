"""The mean of a render's iterates: what Adam's last step happens to be counts for little in it."""

from __future__ import annotations

import torch
from torch import Tensor


class IterateAverage:
    """An exponential moving average, corrected for having begun at zero (as Adam's moments are)."""

    def __init__(self, decay: float, total: Tensor | None = None, weight: float = 0.0) -> None:
        """``total`` and ``weight``: those of an average that is to be continued."""
        self._decay = decay
        self.total = total
        self.weight = weight

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Take one more iterate."""
        if self.total is None:
            self.total = torch.zeros_like(x)
        self.total.lerp_(x.detach(), 1 - self._decay)
        self.weight = self._decay * self.weight + 1 - self._decay

    def mean(self) -> Tensor:
        """Of what was taken so far, which must be something."""
        assert self.total is not None
        return self.total / self.weight
