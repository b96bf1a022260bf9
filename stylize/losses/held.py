"""How far a picture leaves the colours that it holds to: the temporal loss of films.

Shape suffixes: B pictures, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.bands.band import Band
from stylize.pictures.pixel_spaces import RGB, Space, convert, gradient_before


@dataclass(frozen=True)
class Held:
    """What B pictures hold to, on their canvas; where they are split, the band of it."""

    rgb_B3HW: Tensor
    """The colours, (B, 3, H, W), RGB."""
    weight_B1HW: Tensor
    """How firmly each pixel is held, (B, 1, H, W), from 0."""

    def loss(
        self,
        x_B3HW: Tensor,
        space: Space,
        factor_B: Tensor,
        gradient_B3HW: Tensor | None,
        band: Band,
    ) -> Tensor:
        """Return the loss, and add its gradient to another, if any.

        The loss is that of Ruder, Dosovitskiy, Brox 2016, eq. 8: the mean over pixels and colours of w times
        the squared difference, in RGB.

        Args:
            x_B3HW: The pictures.
            space: The space of the pictures and of the gradient.
            factor_B: The factor of each picture's loss, (B,).
            gradient_B3HW: The gradient of other terms, which is changed in place; None: none is wanted.
            band: The rows of the canvas that these are.

        Returns:
            The loss, (B,), of the whole canvas.
        """
        away_B3HW = convert(x_B3HW, space, RGB) - self.rgb_B3HW
        pull_B3HW = away_B3HW * self.weight_B1HW
        numbers = 3 * band.height * x_B3HW.shape[3]
        loss_B = (pull_B3HW * away_B3HW).flatten(1).sum(1) * (factor_B / numbers)
        if gradient_B3HW is not None:
            pull_B3HW *= (2 * factor_B / numbers).view(-1, 1, 1, 1)
            gradient_B3HW += gradient_before(pull_B3HW, space, RGB)
        return band.sum(loss_B)


CELLS = (12, 12, 1)
"""Parts of the longest side over which colours are averaged to see whether they wander, one time after the
other: colours that are set right between cells are almost right in them, and then the whole is made right."""


def without_drift(rgb_B3HW: Tensor, held: Held) -> Tensor:
    """Return pictures whose broad colours are those that they hold to, where they are held.

    A small shift of everything costs a mean of squares almost nothing, so a style can pull each frame a
    little further than the one before. Strokes are finer than what is set right here, and stay as they are.

    Args:
        rgb_B3HW: The pictures, (B, 3, H, W), RGB.
        held: What they hold to, of their shape.
    """
    height, width = rgb_B3HW.shape[2:]
    for cells in CELLS:
        cell = max(1, max(height, width) // cells)
        grid = (max(1, height // cell), max(1, width // cell))
        share_B1hw = F.adaptive_avg_pool2d(held.weight_B1HW, grid).clamp(min=0.02)
        away_B3HW = (held.rgb_B3HW - rgb_B3HW) * held.weight_B1HW
        broad_B3hw = F.adaptive_avg_pool2d(away_B3HW, grid) / share_B1hw
        broad_B3HW = F.interpolate(broad_B3hw, (height, width), mode="bilinear")
        rgb_B3HW = rgb_B3HW + held.weight_B1HW * broad_B3HW
    return rgb_B3HW
