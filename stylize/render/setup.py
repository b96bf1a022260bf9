"""What stays the same over a whole render, however often it is restarted in less memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from stylize.network.vgg19 import VGG19
from stylize.pictures.inputs import Inputs
from stylize.pictures.resize import shape_at
from stylize.recipe import Recipe


@dataclass(frozen=True)
class RenderSetup:
    """The validated arguments of one render, common to all of its segments and retries."""

    inputs: Inputs
    """The pictures to paint, their styles and their initial pictures."""
    recipe: Recipe
    network: VGG19
    device: torch.device
    fingerprint: str
    """The digest that identifies the whole render in its checkpoints."""

    def select(self, pictures: slice) -> RenderSetup:
        """The setup of some of the pictures. The fingerprint stays that of the whole render."""
        return replace(self, inputs=self.inputs.select(pictures))

    def shape(self, size: int) -> tuple[int, int]:
        """(height, width) of every picture at a size, in pixels, without margin."""
        height, width = self.inputs.contents[0].rgb.shape[2:]
        return shape_at(height, width, size)
