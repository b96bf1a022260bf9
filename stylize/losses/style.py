"""What a style is, layer by layer: statistics that can be blended, and a distance from them.

Shape suffixes: B pictures, R regions of each (one, unless there are masks), N channels.
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
"""Of one layer; each tensor begins with the dimensions B, R."""

RIDGE = 1e-4
"""Times the identity, added to covariances, which have no full rank where positions are few."""


class Extent(NamedTuple):
    """How much of a layer was looked at."""

    positions: int
    """M, its height times its width."""
    counted_BR: Tensor
    """The sum of the weights of the positions, in each region."""


class StyleTerm(Protocol):
    """The style loss at one layer."""

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """What looks at the features. Guides say how much each position counts in each region."""

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """The statistics of the layer, from the probe's parts, which together are all of it."""

    def set_target(self, targets: Statistics) -> None:
        """Take the statistics to come near to. Those of a blend are their mean, weighted by share."""

    def distance(self, statistics: Statistics, extent: Extent) -> Tensor:
        """How far from the target: (B, R)."""


class GramTerm:
    """Squared differences of Gram matrices. For these the mean of several targets has the same gradient
    as the mean of the distances to each."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Gram matrices."""
        return Gram(guides_BRHW, precision)

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """The sum, divided by what ``recipe.gram`` says. A region's unnormalised matrix is what the
        whole layer's would be if it were all like that region."""
        gram_BRNN = sum((part[0] for part in parts[1:]), start=parts[0][0])
        per_position_BRNN = gram_BRNN / _counted(extent, gram_BRNN)
        if self._recipe.gram == "positions":
            return (per_position_BRNN,)
        if self._recipe.gram == "elements":
            return (per_position_BRNN / gram_BRNN.shape[-1],)
        return (per_position_BRNN * extent.positions,)

    def set_target(self, targets: Statistics) -> None:
        """The target's Gram matrices."""
        (self._target_BRNN,) = targets

    def distance(self, statistics: Statistics, extent: Extent) -> Tensor:
        """``losses.style_loss`` of every region."""
        (gram_BRNN,) = statistics
        norm = self._recipe.style_norm
        loss = style_loss(
            gram_BRNN.flatten(0, 1), self._target_BRNN.flatten(0, 1), extent.positions, norm
        )
        return loss.view(gram_BRNN.shape[:2])


class WassersteinTerm:
    """The Wasserstein-2 distance of the features, taken for Gaussians."""

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Means and covariances."""
        return Gaussian(guides_BRHW, precision)

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """Mean and covariance of the whole: within the parts, plus that of the parts' means (Chan,
        Golub, LeVeque, *Updating formulae and a pairwise algorithm for computing sample variances*,
        1979)."""
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
        """The target's mean and covariance, of which the root never changes."""
        self._mean_BRN, self._covariance_BRNN = targets
        self._root_BRNN = matrix_root(self._covariance_BRNN)

    def distance(self, statistics: Statistics, extent: Extent) -> Tensor:
        """``losses.wasserstein_loss`` of every region."""
        target = (self._mean_BRN, self._covariance_BRNN, self._root_BRNN)
        loss = wasserstein_loss(*(values.flatten(0, 1) for values in (*statistics, *target)))
        return loss.view(self._mean_BRN.shape[:2])


def make_term(recipe: Recipe) -> StyleTerm:
    """The recipe's kind of style loss, for one layer."""
    return WassersteinTerm() if recipe.style_loss == "wasserstein" else GramTerm(recipe)


def blend_statistics(parts: Sequence[tuple[Statistics, float]]) -> Statistics:
    """The mean of several styles' statistics; shares are relative."""
    whole = sum(share for _, share in parts)
    columns = zip(*(statistics for statistics, _ in parts), strict=True)
    shares = [share / whole for _, share in parts]
    return tuple(
        torch.stack([s * part for s, part in zip(shares, column, strict=True)]).sum(0)
        for column in columns
    )


def _counted(extent: Extent, like: Tensor) -> Tensor:
    """``extent.counted_BR`` with as many dimensions as ``like``, and never 0: what counts nowhere has
    statistics of 0."""
    counted = extent.counted_BR.clamp(min=torch.finfo(like.dtype).tiny)
    return counted.view(*counted.shape, *[1] * (like.ndim - 2))
