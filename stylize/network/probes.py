"""Probes: measurements of one layer's features, and their gradients.

The network may run strip by strip (``stylize.network.strips``), so a probe returns the part that some rows
contribute, and its caller combines the parts of all rows. The gradients are written by hand: one matrix
product, added in place, where autograd computes two products and sums them into new tensors.

Shape suffixes: B pictures, R regions per picture, N channels, H height, W width, M = H * W positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Part = tuple[Tensor, ...]
"""The measurement of some rows of the features. The first dimension of each tensor is B."""


class Probe(Protocol):
    """A measurement of the features of one layer. A probe never changes the features."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return the part that some rows contribute.

        Args:
            features_BNHW: Consecutive rows of the layer's features, (B, N, H, W).
            top: The index of the first of these rows in the layer, from 0.
        """

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Add the gradient of the loss with respect to some rows to ``gradient_BNHW``, in place.

        Args:
            features_BNHW: The rows that ``forward`` measured.
            top: The index of the first of these rows in the layer, from 0.
            grad_outputs: The gradient of the loss with respect to each tensor of the part.
            gradient_BNHW: The gradient at the rows, which is changed.
        """


def positions(x_BNHW: Tensor) -> Tensor:
    """Return a view (B, M, N) of a tensor (B, N, H, W) that is channels last in memory."""
    b, n, h, w = x_BNHW.shape
    return x_BNHW.permute(0, 2, 3, 1).view(b, h * w, n)


class Content:
    """The sum of the squared differences from a target, (B,).

    Args:
        target_BNHW: The target features of the whole layer, (B, N, H, W).
    """

    def __init__(self, target_BNHW: Tensor) -> None:
        self._target_BNHW = target_BNHW

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return sum((F - P)^2) of these rows, (B,)."""
        return (self._difference(features_BNHW, top).square().flatten(1).sum(1),)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Add 2 s (F - P), where s is the gradient at the sum."""
        difference_BNHW = self._difference(features_BNHW, top)
        gradient_BNHW.add_(difference_BNHW.mul_(2 * grad_outputs[0].view(-1, 1, 1, 1)))

    def _difference(self, features_BNHW: Tensor, top: int) -> Tensor:
        target_BNHW = self._target_BNHW[:, :, top : top + features_BNHW.shape[2]]
        return features_BNHW.to(target_BNHW.dtype) - target_BNHW


class _Guided:
    """A probe that weights positions by guides.

    Args:
        guides_BRHW: The weight of each position of the whole layer in each region, (B, R, H, W); None: one
            region in which every position counts in full.
        precision: The dtype in which the probe measures.
    """

    def __init__(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> None:
        self._guides = guides_BRHW
        self._precision = precision

    def _views(self, features_BNHW: Tensor, top: int) -> list[tuple[Tensor, Tensor | None]]:
        """Return the features (B, M, N) and their weights (B, M, 1) or None for each region."""
        f_BMN = positions(features_BNHW).to(self._precision)
        if self._guides is None:
            return [(f_BMN, None)]
        w_BRHW = self._guides[:, :, top : top + features_BNHW.shape[2]]
        return [(f_BMN, w_BHW.flatten(1).unsqueeze(2)) for w_BHW in w_BRHW.unbind(1)]


class Gram(_Guided):
    """The Gram matrices F^T F, weighted, (B, R, N, N).

    Source: Gatys et al. 2016, eq. 3; with guides Gatys et al. 2017, eq. 7, where the guidance channel is
    the root of the weight.
    """

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return the Gram matrices of these rows: sums over their positions, (B, R, N, N)."""
        grams = [
            (f_BMN if w_BM1 is None else f_BMN * w_BM1).mT @ f_BMN
            for f_BMN, w_BM1 in self._views(features_BNHW, top)
        ]
        return (torch.stack(grams, 1),)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Add F (s + s^T), weighted, where s is the gradient at the Gram matrix."""
        (grad_BRNN,) = grad_outputs
        both_BRNN = grad_BRNN + grad_BRNN.mT
        for region, (f_BMN, w_BM1) in enumerate(self._views(features_BNHW, top)):
            seen_BMN = f_BMN if w_BM1 is None else f_BMN * w_BM1
            _add_product(positions(gradient_BNHW), seen_BMN, both_BRNN[:, region])


class Gaussian(_Guided):
    """The mean (B, R, N), the covariance about that mean (B, R, N, N), and the weight (B, R, 1) of rows.

    Each part has its own mean, because the difference between the second moment and the squared mean of
    the whole layer would lose most digits.
    """

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return the mean, the covariance and the total weight of these rows."""
        means, covariances, weights = [], [], []
        for f_BMN, w_BM1 in self._views(features_BNHW, top):
            mean_B1N, centred_BMN, share_BM1, weight_B1 = _centred(f_BMN, w_BM1)
            means.append(mean_B1N[:, 0])
            covariances.append((centred_BMN * share_BM1).mT @ centred_BMN)
            weights.append(weight_B1)
        return torch.stack(means, 1), torch.stack(covariances, 1), torch.stack(weights, 1)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Add (s_mean + (F - mean) (s_cov + s_cov^T)) times each position's share.

        s_mean and s_cov are the gradients at mean and covariance. The covariance's dependence on the mean
        sums to zero.
        """
        grad_mean_BRN, grad_covariance_BRNN, _ = grad_outputs
        both_BRNN = grad_covariance_BRNN + grad_covariance_BRNN.mT
        gradient_BMN = positions(gradient_BNHW)
        for region, (f_BMN, w_BM1) in enumerate(self._views(features_BNHW, top)):
            _, centred_BMN, share_BM1, _ = _centred(f_BMN, w_BM1)
            _add_product(gradient_BMN, centred_BMN * share_BM1, both_BRNN[:, region])
            gradient_BMN.add_(grad_mean_BRN[:, region, None] * share_BM1)


class Capture:
    """The features themselves, (B, N, H, W), for use as targets. The probe has no gradient."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return these rows."""
        return (features_BNHW,)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Raise NotImplementedError: the features are captured without a gradient."""
        raise NotImplementedError


def _centred(f_BMN: Tensor, w_BM1: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the mean (B, 1, N), the features less the mean (B, M, N), each position's share of the weight
    (B, M, 1), and the total weight (B, 1). Where no position counts, mean and shares are 0."""
    if w_BM1 is None:
        count = f_BMN.shape[1]
        share_BM1 = f_BMN.new_full((1, 1, 1), 1 / count)
        mean_B1N = f_BMN.mean(1, keepdim=True)
        return mean_B1N, f_BMN - mean_B1N, share_BM1, f_BMN.new_full((len(f_BMN), 1), count)
    weight_B1 = w_BM1.sum(1)
    share_BM1 = w_BM1 / weight_B1.clamp(min=torch.finfo(w_BM1.dtype).tiny)[:, None]
    mean_B1N = (f_BMN * share_BM1).sum(1, keepdim=True)
    return mean_B1N, f_BMN - mean_B1N, share_BM1, weight_B1


def _add_product(gradient_BMN: Tensor, a_BMN: Tensor, b_BNN: Tensor) -> None:
    """Add a @ b to the gradient, in place."""
    if gradient_BMN.dtype == a_BMN.dtype:
        gradient_BMN.baddbmm_(a_BMN, b_BNN)
    else:
        gradient_BMN.add_(a_BMN @ b_BNN)
