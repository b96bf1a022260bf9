"""What is measured of one layer's features, and what the measurement's gradient adds to theirs.

A picture may be looked at strip by strip (``stylize.network.strips``), so a probe gives the part that some
rows contribute, and something else puts the parts of all rows together. The gradients are written by
hand: one matrix product, added in place, where autograd makes two and sums them into new tensors.

Shape suffixes: B pictures, R regions of each, N channels, H height, W width, M = H * W positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Part = tuple[Tensor, ...]
"""What a probe makes of some rows of the features; each tensor has a first dimension of pictures."""


class Probe(Protocol):
    """Looks at the features of one layer. Features are never changed."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """The contribution of these rows, of which the first is row ``top`` of the layer."""

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Add to ``gradient_BNHW``, in place, what ``grad_outputs``, the gradient of the loss with respect
        to the part, means for these rows."""


def positions(x_BNHW: Tensor) -> Tensor:
    """(B, N, H, W), channels last in memory -> (B, M, N), the same memory."""
    b, n, h, w = x_BNHW.shape
    return x_BNHW.permute(0, 2, 3, 1).view(b, h * w, n)


class Content:
    """The squared differences from a target, summed: (B,). ``target_BNHW`` has all rows."""

    def __init__(self, target_BNHW: Tensor) -> None:
        self._target_BNHW = target_BNHW

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Sum((F - P)^2) of these rows."""
        return (self._difference(features_BNHW, top).square().flatten(1).sum(1),)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """2 s (F - P)."""
        difference_BNHW = self._difference(features_BNHW, top)
        gradient_BNHW.add_(difference_BNHW.mul_(2 * grad_outputs[0].view(-1, 1, 1, 1)))

    def _difference(self, features_BNHW: Tensor, top: int) -> Tensor:
        target_BNHW = self._target_BNHW[:, :, top : top + features_BNHW.shape[2]]
        return features_BNHW.to(target_BNHW.dtype) - target_BNHW


class _Guided:
    """What sees features through guides: (B, R, H, W), how much each position counts in each region,
    for all rows of the layer. None: there is one region, and everything counts in full."""

    def __init__(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> None:
        self._guides = guides_BRHW
        self._precision = precision

    def _views(self, features_BNHW: Tensor, top: int) -> list[tuple[Tensor, Tensor | None]]:
        """For each region the features (B, M, N) and their weights (B, M, 1)."""
        f_BMN = positions(features_BNHW).to(self._precision)
        if self._guides is None:
            return [(f_BMN, None)]
        w_BRHW = self._guides[:, :, top : top + features_BNHW.shape[2]]
        return [(f_BMN, w_BHW.flatten(1).unsqueeze(2)) for w_BHW in w_BRHW.unbind(1)]


class Gram(_Guided):
    """F^T F, weighted: (B, R, N, N). Gatys et al. 2016, eq. 3; with guides Gatys et al. 2017, eq. 7,
    where the guidance channel is the root of the weight."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """The sum over these rows."""
        grams = [
            (f_BMN if w_BM1 is None else f_BMN * w_BM1).mT @ f_BMN
            for f_BMN, w_BM1 in self._views(features_BNHW, top)
        ]
        return (torch.stack(grams, 1),)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """F (s + s^T), weighted."""
        (grad_BRNN,) = grad_outputs
        both_BRNN = grad_BRNN + grad_BRNN.mT
        for region, (f_BMN, w_BM1) in enumerate(self._views(features_BNHW, top)):
            seen_BMN = f_BMN if w_BM1 is None else f_BMN * w_BM1
            _add_product(positions(gradient_BNHW), seen_BMN, both_BRNN[:, region])


class Gaussian(_Guided):
    """Mean (B, R, N), covariance (B, R, N, N) about that mean, and weight (B, R, 1), of these rows.

    Each part has a mean of its own, because the difference of second moment and squared mean of the
    whole would lose most digits.
    """

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Mean, covariance and weight."""
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
        """(s_mean + (F - mean) (s_cov + s_cov^T)) times each position's share: what the covariance
        owes to the mean sums to nothing."""
        grad_mean_BRN, grad_covariance_BRNN, _ = grad_outputs
        both_BRNN = grad_covariance_BRNN + grad_covariance_BRNN.mT
        gradient_BMN = positions(gradient_BNHW)
        for region, (f_BMN, w_BM1) in enumerate(self._views(features_BNHW, top)):
            _, centred_BMN, share_BM1, _ = _centred(f_BMN, w_BM1)
            _add_product(gradient_BMN, centred_BMN * share_BM1, both_BRNN[:, region])
            gradient_BMN.add_(grad_mean_BRN[:, region, None] * share_BM1)


class Capture:
    """Keeps the features: (B, N, H, W). For targets; it has no gradient."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """These rows."""
        return (features_BNHW,)

    def backward(
        self, features_BNHW: Tensor, top: int, grad_outputs: Sequence[Tensor], gradient_BNHW: Tensor
    ) -> None:
        """Never asked for."""
        raise NotImplementedError


def _centred(f_BMN: Tensor, w_BM1: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean (B, 1, N), features less that, each position's share of the whole (B, M, 1), and the
    whole weight (B, 1). Where nothing counts, mean and shares are 0."""
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
    """gradient += a @ b, in place."""
    if gradient_BMN.dtype == a_BMN.dtype:
        gradient_BMN.baddbmm_(a_BMN, b_BNN)
    else:
        gradient_BMN.add_(a_BMN @ b_BNN)
