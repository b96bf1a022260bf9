"""The guard of a render: a step that blows up is undone, and the optimiser restarted more carefully.

L-BFGS without line search now and then steps where its model of the curvature is wrong, as a rule at
its second step, and the loss jumps by orders of magnitude. Mostly the next steps mend that by
themselves, and better for what they have learnt; so the guard waits a little before it acts.
Everything is decided on the device, for each picture of a batch on its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

EXPLODED = 10.0
"""A loss so many times the lowest so far is no fluctuation: those stay within about twofold."""

PATIENCE = 10
"""So many steps in a row with an exploded loss are not going to mend it. A loss that is no number
is acted on at once."""

RISEN = 1.5
"""At the end of a size a loss so many times the lowest is not a finished picture."""

SLOWER = 0.25
"""How much shorter steps get with each restart."""

MOST_RESTARTS = 8
"""At one size; by then a step is 65,000 times shorter, and length is not what is wrong."""


class Guard:
    """Remembers, for each of B pictures, the last good one and the best one.

    ``x`` (B, 3, H, W) is the tensor that is optimised; no loss up to ``floor_B`` (B,) is anything but
    small, however many times the lowest it is.
    """

    def __init__(self, x: Tensor, floor_B: Tensor | None = None) -> None:
        self._floor_B = x.new_zeros(len(x)) if floor_B is None else floor_B
        self._good = x.detach().clone()
        self._good_gradient = torch.zeros_like(self._good)
        self.best = self._good.clone()
        self._lowest_B = x.new_full((len(x),), torch.inf)
        self._high_steps_B = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.restarts_B = torch.zeros(len(x), dtype=torch.long, device=x.device)

    @torch.no_grad()
    def check(self, x: Tensor, total_B: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Judge the pictures at ``x`` by their losses; put those back that have blown up.

        Returns which were put back, (B,) boolean, and the gradient to go on with. ``x`` is changed in
        place.
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
        """The pictures to keep, given those at ``x`` and their losses: where these are not good, the
        best ones. Which were replaced is (B,) boolean."""
        worse_B = ~(total_B <= RISEN * self._lowest_B)
        x.copy_(torch.where(worse_B.view(-1, 1, 1, 1), self.best, x))
        return worse_B
