"""``Picture``: a decoded picture, as every part of the painter passes it on; ``Reference``: one to keep.

A picture with alpha is painted whole, on a ground of the colours around it: on white, what is painted into
soft edges would be taken for the white that comes through, and be black without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

RELIABLE = 1 / 8
"""The opacity from which on a pixel has its own colour: what is clearer has few levels of it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: sRGB colours laid over white, and an alpha channel if it has one."""

    rgb: Tensor
    """The colours, (1, 3, H, W), float32, RGB in [0, 1]; where a painted one is clear, what is there."""
    alpha: Tensor | None = None
    """The opacity, (1, 1, H, W), float32 in [0, 1]; None: every pixel is opaque."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Colours that a painting holds to, such as its neighbour in a film, moved as the film moves."""

    rgb: Tensor
    """The colours, (1, 3, H, W), RGB in [0, 1], of the painting's proportions."""
    weight: Tensor
    """How firmly each pixel is held, (1, 1, H, W), from 0, where it is not, to 1."""


def straight(picture: Picture) -> Tensor:
    """Return the colours that, laid over white, are those of a picture; where it is clear, they are kept.

    Args:
        picture: A picture.

    Returns:
        (1, 3, H, W); below 0 where they are darker than any colour with the white that comes through.
    """
    if picture.alpha is None:
        return picture.rgb
    alpha = picture.alpha.to(picture.rgb)
    # In place after the first step, because the largest pictures take gigabytes.
    colours = (picture.rgb - (1 - alpha)).div_(alpha.clamp(min=1e-6))
    return torch.where(alpha > 0, colours, picture.rgb, out=colours)


def on_white(picture: Picture) -> Tensor:
    """Return a picture as it is shown over white, (1, 3, H, W), in [0, 1]."""
    if picture.alpha is None:
        return picture.rgb
    return picture.rgb.where(picture.alpha > 0, picture.rgb.new_ones(()))


def painted(rgb: Tensor, alpha: Tensor | None) -> Picture:
    """Return what was painted as a picture.

    Args:
        rgb: The colours, (1, 3, H, W), in [0, 1].
        alpha: How much of them is seen, (1, 1, H, W); None: all.
    """
    if alpha is None:
        return Picture(rgb)
    return Picture((rgb * alpha + (1 - alpha)).where(alpha > 0, rgb), alpha)


def grounded(picture: Picture) -> Picture:
    """Return a picture as it is painted: with the colours around instead of white where it is clear.

    They are means of ever larger squares, as far as something is seen in them (pull and push; Gortler et al.,
    The Lumigraph, SIGGRAPH 1996, section 3.4).

    Args:
        picture: A picture.

    Returns:
        Its own colours where it is opaque by ``RELIABLE`` or more, (1, 3, H, W), in [0, 1], and its alpha.
    """
    if picture.alpha is None:
        return picture
    colours = straight(picture).clamp_(0, 1)
    if bool((picture.alpha >= RELIABLE).all()):  # as of an opaque frame of a film
        return Picture(colours, picture.alpha)
    weighted, weight = colours * picture.alpha, picture.alpha
    seen: list[tuple[Tensor, Tensor]] = []
    while max(weight.shape[2:]) > 1:
        weighted, mean = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (weighted, weight))
        # One pixel that is seen is enough for all four.
        weight = (4 * mean).clamp_(max=1)
        weighted *= weight / mean.clamp(min=1e-6)
        seen.append((weighted, weight))
    ground = (weighted / weight.clamp(min=1e-6)).where(weight > 0, weight.new_ones(()))
    for weighted, weight in reversed(seen):
        ground = _enlarged(ground, weight).mul_(1 - weight).add_(weighted)
    own = (picture.alpha / RELIABLE).clamp_(max=1)
    return Picture(_enlarged(ground, own).lerp_(colours, own), picture.alpha)


def _enlarged(x_1CHW: Tensor, to_11HW: Tensor) -> Tensor:
    return F.interpolate(x_1CHW, to_11HW.shape[2:], mode="bilinear", align_corners=False)
