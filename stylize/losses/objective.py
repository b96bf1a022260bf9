"""``Objective``: the loss of pictures as a function of their pixels, from a recipe and its inputs.

The targets (content features, style statistics) are computed once, here. At every step the network measures
parts of layers, the parts become statistics of layers, and the statistics a loss; the loss has a slope for
each layer, and from the slopes the network goes back to the pixels. All gradients are written by hand.

Shape suffixes: B pictures, R regions per picture, L style layers, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylize.bands.band import Band
from stylize.layer_names import block_of
from stylize.losses.held import Held
from stylize.losses.masks import Region, WeightedStyle, at_block, extent_at, make_guides, regions
from stylize.losses.style import Statistics, Target, blend_statistics, make_term
from stylize.losses.target_cache import TargetCache, Targets, target_key
from stylize.losses.variation import (
    absolute_variation,
    nine_point_variation,
    total_variation,
)
from stylize.network.features import (
    FeatureExtractor,
    ForwardOptions,
    Measurements,
    Slopes,
    features,
)
from stylize.network.probes import Content, Part, Probe, Slope
from stylize.network.strips import ALL_BLOCKS
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import RGB, SPACES, convert, gradient_before
from stylize.recipe import Recipe

_TV = {
    "squares": total_variation,
    "nine-point": nine_point_variation,
    "absolute": absolute_variation,
}


NEGLIGIBLE = 1e-6
"""A style loss is negligible below this share of the style loss of features that are all 0: the statistics
are then within a thousandth of their targets."""


FIRMNESS = 1.5
"""The factor of the loss of what is held, in style losses of features that are all 0, which have the same
size beside a recipe's other terms whatever its units. ``stylize/film/README.md`` has the measurements."""


