"""``Objective``: the loss of pictures as a function of their pixels, from a recipe and its inputs.

The targets (content features, style statistics) are computed once, here. Shape suffixes: B pictures,
R regions per picture, L style layers, H height, W width.
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
"""A style loss is negligible below this share of the style loss of features that are all 0: the statistics
are then within a thousandth of their targets."""


class Losses(NamedTuple):
    """The weighted terms of the loss, one number per picture."""

    total_B: Tensor
    """The sum of all terms, (B,)."""
    content_B: Tensor
    """The content loss, (B,)."""
    style_BL: Tensor
    """The style loss of each style layer, (B, L), in the order of ``recipe.style_layers``."""
    tv_B: Tensor
    """The total variation, (B,)."""

    def columns(self) -> Tensor:
        """Return total, content, style, each style layer and TV as columns, (B, 4 + L), detached."""
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
        # A cache even without a shared one: the pictures of a batch can have styles in common.
        self._cache = targets if targets is not None else TargetCache()
        with torch.no_grad():
            probes: dict[str, list[Probe]] = {}
            self._prepare_content(content_B3HW, probes)
            self._prepare_styles(content_B3HW, styles, probes)
            self.floor_B = NEGLIGIBLE * self._loss_of_zeros()
            """The loss up to which no increase counts as a divergence, (B,)."""
        self._extractor = FeatureExtractor(network, self._options, probes)

    def __call__(self, x_B3HW: Tensor) -> Losses:
        """Return the losses of pictures. Differentiable once.

        Args:
            x_B3HW: The pictures, (B, 3, H, W), in the recipe's space and of the contents' size.
        """
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
        """Return the distance of a layer's statistics from its targets, summed over regions by area: (B,)."""
        extent = self._extents[name]
        distance_BR = self._terms[name].distance(statistics, extent)
        return (distance_BR * extent.counted_BR / extent.positions).sum(1)

    def _loss_of_zeros(self) -> Tensor:
        """Return the style loss of features that are all 0, (B,), the scale of losses with these targets."""
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
        """Return the target statistics of one picture at every style layer, each (1, R, ...)."""
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
        # An empty region has no weight, but its target must be a possible one.
        blended += [blended[0]] * (most - len(blended))
        return {
            name: tuple(torch.cat(c, 1) for c in zip(*(s[name] for s in blended), strict=True))
            for name in self._terms
        }

    def _style_statistics(self, style_13HW: Tensor) -> Targets:
        """Return the statistics of one style at every style layer, each (1, 1, ...), cached if possible."""
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
