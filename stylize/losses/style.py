"""The style loss layer by layer: statistics that can be blended, and a distance between them.

Shape suffixes: B pictures, R regions per picture (1 without masks), N channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stylize.losses.functions import style_loss, wasserstein_loss
from stylize.matrix_roots import matrix_root
from stylize.network.probes import Gaussian, Gram, Part, Probe
from stylize.recipe import Recipe

Statistics = tuple[Tensor, ...]
"""The statistics of one layer. The first dimensions of each tensor are B and R."""

RIDGE = 1e-4
"""The multiple of the identity added to covariances, which lack full rank where positions are few."""


class Extent(NamedTuple):
    """The number of positions of a layer, and how many of them count in each region."""

    positions: int
    """M, the layer's height times its width."""
    counted_BR: Tensor
    """The sum of the weights of the positions in each region, (B, R), 0 to M."""


class StyleTerm(Protocol):
    """The style loss at one layer."""

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Return the probe that measures the layer's features.

        Args:
            guides_BRHW: The weight of each position in each region, at the layer's size; None: one region
                in which every position counts in full.
            precision: The dtype in which the probe measures.
        """

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """Return the statistics of the layer from the probe's parts, which together cover the layer."""

    def set_target(self, targets: Statistics) -> None:
        """Set the target statistics. The target of a blend is the mean of its styles, weighted by share."""

    def distance(self, statistics: Statistics, extent: Extent) -> Tensor:
        """Return the distance of statistics from the target, (B, R)."""


class GramTerm:
    """Squared differences of Gram matrices.

    The mean of several target matrices gives the same gradient as the mean of the distances to each.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Return a probe of Gram matrices."""
        return Gram(guides_BRHW, precision)

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """Return the sum of the parts, divided as ``recipe.gram`` says.

        The unnormalised matrix of a region is scaled to that of a whole layer that is like the region.
        """
        gram_BRNN = sum((part[0] for part in parts[1:]), start=parts[0][0])
        per_position_BRNN = gram_BRNN / _counted(extent, gram_BRNN)
        if self._recipe.gram == "positions":
            return (per_position_BRNN,)
        if self._recipe.gram == "elements":
            return (per_position_BRNN / gram_BRNN.shape[-1],)
        return (per_position_BRNN * extent.positions,)

    def set_target(self, targets: Statistics) -> None:
        """Set the target's Gram matrices."""
        (self._target_BRNN,) = targets

    def distance(self, statistics: Statistics, extent: Extent) -> Tensor:
        """Return ``functions.style_loss`` of every region, (B, R)."""
        (gram_BRNN,) = statistics
        norm = self._recipe.style_norm
        loss = style_loss(
            gram_BRNN.flatten(0, 1), self._target_BRNN.flatten(0, 1), extent.positions, norm
        )
        return loss.view(gram_BRNN.shape[:2])


class WassersteinTerm:
    """The squared Wasserstein-2 distance of the features' distributions, which count as Gaussians."""

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Return a probe of means and covariances."""
        return Gaussian(guides_BRHW, precision)

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """Return the mean and the covariance of the whole layer.

        The covariance is that within the parts plus that of the parts' means (Chan, Golub, LeVeque,
        *Updating formulae and a pairwise algorithm for computing sample variances*, 1979).
        """
        shares = [weight_BR1 / _counted(extent, weight_BR1) for _, _, weight_BR1 in parts]
        means = [mean_BRN for mean_BRN, _, _ in parts]
        mean_BRN = torch.stack([s * m for s, m in zip(shares, means, strict=True)]).sum(0)
        covariance_BRNN = torch.zeros_like(parts[0][1])
        for share_BR1, (part_mean_BRN, part_BRNN, _) in zip(shares, parts, strict=True):
            off_BRN = part_mean_BRN - mean_BRN
            between_BRNN = off_BRN.unsqueeze(3) * off_BRN.unsqueeze(2)
            covariance_BRNN = covariance_BRNN + share_BR1.unsqueeze(3) * (part_BRNN + between_BRNN)
        identity_NN = torch.eye(mean_BRN.shape[2], dtype=mean_BRN.dtype, device=mean_BRN.device)
        return mean_BRN, covariance_BRNN + RIDGE * identity_NN

    def set_target(self, targets: Statistics) -> None:
        """Set the target's mean and covariance, and compute the covariance's root, which never changes."""
        self._mean_BRN, self._covariance_BRNN = targets
        self._root_BRNN = matrix_root(self._covariance_BRNN)

    def distance(self, statistics: Statistics, extent: Extent) -> Tensor:
        """Return ``functions.wasserstein_loss`` of every region, (B, R)."""
        target = (self._mean_BRN, self._covariance_BRNN, self._root_BRNN)
        loss = wasserstein_loss(*(values.flatten(0, 1) for values in (*statistics, *target)))
        return loss.view(self._mean_BRN.shape[:2])


def make_term(recipe: Recipe) -> StyleTerm:
    """Return the style loss that the recipe selects, for one layer."""
    return WassersteinTerm() if recipe.style_loss == "wasserstein" else GramTerm(recipe)


def blend_statistics(parts: Sequence[tuple[Statistics, float]]) -> Statistics:
    """Return the mean of several styles' statistics, weighted by their relative shares."""
    whole = sum(share for _, share in parts)
    columns = zip(*(statistics for statistics, _ in parts), strict=True)
    shares = [share / whole for _, share in parts]
    return tuple(
        torch.stack([s * part for s, part in zip(shares, column, strict=True)]).sum(0)
        for column in columns
    )


def _counted(extent: Extent, like: Tensor) -> Tensor:
    """Return ``extent.counted_BR`` with as many dimensions as ``like``, and never 0: a region that counts
    nowhere has statistics of 0."""
    counted = extent.counted_BR.clamp(min=torch.finfo(like.dtype).tiny)
    return counted.view(*counted.shape, *[1] * (like.ndim - 2))
