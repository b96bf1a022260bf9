"""Which style applies where: masks become guides, one weight for every position of a layer.

Styles of a blend that share a mask are blended, as all do that have none; each mask is a region with a
target of its own (guided Gram matrices: Gatys et al., *Controlling Perceptual Factors in Neural Style
Transfer*, 2017, section 4). A region's loss counts by its share of the picture, so a white mask is the
same as none, and a black one the same as no style.

Shape suffixes: B pictures, R regions of each, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from stylize.losses.style import Extent


class WeightedStyle(NamedTuple):
    """One picture of a style."""

    picture: Tensor
    """(1, 3, H, W), RGB in [0, 1]."""
    share: float
    """Of it, among those with the same mask."""
    mask: Tensor | None = None
    """(1, 1, H, W), as large as the picture that is painted: 1 where the style applies, 0 where not."""


StyleBlend = Sequence[WeightedStyle]
"""Everything one picture is painted in."""


class Region(NamedTuple):
    """A part of a picture, and the styles blended there."""

    mask: Tensor | None
    styles: list[tuple[Tensor, float]]


def regions(blend: StyleBlend) -> list[Region]:
    """The blend by mask, in order of appearance."""
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
    """How much each pixel counts in each region: (B, R, H, W), or None when all count in full. A
    picture of fewer regions than others has empty ones."""
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
    """The guides at the resolution of a block (1: the picture's), averaged as the poolings go."""
    if guides_BRHW is None:
        return None
    for _ in range(block - 1):
        guides_BRHW = F.avg_pool2d(guides_BRHW, 2)
    return guides_BRHW


def extent_at(guides_BRHW: Tensor | None, block: int, like_B3HW: Tensor) -> Extent:
    """What of a block's layers is looked at, for pictures of this shape."""
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
