"""The style loss: statistics of each layer that can be blended, and their distance from a target.

Shape suffixes: B pictures, R regions per picture (1 without masks), L style layers, N channels, H height,
W width, K matrices: those of B * R * (some of the layers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stylize.losses.functions import style_loss, wasserstein_loss
from stylize.matrix_roots import factorise, padded, stacked
from stylize.network.probes import Gaussian, Gram, Part, Probe, Slope
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


class Target(NamedTuple):
    """What a layer is compared with, and what its distance counts."""

    statistics: Statistics
    """The target statistics. That of a blend is the mean of its styles, weighted by share."""
    extent: Extent
    """The extent of the layer."""
    weight: float
    """The factor of the distance."""

    def weights(self) -> Tensor:
        """The factor of each region's distance, by its area, (B, R)."""
        return self.weight * self.extent.counted_BR / self.extent.positions


class StyleTerm(Protocol):
    """The style loss at all style layers."""

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Return the probe that measures a layer's features.

        Args:
            guides_BRHW: The weight of each position in each region, at the layer's size; None: one region
                in which every position counts in full.
            precision: The dtype in which the probe measures.
        """

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """Return the statistics of a layer from the probe's parts, which together cover the layer."""

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """Set the target of each layer."""

    def distances(self, statistics: Mapping[str, Statistics]) -> tuple[Tensor, dict[str, Slope]]:
        """Return the weighted distance of each layer from its target, (B, L), in the order of the targets,
        and the slopes of the sum of all distances for the probes."""


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
        """Return the sum of the parts, divided as ``recipe.gram`` says."""
        (gram_BRNN,) = Gram.merge(parts)
        return (gram_BRNN * self._factor(extent, gram_BRNN),)

    def _factor(self, extent: Extent, like_BRNN: Tensor) -> Tensor:
        """Return the factor of the sum over a layer's positions, (B, R, 1, 1).

        The unnormalised matrix of a region is scaled to that of a whole layer that is like the region.
        """
        times = {"positions": 1.0, "elements": 1 / like_BRNN.shape[-1], "none": extent.positions}
        return times[self._recipe.gram] / _counted(extent, like_BRNN)

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """Set the targets' Gram matrices."""
        self._targets = targets
        self._weights_BR = {name: target.weights() for name, target in targets.items()}
        # Of a slope that is twice the gradient at the sum over positions.
        self._scales_BR11 = {
            name: 2
            * self._weights_BR[name][..., None, None]
            * self._factor(target.extent, *target[0])
            for name, target in targets.items()
        }

    def distances(self, statistics: Mapping[str, Statistics]) -> tuple[Tensor, dict[str, Slope]]:
        """Return ``functions.style_loss`` of every layer, and twice its gradient at sums over positions."""
        distances, slopes = [], {}
        for name, ((target_BRNN,), extent, _) in self._targets.items():
            (gram_BRNN,) = statistics[name]
            loss, slope = style_loss(
                gram_BRNN.flatten(0, 1),
                target_BRNN.flatten(0, 1),
                extent.positions,
                self._recipe.style_norm,
            )
            distances.append(loss.view(gram_BRNN.shape[:2]) * self._weights_BR[name])
            slopes[name] = (slope.view_as(gram_BRNN).mul_(self._scales_BR11[name]),)
        return torch.stack(distances, 1).sum(2), slopes


