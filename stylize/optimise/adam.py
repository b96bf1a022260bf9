"""Adam, every picture of a batch on its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """What Adam has learnt: decayed means of the gradient and of its square, (B, 3, H, W), and the
    number of steps that went into them."""

    first: Tensor
    second: Tensor
    steps: Tensor


class BatchedAdam:
    """Adam (Kingma and Ba, 2015, algorithm 1), with a step length for each picture.

    torch's own would import its compiler, which takes longer than a small picture's first steps, and
    knows one step length for all.
    """

    BETA1 = 0.9
    EPSILON = 1e-8

    def __init__(
        self, x: Tensor, learning_rate: float, beta2: float, start: Moments | None = None
    ) -> None:
        self._x = x
        self._beta2 = beta2
        self._first = torch.zeros_like(x) if start is None else start.first.clone()
        self._second = torch.zeros_like(x) if start is None else start.second.clone()
        # Counted on the host: it is the same for every picture, whatever happens to them.
        self._steps = 0 if start is None else int(start.steps)
        self._rate_B111 = x.new_full((len(x), 1, 1, 1), learning_rate)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move by the first moment over the root of the second, both corrected for having begun at
        zero."""
        self._steps += 1
        self._first.lerp_(gradient, 1 - self.BETA1)
        self._second.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        root = self._second.sqrt().div_((1 - self._beta2**self._steps) ** 0.5).add_(self.EPSILON)
        step = torch.div(self._first, root, out=root).mul_(self._rate_B111)
        self._x.sub_(step, alpha=1 / (1 - self.BETA1**self._steps))

    @torch.no_grad()
    def restart(self, which_B: Tensor, slower: float) -> None:
        """Zero the moments of these pictures; the count of steps, which is common, stays."""
        which = which_B.view(-1, 1, 1, 1)
        self._rate_B111 = torch.where(which, slower * self._rate_B111, self._rate_B111)
        self._first.masked_fill_(which, 0)
        self._second.masked_fill_(which, 0)

    def moments(self) -> Moments:
        """As they are after the last step."""
        return Moments(self._first, self._second, torch.tensor(self._steps))
