"""What the painter's tests share: VGG19s of a few channels, and small pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from stylize import Recipe
from stylize.losses.style import Extent, Statistics, StyleTerm, Target
from stylize.network.layers import channels_last
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import CAFFE, Space

BLOCKS = (2, 2, 4, 4, 4)
"""Convolutions in each block of VGG19."""

ValueAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]

TORCHVISION_CONVS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
"""Where torchvision's ``vgg19().features`` has its convolutions."""

WIDTHS = (4, 5, 6, 7, 8)
"""Channels of each block. All different, so that no mix-up of layers goes unseen."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny_convs(
    widths: Sequence[int] = WIDTHS, seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[tuple[Tensor, Tensor]]:
    """Sixteen random (kernel, bias) pairs that keep the size of what passes through them."""
    convs, channels = [], 3
    for width, repeats in zip(widths, BLOCKS, strict=True):
        for _ in range(repeats):
            generator = seeded(1000 * seed + len(convs))
            shape = (width, channels, 3, 3)
            weight = torch.randn(shape, generator=generator, dtype=torch.float64)
            bias = torch.randn(width, generator=generator, dtype=torch.float64)
            weight = weight * (2 / (9 * channels)) ** 0.5
            convs.append((weight.to(dtype), (0.1 * bias).to(dtype)))
            channels = width
    return convs


@lru_cache
def tiny_network(
    space: Space = CAFFE,
    widths: Sequence[int] = WIDTHS,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> VGG19:
    return VGG19(tiny_convs(widths, seed, dtype), space)


def noise(seed: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(1, 3, H, W): every pixel of its own colour, in [0, 1]."""
    values = torch.rand((1, 3, height, width), generator=seeded(seed), dtype=torch.float64)
    return values.to(dtype)


def photo(seed: int, height: int, width: int) -> Tensor:
    """(1, 3, H, W): soft patches of colour well within [0, 1]."""
    patches = noise(seed, 4, 4) * 0.6 + 0.2
    return F.interpolate(patches, (height, width), mode="bilinear")


def recipe(**knobs: object) -> Recipe:
    """Studio's recipe at 32 px, one size, a few steps, no margin, and float32; with these knobs."""
    plain = {"size": 32, "start_size": None, "steps": 5, "margin": 0, "precision": "float32"}
    return Recipe.model_validate({**plain, **knobs})


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: ValueAndGradient) -> Tensor:
        value, ctx.gradient = function(x.detach())
        return value

    @staticmethod
    def backward(ctx: Any, of_value: Tensor) -> Any:
        return of_value.view(-1, *[1] * (ctx.gradient.ndim - 1)) * ctx.gradient, None


def differentiable(function: ValueAndGradient) -> Callable[[Tensor], Tensor]:
    """A function that autograd differentiates by the gradient that it returns with its values (B,)."""

    def value(x: Tensor) -> Tensor:
        found: Tensor = _Given.apply(x, function)
        return found

    return value


def measure(term: StyleTerm, features: Tensor) -> Statistics:
    """A style term's statistics of features seen at once and in full."""
    part = term.probe(None, features.dtype).forward(channels_last(features), 0)
    return term.gather([part], whole_of(features))


def whole_of(features: Tensor) -> Extent:
    counted = features.new_full((len(features), 1), features[0, 0].numel())
    return Extent(features[0, 0].numel(), counted)


def distance(term: StyleTerm, target: Statistics) -> Callable[[Tensor], Tensor]:
    """The distance of features from a target, (B,), differentiable as a step has it."""

    def look(features: Tensor) -> tuple[Tensor, Tensor]:
        features = channels_last(features)
        term.set_targets({"layer": Target(target, whole_of(features), 1.0)})
        distance_BL, slopes = term.distances({"layer": measure(term, features)})
        gradient = torch.zeros_like(features)
        term.probe(None, features.dtype).backward(features, 0, slopes["layer"], gradient)
        return distance_BL[:, 0], gradient

    return differentiable(look)


def imported_by(code: str) -> set[str]:
    """The modules that a fresh Python has imported after running ``code``."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
