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

        Everything as large as a picture is changed in place: a copy would count at the peak of memory.

        Args:
            x: The pictures, (B, 3, H, W), which are changed in place.
            total_B: The losses of the pictures at x, (B,).
            gradient: The gradient at x, (B, 3, H, W), which is changed in place, too.

        Returns:
            Which pictures were replaced, (B,), boolean, and the gradient at x as it is now.
        """
        calm_B = total_B <= torch.maximum(self._lowest_B, self._floor_B).mul_(EXPLODED)
        self._high_steps_B.add_(1).masked_fill_(calm_B, 0)
        # A number less itself is 0, but for one that is infinite or NaN.
        bad_B = (total_B - total_B != 0) | (self._high_steps_B >= PATIENCE)
        self._high_steps_B.masked_fill_(bad_B, 0)
        fine_B = ~bad_B
        better_B = (total_B < self._lowest_B) & fine_B
        good_B = calm_B & fine_B
        torch.where(better_B, total_B, self._lowest_B, out=self._lowest_B)
        _replace(x, bad_B, self._good)
        _replace(gradient, bad_B, self._good_gradient)
        _replace(self.best, better_B, x)
        _replace(self._good, good_B, x)
        _replace(self._good_gradient, good_B, gradient)
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
        _replace(x, worse_B, self.best)
        return worse_B


def _replace(x: Tensor, which_B: Tensor, by: Tensor) -> None:
    """Replace some of the pictures x, (B, 3, H, W), in place."""
    torch.where(which_B.view(-1, 1, 1, 1), by, x, out=x)
