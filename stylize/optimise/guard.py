"""The guard of a render: it undoes steps that blow up, so that the optimiser restarts with shorter ones.

L-BFGS without line search sometimes steps where its model of the curvature is wrong, usually at its second
step, and the loss jumps by orders of magnitude. Most often the next steps recover by themselves, and
better for the curvature they have seen, so the guard waits a little before it acts. The guard decides
everything on the device, for each picture of a batch alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

EXPLODED = 10.0
"""A loss above this many times the lowest so far has exploded; fluctuations stay within about twofold."""

PATIENCE = 10
"""The number of consecutive steps with an exploded loss after which the guard acts, because the steps will
not recover. The guard acts at once on a loss that is infinite or NaN."""

RISEN = 1.5
"""At the end of a segment, a picture whose loss is above this many times the lowest is replaced by the best
one."""

SLOWER = 0.25
"""The factor of the step length at each restart."""

MOST_RESTARTS = 8
"""The number of restarts in one segment at which a render fails. By then a step is 65,000 times shorter, so
its length is not the cause."""


class Guard:
    """Remembers the last good picture and the best picture for each of B pictures.

    Args:
        x: The tensor that is optimised, (B, 3, H, W).
        floor_B: The loss of each picture, (B,), up to which no increase counts as an explosion. None: 0.
    """

    def __init__(self, x: Tensor, floor_B: Tensor | None = None) -> None:
        self._floor_B = x.new_zeros(len(x)) if floor_B is None else floor_B
        self._good = x.detach().clone()
        self._good_gradient = torch.zeros_like(self._good)
        self.best = self._good.clone()
        """The pictures with the lowest losses so far, (B, 3, H, W)."""
        self._lowest_B = x.new_full((len(x),), torch.inf)
        self._high_steps_B = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.restarts_B = torch.zeros(len(x), dtype=torch.long, device=x.device)
        """The number of restarts of each picture, (B,)."""

    @torch.no_grad()
    def check(self, x: Tensor, total_B: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Replace the pictures that have blown up by the last good ones.

        Args:
            x: The pictures, (B, 3, H, W), which are changed in place.
            total_B: The losses of the pictures at x, (B,).
            gradient: The gradient at x, (B, 3, H, W).

        Returns:
            Which pictures were replaced, (B,), boolean, and the gradient at x as it is now.
        """
        high_B = total_B > EXPLODED * torch.maximum(self._lowest_B, self._floor_B)
        self._high_steps_B = torch.where(high_B, self._high_steps_B + 1, 0)
        bad_B = ~torch.isfinite(total_B) | (self._high_steps_B >= PATIENCE)
        self._high_steps_B = torch.where(bad_B, 0, self._high_steps_B)
        bad = bad_B.view(-1, 1, 1, 1)
        x.copy_(torch.where(bad, self._good, x))
        gradient = torch.where(bad, self._good_gradient, gradient)
        better_B = ~bad_B & (total_B < self._lowest_B)
        self.best = torch.where(better_B.view(-1, 1, 1, 1), x, self.best)
        self._lowest_B = torch.where(better_B, total_B, self._lowest_B)
        good = (~high_B | bad_B).view(-1, 1, 1, 1)
        self._good = torch.where(good, x, self._good)
        self._good_gradient = torch.where(good, gradient, self._good_gradient)
        self.restarts_B += bad_B
        return bad_B, gradient

    @torch.no_grad()
    def finish(self, x: Tensor, total_B: Tensor) -> Tensor:
        """Replace the pictures whose final loss is not good by the best ones.

        Args:
            x: The pictures after the last step, (B, 3, H, W), which are changed in place.
            total_B: The losses of the pictures at x, (B,).

        Returns:
            Which pictures were replaced, (B,), boolean.
        """
        worse_B = ~(total_B <= RISEN * self._lowest_B)
        x.copy_(torch.where(worse_B.view(-1, 1, 1, 1), self.best, x))
        return worse_B
