"""A recipe and its pictures become a function of the picture being painted.

The targets (content features, style statistics) are computed once, here. Shape suffixes: B pictures,
R regions of each, L style layers, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylize.layer_names import block_of
from stylize.losses.functions import absolute_variation, nine_point_variation, total_variation
from stylize.losses.masks import Region, WeightedStyle, at_block, extent_at, make_guides, regions
from stylize.losses.style import Statistics, blend_statistics, make_term
from stylize.losses.target_cache import TargetCache, Targets, target_key
from stylize.network.features import FeatureExtractor, ForwardOptions, features
from stylize.network.probes import Content, Part, Probe
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import RGB, SPACES, convert
from stylize.recipe import Recipe

_TV = {
    "squares": total_variation,
    "nine-point": nine_point_variation,
    "absolute": absolute_variation,
}


NEGLIGIBLE = 1e-6
"""Of the style loss of nothing at all: statistics this near are within a thousandth."""


class Losses(NamedTuple):
    """The weighted terms of the loss, one number per picture; ``total`` is their sum."""

    total_B: Tensor
    content_B: Tensor
    style_BL: Tensor
    """One column per style layer, in the order of ``recipe.style_layers``."""
    tv_B: Tensor

    def columns(self) -> Tensor:
        """(B, 4 + L): total, content, style, each style layer, TV. Detached."""
        style_B = self.style_BL.sum(1)
        parts = [self.total_B, self.content_B, style_B, *self.style_BL.unbind(1), self.tv_B]
        return torch.stack(parts, dim=1).detach()


class Objective:
    """The loss of B pictures as a function of their pixels: x -> Losses.

    All tensors must be on one device and in one floating dtype, which may be float64. Losses and
    statistics are computed in that dtype, whatever the recipe's precision for the convolutions.

    Args:
        network: The VGG19 to extract features with.
        recipe: The knobs of the render.
        content_B3HW: The contents, RGB in [0, 1].
        styles: One blend per content, of ``WeightedStyle``, (picture, share) or (picture, share,
            mask).
        strip_pixels: The size of a strip in pixels, as in ``ForwardOptions``; None: no strips.
        targets: A cache of style statistics, read and extended; None: a cache of its own.
    """

    def __init__(
        self,
        network: VGG19,
        recipe: Recipe,
        content_B3HW: Tensor,
        styles: Sequence[Sequence[tuple[Any, ...]]],
        *,
        strip_pixels: int | None = None,
        targets: TargetCache | None = None,
    ) -> None:
        if len(styles) != len(content_B3HW):
            raise ValueError(f"{len(content_B3HW)} contents but {len(styles)} styles")
        self.network = network
        self.recipe = recipe
        self.space = SPACES[recipe.space]
        self._precision = content_B3HW.dtype
        computed = torch.bfloat16 if recipe.precision == "bfloat16" else self._precision
        self._options = ForwardOptions(
            recipe.pooling, recipe.padding, recipe.rescale_pooling, computed, strip_pixels
        )
        self._terms = {name: make_term(recipe) for name in recipe.style_layers}
        # One of its own at least: pictures of a batch can have styles in common.
        self._cache = targets if targets is not None else TargetCache()
        with torch.no_grad():
            probes: dict[str, list[Probe]] = {}
            self._prepare_content(content_B3HW, probes)
            self._prepare_styles(content_B3HW, styles, probes)
            self.floor_B = NEGLIGIBLE * self._loss_of_zeros()
        self._extractor = FeatureExtractor(network, self._options, probes)

    def __call__(self, x_B3HW: Tensor) -> Losses:
        """The losses of pictures given in the recipe's space. Differentiable, once."""
        recipe = self.recipe
        measured = self._extractor(convert(x_B3HW, self.space, self.network.space))
        content_B = x_B3HW.new_zeros(len(x_B3HW))
        for name, weight in recipe.content_layers.items():
            squares_B = sum(
                (part[0] for part in measured[name][0]), start=torch.zeros_like(content_B)
            )
            content_B = content_B + weight * squares_B / self._sizes[name]
        content_B = recipe.content_weight * content_B
        style_BL = recipe.style_weight * torch.stack(
            [
                weight * self._distance(name, self._gather(name, measured[name][-1]))
                for name, weight in recipe.style_layers.items()
            ],
            dim=1,
        )
        tv_B = content_B.new_zeros(len(x_B3HW))
        if recipe.tv_weight:
            tv_B = recipe.tv_weight * _TV[recipe.tv](x_B3HW)
        return Losses(content_B + style_BL.sum(1) + tv_B, content_B, style_BL, tv_B)

    def _gather(self, name: str, parts: Sequence[Part]) -> Statistics:
        return self._terms[name].gather(parts, self._extents[name])

    def _distance(self, name: str, statistics: Statistics) -> Tensor:
        """Of a layer's statistics from the wanted ones."""
        extent = self._extents[name]
        distance_BR = self._terms[name].distance(statistics, extent)
        return (distance_BR * extent.counted_BR / extent.positions).sum(1)

    def _loss_of_zeros(self) -> Tensor:
        """The style loss of features that are all 0: what losses of these targets are large against."""
        layers_B = [
            weight * self._distance(name, tuple(map(torch.zeros_like, self._targets[name])))
            for name, weight in self.recipe.style_layers.items()
        ]
        return self.recipe.style_weight * torch.stack(layers_B).sum(0)

    def _prepare_content(self, content_B3HW: Tensor, probes: dict[str, list[Probe]]) -> None:
        z_B3HW = convert(content_B3HW, RGB, self.network.space)
        targets = features(self.network, z_B3HW, self.recipe.content_layers, self._options)
        self._sizes = {name: target[0].numel() for name, target in targets.items()}
        for name, target in targets.items():
            probes[name] = [Content(target.to(self._precision))]

    def _prepare_styles(
        self,
        content_B3HW: Tensor,
        styles: Sequence[Sequence[tuple[Any, ...]]],
        probes: dict[str, list[Probe]],
    ) -> None:
        pictures = [regions([WeightedStyle(*part) for part in blend]) for blend in styles]
        guides_BRHW = make_guides(pictures, content_B3HW)
        self._extents = {}
        for name, term in self._terms.items():
            block = block_of(name)
            self._extents[name] = extent_at(guides_BRHW, block, content_B3HW)
            probe = term.probe(at_block(guides_BRHW, block), self._precision)
            probes.setdefault(name, []).append(probe)
        most = max(map(len, pictures))
        measured = [self._picture_targets(picture, most) for picture in pictures]
        self._targets = {}
        for name, term in self._terms.items():
            columns = zip(*(statistics[name] for statistics in measured), strict=True)
            self._targets[name] = tuple(torch.cat(column) for column in columns)
            term.set_target(self._targets[name])

    def _picture_targets(self, picture: Sequence[Region], most: int) -> dict[str, Statistics]:
        """Of one picture: at every style layer (1, R, ...) statistics."""
        blended = []
        for region in picture:
            parts = [(self._style_statistics(style), share) for style, share in region.styles]
            blended.append(
                {
                    name: blend_statistics(
                        [(statistics[name], share) for statistics, share in parts]
                    )
                    for name in self._terms
                }
            )
        # An empty region weighs nothing, but what it is compared with must be possible.
        blended += [blended[0]] * (most - len(blended))
        return {
            name: tuple(torch.cat(c, 1) for c in zip(*(s[name] for s in blended), strict=True))
            for name in self._terms
        }

    def _style_statistics(self, style_13HW: Tensor) -> Targets:
        """Of one style: at every style layer (1, 1, ...) statistics."""
        key = target_key(self.network, self.recipe, self._options, style_13HW)
        return self._cache.get(key, lambda: self._extract_statistics(style_13HW))

    def _extract_statistics(self, style_13HW: Tensor) -> Targets:
        probes = {name: [term.probe(None, self._precision)] for name, term in self._terms.items()}
        extractor = FeatureExtractor(self.network, self._options, probes)
        measured = extractor(convert(style_13HW, RGB, self.network.space))
        return {
            name: term.gather(measured[name][0], extent_at(None, block_of(name), style_13HW))
            for name, term in self._terms.items()
        }