class WassersteinTerm:
    """The squared Wasserstein-2 distance of the features' distributions, which count as Gaussians."""

    def probe(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> Probe:
        """Return a probe of means and covariances."""
        return Gaussian(guides_BRHW, precision)

    def gather(self, parts: Sequence[Part], extent: Extent) -> Statistics:
        """Return the mean and the covariance of the whole layer."""
        mean_BRN, covariance_BRNN, _ = Gaussian.merge(parts)
        return mean_BRN, covariance_BRNN

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """Set the targets' means and covariances, and factorise the covariances, which never change."""
        self._names = list(targets)
        self._groups = [
            _Group({name: targets[name] for name in names}) for names in _grouped(targets)
        ]

    def distances(self, statistics: Mapping[str, Statistics]) -> tuple[Tensor, dict[str, Slope]]:
        """Return ``functions.wasserstein_loss`` of every layer as a mean over its channels, and its slope."""
        distances: dict[str, Tensor] = {}
        slopes: dict[str, Slope] = {}
        for group in self._groups:
            for name, distance_BR, slope in group.distances(statistics):
                distances[name], slopes[name] = distance_BR, slope
        return torch.stack([distances[name] for name in self._names], 1).sum(2), slopes


def _grouped(targets: Mapping[str, Target]) -> list[list[str]]:
    """Return the layers whose distances are computed together.

    A GPU computes a product of a narrow layer's matrices in less time than it takes to start it, so narrow
    layers are computed together there, as wide as the widest of them. The widest layers of all take most of
    the time: to make others as wide would cost more than their starts do. The CPU has nothing to start.
    """
    widths = {name: target.statistics[0].shape[-1] for name, target in targets.items()}
    if any(target.statistics[0].device.type == "cpu" for target in targets.values()):
        return [[name] for name in targets]
    widest = max(widths.values())
    wide = [name for name, width in widths.items() if width == widest]
    return [names for names in (wide, [n for n in targets if n not in wide]) if names]


class _Group:
    """Layers whose distances from their targets are computed together.

    Matrices of fewer channels than the widest layer's are filled up with zeros, which change no distance.
    """

    def __init__(self, targets: Mapping[str, Target]) -> None:
        means, covariances, ridges, weights, scales = [], [], [], [], []
        for target in targets.values():
            mean, covariance = (values.flatten(0, 1) for values in target.statistics)
            channels = mean.shape[1]
            ridge = torch.full_like(mean, RIDGE)
            ridges.append(ridge)
            means.append(mean)
            covariances.append(covariance + ridge.diag_embed())
            weights.append(target.weights().flatten() / channels)
            scale = 2 * target.weight / (channels * target.extent.positions)
            scales.append(torch.full_like(weights[-1], scale))
        self._names = list(targets)
        self._mean_KN, self._ridge_KNN = stacked(means), stacked(ridges).diag_embed()
        variances = [covariance.diagonal(dim1=1, dim2=2) for covariance in covariances]
        self._variances_KN = stacked(variances)
        self._factor = padded([factorise(covariance) for covariance in covariances])
        self._weight_K = torch.cat(weights)
        """The factor of each distance as a sum over channels."""
        self._scale_K1 = torch.cat(scales).unsqueeze(1)
        """The factor of a slope: of the gradient at the mean and twice that at the covariance, divided by the
        weight of a region's positions. The area of the region, which is in both, cancels out."""
        self._minus_2_scale_K11 = -2 * self._scale_K1.unsqueeze(2)

    def distances(
        self, statistics: Mapping[str, Statistics]
    ) -> Iterator[tuple[str, Tensor, Slope]]:
        """Yield each layer with the weighted distance of its regions, (B, R), and its slope."""
        measured = [[v.flatten(0, 1) for v in statistics[name]] for name in self._names]
        means, covariances = zip(*measured, strict=True)
        off_KN = stacked(means) - self._mean_KN
        distance_K, right_KNN = wasserstein_loss(
            off_KN, stacked(covariances) + self._ridge_KNN, self._variances_KN, self._factor
        )
        distance_K = distance_K * self._weight_K
        row_KN = off_KN * self._scale_K1
        right_KNN = right_KNN.mul_(self._minus_2_scale_K11)
        right_KNN.diagonal(dim1=1, dim2=2).add_(self._scale_K1)
        first = 0
        for name in self._names:
            mean_BRN = statistics[name][0]
            b, r, n = mean_BRN.shape
            rows = slice(first, first + b * r)
            row_BRN, right_BRNN = row_KN[rows, :n], right_KNN[rows, :n, :n]
            slope = (mean_BRN, row_BRN.view(b, r, n), right_BRNN.view(b, r, n, n))
            yield name, distance_K[rows].view(b, r), slope
            first += b * r


def make_term(recipe: Recipe) -> StyleTerm:
    """Return the style loss that the recipe selects."""
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
