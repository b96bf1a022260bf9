"""Adam for a batch of pictures, each with its own step length."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stylize.bands.band import Band
from stylize.matrix_roots import precise


class Moments(NamedTuple):
    """The state of Adam that carries over to the next size."""

    first: Tensor
    """The decayed mean of the gradient, (B, 3, H, W)."""
    second: Tensor
    """The decayed mean of the squared gradient, (B, 3, H, W), >= 0."""
    steps: Tensor
    """The number of steps in the means, a scalar integer, common to all pictures."""


class BatchedAdam:
    """Adam (Kingma and Ba, 2015, algorithm 1), with a step length for each picture.

    torch's Adam would import torch's compiler, which takes longer than a small picture's first steps, and
    has one step length for all pictures.

    Args:
        x: The pictures, (B, 3, H, W), which ``step`` changes in place.
        learning_rate: The step length, in the units of x, > 0.
        beta2: The decay rate of the mean of squared gradients, between 0 and 1.
        start: The moments to start with, which are copied; None: zero.
    """

    BETA1 = 0.9
    """The decay rate of the mean of gradients."""
    EPSILON = 1e-8
    """The number added to the root of the second moment, against a division by 0."""

    def __init__(
        self, x: Tensor, learning_rate: float, beta2: float, start: Moments | None = None
    ) -> None:
        self._x = x
        self._beta2 = beta2
        self._first = torch.zeros_like(x) if start is None else start.first.clone()
        self._second = torch.zeros_like(x) if start is None else start.second.clone()
        # One count, because it is the same for every picture, whatever restarts.
        self._steps = precise(x.new_zeros(()))
        if start is not None:
            self._steps.copy_(start.steps)
        self._rate_B111 = x.new_full((len(x), 1, 1, 1), learning_rate)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move x by the first moment over the root of the second, both corrected for their start at zero.

        Args:
            gradient: The gradient at x, (B, 3, H, W).
        """
        self._steps += 1
        self._first.lerp_(gradient, 1 - self.BETA1)
        self._second.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        whole_1, whole_2 = (1 - beta**self._steps for beta in (self.BETA1, self._beta2))
        root = self._second.sqrt().div_(whole_2.sqrt_()).add_(self.EPSILON)
        step = torch.div(self._first, root, out=root).mul_(self._rate_B111 / whole_1)
        self._x.sub_(step)

    def settle(self) -> None:
        """Do nothing: all steps are alike."""

    @torch.no_grad()
    def restart(self, which_B: Tensor, slower: float) -> None:
        """Zero the moments of some pictures and shorten their steps. The common count of steps stays.

        Args:
            which_B: The pictures to restart, (B,), boolean.
            slower: The factor of their step length, between 0 and 1.
        """
        which, rate_B111 = which_B.view(-1, 1, 1, 1), self._rate_B111
        torch.where(which, slower * rate_B111, rate_B111, out=rate_B111)
        self._first.masked_fill_(which, 0)
        self._second.masked_fill_(which, 0)

    def carried(self, band: Band | None = None) -> Moments:
        """Return the moments after the last step, without a copy unless the pictures are split.

        Args:
            band: The rows of the pictures that these are; None: all.
        """
        if band is None:
            return Moments(self._first, self._second, self._steps.long())
        first, second = band.joined(self._first), band.joined(self._second)
        return Moments(first, second, self._steps.long())
