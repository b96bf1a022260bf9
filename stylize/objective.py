"""A recipe and its pictures become a function of the picture being painted.

The targets (content features, style Gram matrices) are computed once, here. Shape suffixes as in
``stylize.losses``; L is the number of style layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stylize.losses import content_loss, nine_point_variation, total_variation
from stylize.recipe import Recipe
from stylize.spaces import RGB, SPACES, convert
from stylize.style_terms import Statistics, blend, make_term
from stylize.vgg import VGG19

_TV = {"squares": total_variation, "nine-point": nine_point_variation}

StyleMix = Sequence[tuple[Tensor, float]]
"""Style pictures, each (1, 3, H, W) RGB in [0, 1], and their shares."""


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
    """image -> Losses.

    ``content_B3HW`` is RGB in [0, 1]; ``styles`` has one mix for every picture of it. Everything must
    be on one device and in one floating dtype, which may be float64.
    """

    def __init__(
        self, network: VGG19, recipe: Recipe, content_B3HW: Tensor, styles: Sequence[StyleMix]
    ) -> None:
        if len(styles) != len(content_B3HW):
            raise ValueError(f"{len(content_B3HW)} contents but {len(styles)} styles")
        self.network = network
        self.recipe = recipe
        self.space = SPACES[recipe.space]
        self._taps = (*recipe.content_layers, *recipe.style_layers)
        with torch.no_grad():
            content = self._features(content_B3HW, recipe.content_layers, rgb=True)
            self._content_targets = {name: content[name] for name in recipe.content_layers}
            self._terms = {name: make_term(recipe) for name in recipe.style_layers}
            measured = [self._measure(mix) for mix in styles]
            for name, term in self._terms.items():
                columns = zip(*(statistics[name] for statistics in measured), strict=True)
                term.aim(tuple(torch.cat(column) for column in columns))

    def __call__(self, x_B3HW: Tensor) -> Losses:
        """The losses of pictures given in the recipe's space. Differentiable."""
        recipe = self.recipe
        features = self._features(x_B3HW, self._taps)
        content_B = recipe.content_weight * sum(
            (
                weight * content_loss(features[name], self._content_targets[name])
                for name, weight in recipe.content_layers.items()
            ),
            start=x_B3HW.new_zeros(()),
        )
        style_BL = recipe.style_weight * torch.stack(
            [
                weight * self._terms[name].distance(features[name])
                for name, weight in recipe.style_layers.items()
            ],
            dim=1,
        )
        tv_B = content_B.new_zeros(len(x_B3HW))
        if recipe.tv_weight:
            tv_B = recipe.tv_weight * _TV[recipe.tv](x_B3HW)
        return Losses(content_B + style_BL.sum(1) + tv_B, content_B, style_BL, tv_B)

    def _measure(self, mix: StyleMix) -> dict[str, Statistics]:
        """The statistics of one picture's style at every style layer."""
        parts = [
            (self._features(style_13HW, self.recipe.style_layers, rgb=True), share)
            for style_13HW, share in mix
        ]
        return {
            name: blend([(term.measure(features[name]), share) for features, share in parts])
            for name, term in self._terms.items()
        }

    def _features(
        self, x_B3HW: Tensor, taps: Iterable[str], *, rgb: bool = False
    ) -> dict[str, Tensor]:
        x = convert(x_B3HW, RGB if rgb else self.space, self.network.space)
        features: dict[str, Tensor] = self.network(
            x,
            taps,
            self.recipe.pooling,
            self.recipe.padding,
            self.recipe.rescale_pooling,
        )
        return features