class Losses(NamedTuple):
    """The weighted terms of the loss, one number per picture."""

    total_B: Tensor
    """The sum of all terms, (B,); where pictures hold to others, with the loss of that."""
    content_B: Tensor
    """The content loss, (B,)."""
    style_B: Tensor
    """The style loss, (B,)."""
    style_BL: Tensor
    """The style loss of each style layer, (B, L), in the order of ``recipe.style_layers``."""
    tv_B: Tensor
    """The total variation, (B,)."""

    def columns(self, *more_B: Tensor) -> Tensor:
        """Return total, content, style, each style layer, TV and what more is given as columns,
        (B, 4 + L + more), detached."""
        before = (self.total_B, self.content_B, self.style_B)
        columns = [*before, *self.style_BL.unbind(1), self.tv_B, *more_B]
        return torch.cat([column_B.unsqueeze(1) for column_B in columns], 1).detach()


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
        strip_blocks: The number of leading blocks in strips, as in ``ForwardOptions``.
        targets: A cache of style statistics, read and extended; None: a cache of its own.
        band: The rows of the canvas that the contents are; None: all. Masks are of the whole canvas.
        held: What the pictures hold to, on the contents' canvas; None: nothing.
    """

    def __init__(
        self,
        network: VGG19,
        recipe: Recipe,
        content_B3HW: Tensor,
        styles: Sequence[Sequence[tuple[Any, ...]]],
        *,
        strip_pixels: int | None = None,
        strip_blocks: int = ALL_BLOCKS,
        targets: TargetCache | None = None,
        band: Band | None = None,
        held: Held | None = None,
    ) -> None:
        if len(styles) != len(content_B3HW):
            raise ValueError(f"{len(content_B3HW)} contents but {len(styles)} styles")
        self.network = network
        self.recipe = recipe
        self.space = SPACES[recipe.space]
        self._precision = content_B3HW.dtype
        computed = torch.bfloat16 if recipe.precision == "bfloat16" else self._precision
        self._options = ForwardOptions(
            recipe.pooling,
            recipe.padding,
            recipe.rescale_pooling,
            computed,
            strip_pixels,
            strip_blocks,
        )
        self.band = band if band is not None else Band(content_B3HW.shape[2])
        self._held = held
        self._term = make_term(recipe)
        # A cache even without a shared one: the pictures of a batch can have styles in common.
        self._cache = targets if targets is not None else TargetCache()
        with torch.no_grad():
            probes: dict[str, list[Probe]] = {}
            self._prepare_content(content_B3HW, probes)
            self._prepare_styles(content_B3HW, styles, probes)
        self._extractor = FeatureExtractor(network, self._options, probes, self.band)

    def __call__(self, x_B3HW: Tensor) -> Losses:
        """Return the losses of pictures. The total is differentiable once.

        Args:
            x_B3HW: The pictures, (B, 3, H, W), in the recipe's space and of the contents' size.
        """
        if torch.is_grad_enabled() and x_B3HW.requires_grad:
            return Losses(*_Differentiable.apply(x_B3HW, self))
        measured = self._extractor(convert(x_B3HW, self.space, self.network.space))
        measured = self._of_all_bands(measured, self._extractor, self.band)
        content_B, (style_BL, _) = self._content(measured), self._style(measured)
        tv_B = self._variation(x_B3HW, None)
        return _sum(content_B, style_BL, tv_B, self._holding(x_B3HW, None))

    @torch.no_grad()
    def with_gradient(self, x_B3HW: Tensor) -> tuple[Losses, Tensor]:
        """Return the losses of pictures, and the gradient of each picture's total, (B, 3, H, W).

        Args:
            x_B3HW: The pictures, as for a call.
        """
        spaces = self.space, self.network.space
        measured, backward = self._extractor.with_backward(convert(x_B3HW, *spaces))
        measured = self._of_all_bands(measured, self._extractor, self.band)
        content_B, (style_BL, slopes) = self._content(measured), self._style(measured)
        del measured
        gradient_B3HW = gradient_before(backward(self._slopes(slopes)), *spaces)
        tv_B = self._variation(x_B3HW, gradient_B3HW)
        held_B = self._holding(x_B3HW, gradient_B3HW)
        return _sum(content_B, style_BL, tv_B, held_B), gradient_B3HW

    @staticmethod
    def _of_all_bands(
        measured: Measurements, extractor: FeatureExtractor, band: Band
    ) -> Measurements:
        """Return the parts of all bands, one for each. Every member goes on with the same numbers."""
        if band.is_whole:
            return measured
        probes = [(name, k) for name, of in measured.items() for k in range(len(of))]
        own = [extractor.probes[name][k].merge(measured[name][k]) for name, k in probes]
        found: Measurements = {name: [[] for _ in of] for name, of in measured.items()}
        for tensors in band.gathered([tensor for part in own for tensor in part]):
            remaining = iter(tensors)
            for (name, k), part in zip(probes, own, strict=True):
                found[name][k].append(tuple(next(remaining) for _ in part))
        return found

    def _content(self, measured: Measurements) -> Tensor:
        """Return the content loss, (B,)."""
        content_B: Tensor | None = None
        for name, weight in self._content_weights.items():
            (squares_B,) = Content.merge(measured[name][0])
            layer_B = weight * squares_B
            content_B = layer_B if content_B is None else content_B.add_(layer_B)
        assert content_B is not None
        return content_B

    def _style(self, measured: Measurements) -> tuple[Tensor, dict[str, Slope]]:
        """Return the style loss of each layer, (B, L), and its slope at each."""
        layers = self.recipe.style_layers
        return self._term.distances({n: self._gather(n, measured[n][-1]) for n in layers})

    def _gather(self, name: str, parts: Sequence[Part]) -> Statistics:
        """Return the statistics of a style layer from its parts, which together cover the layer."""
        return self._term.gather(parts, self._extents[name])

    def _slopes(self, of_style: Mapping[str, Slope]) -> Slopes:
        """Return the slopes of content and style at every layer, in the order of its probes."""
        slopes: dict[str, list[Slope]] = {
            name: [(weight,)] for name, weight in self._content_weights.items()
        }
        for name, slope in of_style.items():
            slopes.setdefault(name, []).append(slope)
        return slopes

    def _variation(self, x_B3HW: Tensor, gradient_B3HW: Tensor | None) -> Tensor:
        """Return the total variation, (B,), and add its gradient to another, if any."""
        weight = self.recipe.tv_weight
        if not weight:
            return x_B3HW.new_zeros(len(x_B3HW))
        return self.band.sum(_TV[self.recipe.tv](x_B3HW, weight, gradient_B3HW, self.band))

    def _holding(self, x_B3HW: Tensor, gradient_B3HW: Tensor | None) -> Tensor | None:
        """Return the loss of what is held, (B,), and add its gradient to another; None: nothing is held."""
        if self._held is None:
            return None
        return self._held.loss(x_B3HW, self.space, self._firmness_B, gradient_B3HW, self.band)

    def _loss_of_zeros(self, targets: Mapping[str, Target]) -> Tensor:
        """Return the style loss of features that are all 0, (B,), the scale of losses with these targets."""
        zeros = {
            name: tuple(map(torch.zeros_like, target.statistics))
            for name, target in targets.items()
        }
        return self._term.distances(zeros)[0].sum(1)

    def _canvas(self, content_B3HW: Tensor) -> tuple[int, int]:
        """Return height and width of the whole canvas, of which these are the band's rows."""
        return self.band.height, content_B3HW.shape[3]

    def _prepare_content(self, content_B3HW: Tensor, probes: dict[str, list[Probe]]) -> None:
        z_B3HW = convert(content_B3HW, RGB, self.network.space)
        layers = self.recipe.content_layers
        targets = features(self.network, z_B3HW, layers, self._options, self.band)
        self._content_weights = {}
        for name, weight in layers.items():
            height, width = (side >> (block_of(name) - 1) for side in self._canvas(content_B3HW))
            numbers = targets[name].shape[1] * height * width
            self._content_weights[name] = self.recipe.content_weight * weight / numbers
        """The factor of each layer's sum of squares."""
        for name, target in targets.items():
            probes[name] = [Content(target, self._precision)]

    def _prepare_styles(
        self,
        content_B3HW: Tensor,
        styles: Sequence[Sequence[tuple[Any, ...]]],
        probes: dict[str, list[Probe]],
    ) -> None:
        pictures = [regions([WeightedStyle(*part) for part in blend]) for blend in styles]
        canvas = self._canvas(content_B3HW)
        like_B1HW = content_B3HW.new_empty(()).expand(len(content_B3HW), 1, *canvas)
        guides_BRHW = make_guides(pictures, like_B1HW)
        self._extents = {}
        for name in self.recipe.style_layers:
            block = block_of(name)
            self._extents[name] = extent_at(guides_BRHW, block, like_B1HW)
            guides = at_block(guides_BRHW, block)
            if guides is not None and not self.band.is_whole:
                rows = self.band.at(1 << (block - 1))
                guides = guides[:, :, rows.first : rows.last].clone()
            probe = self._term.probe(guides, self._precision)
            probes.setdefault(name, []).append(probe)
        most = max(map(len, pictures))
        measured = [self._picture_targets(picture, most) for picture in pictures]
        targets = {}
        for name, weight in self.recipe.style_layers.items():
            columns = zip(*(statistics[name] for statistics in measured), strict=True)
            statistics = tuple(torch.cat(column) for column in columns)
            weight *= self.recipe.style_weight
            targets[name] = Target(statistics, self._extents[name], weight)
        self._term.set_targets(targets)
        scale_B = self._loss_of_zeros(targets)
        self._firmness_B = FIRMNESS * scale_B
        """The factor of the loss of what is held, (B,)."""
        self.floor_B = NEGLIGIBLE * scale_B
        """The loss up to which no increase counts as a divergence, (B,)."""

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
                    for name in self.recipe.style_layers
                }
            )
        # An empty region has no weight, but its target must be a possible one.
        blended += [blended[0]] * (most - len(blended))
        return {
            name: tuple(torch.cat(c, 1) for c in zip(*(s[name] for s in blended), strict=True))
            for name in self.recipe.style_layers
        }

    def _style_statistics(self, style_13HW: Tensor) -> Targets:
        """Return the statistics of one style at every style layer, each (1, 1, ...), cached if possible."""
        key = target_key(self.network, self.recipe, self._options, style_13HW)
        return self._cache.get(key, lambda: self._extract_statistics(style_13HW))

    def _extract_statistics(self, style_13HW: Tensor) -> Targets:
        layers = self.recipe.style_layers
        probes = {name: [self._term.probe(None, self._precision)] for name in layers}
        band = self.band.other(style_13HW.shape[2])
        extractor = FeatureExtractor(self.network, self._options, probes, band)
        measured = extractor(convert(band.cut(style_13HW), RGB, self.network.space))
        measured = self._of_all_bands(measured, extractor, band)
        return {
            name: self._term.gather(measured[name][0], extent_at(None, block_of(name), style_13HW))
            for name in layers
        }


class _Differentiable(torch.autograd.Function):
    """Pictures -> their losses, of which the total is differentiable."""

    @staticmethod
    def forward(ctx: Any, x_B3HW: Tensor, objective: Objective) -> tuple[Tensor, ...]:
        losses, ctx.gradient_B3HW = objective.with_gradient(x_B3HW)
        ctx.mark_non_differentiable(*losses[1:])
        return tuple(losses)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_total_B: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return of_total_B.view(-1, 1, 1, 1) * ctx.gradient_B3HW, None


def _sum(content_B: Tensor, style_BL: Tensor, tv_B: Tensor, held_B: Tensor | None) -> Losses:
    """Return the terms and the sum of all, which alone has what is held."""
    style_B = style_BL.sum(1)
    total_B = content_B + style_B + tv_B
    if held_B is not None:
        total_B = total_B + held_B
    return Losses(total_B, content_B, style_B, style_BL, tv_B)
