"""What a style is, layer by layer: statistics that can be blended, and a distance from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from stylize.losses import (
    gaussian,
    gram_matrix,
    matrix_root,
    style_loss,
    wasserstein_loss,
)
from stylize.recipe import Recipe

Statistics = tuple[Tensor, ...]
"""Of one layer, each with a first dimension of pictures."""


class StyleTerm(Protocol):
    """The style loss at one layer."""

    def measure(self, features_BNHW: Tensor) -> Statistics:
        """The statistics of a style. Those of a blend are their mean, weighted by share."""

    def aim(self, targets: Statistics) -> None:
        """Take the statistics to come near to, (B, ...) each."""

    def distance(self, features_BNHW: Tensor) -> Tensor:
        """How far these features are from the target: (B,)."""


class GramTerm:
    """Squared differences of Gram matrices."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def measure(self, features_BNHW: Tensor) -> Statistics:
        """For a squared distance the mean of several targets has the same gradient as the mean of the
        distances to each."""
        return (gram_matrix(features_BNHW, self._recipe.gram),)

    def aim(self, targets: Statistics) -> None:
        (self._target_BNN,) = targets

    def distance(self, features_BNHW: Tensor) -> Tensor:
        return style_loss(
            gram_matrix(features_BNHW, self._recipe.gram),
            self._target_BNN,
            positions=features_BNHW[0, 0].numel(),
            norm=self._recipe.style_norm,
        )


class WassersteinTerm:
    """The Wasserstein-2 distance of the features, taken for Gaussians."""

    def measure(self, features_BNHW: Tensor) -> Statistics:
        """Mean and covariance."""
        return gaussian(features_BNHW)

    def aim(self, targets: Statistics) -> None:
        self._mean_BN, self._covariance_BNN = targets
        self._root_BNN = matrix_root(self._covariance_BNN)

    def distance(self, features_BNHW: Tensor) -> Tensor:
        return wasserstein_loss(
            *gaussian(features_BNHW), self._mean_BN, self._covariance_BNN, self._root_BNN
        )


def make_term(recipe: Recipe) -> StyleTerm:
    """The recipe's kind of style loss, for one layer."""
    return WassersteinTerm() if recipe.style_loss == "wasserstein" else GramTerm(recipe)


def blend(parts: Sequence[tuple[Statistics, float]]) -> Statistics:
    """The mean of several styles' statistics; shares are relative."""
    whole = sum(share for _, share in parts)
    columns = zip(*(statistics for statistics, _ in parts), strict=True)
    shares = [share / whole for _, share in parts]
    return tuple(
        torch.stack([s * part for s, part in zip(shares, column, strict=True)]).sum(0)
        for column in columns
    )
