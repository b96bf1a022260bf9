"""Masks become guides: one weight per region for every position of a layer.

Styles with the same mask, or without a mask, are blended. Each mask is a region with its own target
(guided Gram matrices: Gatys et al., *Controlling Perceptual Factors in Neural Style Transfer*, 2017,
section 4). A region's loss is weighted by its share of the picture, so a white mask equals no mask, and a
black mask equals no style.

Shape suffixes: B pictures, R regions per picture, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from stylize.losses.style import Extent


class WeightedStyle(NamedTuple):
    """One picture of a style, with its share and its mask."""

    picture: Tensor
    """The style, (1, 3, H, W), RGB in [0, 1], of its own size."""
    share: float
    """The style's share among the styles with the same mask, >= 0; shares are relative."""
    mask: Tensor | None = None
    """The mask, (1, 1, H, W), as large as the painted canvas: 1 where the style applies, 0 where it does
    not; None: the style applies everywhere."""


StyleBlend = Sequence[WeightedStyle]
"""All styles of one picture."""


class Region(NamedTuple):
    """A part of a picture and the styles blended there."""

    mask: Tensor | None
    """The mask, (1, 1, H, W) in [0, 1]; None: the whole picture."""
    styles: list[tuple[Tensor, float]]
    """The styles with their shares, as (picture, share)."""


def regions(blend: StyleBlend) -> list[Region]:
    """Return the blend grouped by mask, in order of appearance."""
    by_mask: list[Region] = []
    for picture, share, mask in blend:
        for region in by_mask:
            if _same(region.mask, mask):
                region.styles.append((picture, share))
                break
        else:
            by_mask.append(Region(mask, [(picture, share)]))
    return by_mask


def make_guides(pictures: Sequence[Sequence[Region]], like_B3HW: Tensor) -> Tensor | None:
    """Return the weight of each pixel in each region.

    Args:
        pictures: The regions of each of the B pictures.
        like_B3HW: A tensor with the shape, dtype and device of the painted pictures.

    Returns:
        The guides, (B, R, H, W) in [0, 1], where a picture with fewer regions than others has empty
        ones; None if no picture has a mask.
    """
    most = max(map(len, pictures))
    if most == 1 and all(region.mask is None for (region,) in pictures):
        return None
    b, _, h, w = like_B3HW.shape
    guides_BRHW = like_B3HW.new_zeros(b, most, h, w)
    for number, picture in enumerate(pictures):
        for region_number, region in enumerate(picture):
            guides_BRHW[number, region_number] = 1 if region.mask is None else region.mask[0, 0]
    return guides_BRHW


def at_block(guides_BRHW: Tensor | None, block: int) -> Tensor | None:
    """Return the guides at the resolution of a block, halved by averaging as the poolings halve the maps.

    Args:
        guides_BRHW: The guides of the pictures, (B, R, H, W), or None.
        block: The network's block, 1 (the pictures' resolution) to 5.
    """
    if guides_BRHW is None:
        return None
    for _ in range(block - 1):
        guides_BRHW = F.avg_pool2d(guides_BRHW, 2)
    return guides_BRHW


def extent_at(guides_BRHW: Tensor | None, block: int, like_B3HW: Tensor) -> Extent:
    """Return the extent of a block's layers for pictures of this shape.

    Args:
        guides_BRHW: The guides of the pictures, (B, R, H, W), or None.
        block: The network's block, 1 to 5.
        like_B3HW: A tensor with the shape, dtype and device of the painted pictures.
    """
    b, _, h, w = like_B3HW.shape
    positions = (h >> (block - 1)) * (w >> (block - 1))
    guides = at_block(guides_BRHW, block)
    if guides is None:
        return Extent(positions, like_B3HW.new_full((b, 1), positions))
    return Extent(positions, guides.sum((2, 3)))


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or torch.equal(a, b)
