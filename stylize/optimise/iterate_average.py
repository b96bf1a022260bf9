"""The moving average of a render's iterates, in which the noise of Adam's last step counts little."""

from __future__ import annotations

import torch
from torch import Tensor

from stylize.matrix_roots import precise


class IterateAverage:
    """An exponential moving average, corrected for its start at zero (as Adam's moments are).

    Args:
        decay: The decay rate, between 0 and 1.
        total: The decayed sum of an average to continue, (B, 3, H, W), changed in place; None: no iterate.
        weight: The sum of the weights in ``total``, 0 to 1.
    """

    def __init__(self, decay: float, total: Tensor | None = None, weight: float = 0.0) -> None:
        self._decay = decay
        self.total = total
        """The decayed sum of the iterates, (B, 3, H, W); None before the first iterate."""
        self._weight = None if total is None else precise(total.new_full((), weight))

    @property
    def weight(self) -> float:
        """The sum of the iterates' weights in ``total``, 0 to 1. Waits for the device."""
        return 0.0 if self._weight is None else float(self._weight)

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Add an iterate, (B, 3, H, W)."""
        if self.total is None or self._weight is None:
            self.total, self._weight = torch.zeros_like(x), precise(x.new_zeros(()))
        self.total.lerp_(x, 1 - self._decay)
        self._weight.mul_(self._decay).add_(1 - self._decay)

    def mean(self) -> Tensor:
        """Return the mean of the iterates so far, (B, 3, H, W). At least one must have been added."""
        assert self.total is not None
        assert self._weight is not None
        return self.total / self._weight
