"""``RenderSetup``: the arguments of a render that stay the same however often it restarts in less memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from stylize.network.vgg19 import VGG19
from stylize.pictures.inputs import Inputs
from stylize.pictures.resize import shape_at
from stylize.recipe import Recipe
from stylize.render.graphs import Graphs


@dataclass(frozen=True)
class RenderSetup:
    """The validated arguments of one render, common to all of its segments and retries."""

    inputs: Inputs
    """The pictures to paint, their styles and their initial pictures."""
    recipe: Recipe
    """The knobs of the render. Its precision is not auto."""
    network: VGG19
    """The network that extracts the features, which must be on ``device``."""
    device: torch.device
    """The device that renders."""
    fingerprint: str
    """The digest that identifies the whole render in its checkpoints."""
    graphs: Graphs = "off"
    """Whether steps may be replayed as CUDA graphs."""

    def select(self, pictures: slice) -> RenderSetup:
        """Return the setup of a slice of the pictures. The fingerprint stays that of the whole render."""
        return replace(self, inputs=self.inputs.select(pictures))

    def shape(self, size: int) -> tuple[int, int]:
        """Return (height, width) of every picture at a size, in pixels, without margin."""
        height, width = self.inputs.contents[0].rgb.shape[2:]
        return shape_at(height, width, size)
