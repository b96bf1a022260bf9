"""The initial pictures of a render: the contents, noise or given pictures.

Shape suffixes: B pictures, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylize.losses.masks import StyleBlend
from stylize.matrix_roots import matrix_root
from stylize.pictures.colors import color_statistics
from stylize.pictures.picture import Picture
from stylize.pictures.pixel_spaces import Space
from stylize.pictures.resize import resize
from stylize.recipe import Recipe


def first_pictures(
    recipe: Recipe,
    content_B3HW: Tensor,
    inits: Sequence[Picture],
    styles: Sequence[StyleBlend],
    network_space: Space,
) -> Tensor:
    """Return the initial pictures at the first size.

    Args:
        recipe: The knobs of the render: ``init``, ``init_noise`` and ``seed`` count.
        content_B3HW: The contents at the first size, (B, 3, H, W), RGB in [0, 1].
        inits: The given pictures, one per content, of any size; used with init image.
        styles: The blend of styles of each content; used with init style_stats.
        network_space: The space of the network's input, whose zero is the mean colour of init noise.

    Returns:
        The initial pictures, (B, 3, H, W), RGB; with init noise the values may leave [0, 1].
    """
    if recipe.init == "content":
        return content_B3HW
    if recipe.init == "image":
        parts = [resize(picture.rgb, *content_B3HW.shape[2:]) for picture in inits]
        return torch.cat(parts).to(content_B3HW).clamp(0, 1)
    noise_B3HW = _noise(content_B3HW, recipe.seed)
    if recipe.init == "style_stats":
        painted = [
            _styled_noise(blend, noise) for blend, noise in zip(styles, noise_B3HW, strict=True)
        ]
        return torch.stack(painted).clamp(0, 1)
    mean_colour = network_space.to_rgb(content_B3HW.new_zeros(1, 3, 1, 1))
    return mean_colour + recipe.init_noise * noise_B3HW


def _noise(like_B3HW: Tensor, seed: int) -> Tensor:
    """Return normal noise in the shape of ``like_B3HW``.

    The noise is drawn on the CPU, so that a seed gives the same picture on every device, and from one
    stream per picture, so that it gives the same picture in any batch.
    """
    generators = [torch.Generator().manual_seed(seed) for _ in like_B3HW]
    noise = [torch.randn(like_B3HW.shape[1:], generator=generator) for generator in generators]
    return torch.stack(noise).to(like_B3HW)


def _styled_noise(blend: StyleBlend, noise_3HW: Tensor) -> Tensor:
    """Return noise, (3, H, W), with the mean colour and the colour covariance of a blend, averaged over its
    styles by share."""
    whole = sum(part.share for part in blend)
    statistics = [(color_statistics(part.picture), part.share / whole) for part in blend]
    mean = torch.stack([share * mean for (mean, _), share in statistics]).sum(0)
    covariance = torch.stack([share * spread for (_, spread), share in statistics]).sum(0)
    root = matrix_root(covariance).to(noise_3HW)
    return torch.einsum("ij,jhw->ihw", root, noise_3HW) + mean.to(noise_3HW)[:, None, None]
