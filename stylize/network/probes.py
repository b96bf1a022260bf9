"""Probes: measurements of one layer's features, and their gradients.

The network may run strip by strip (``stylize.network.strips``), so a probe returns the part that some rows
contribute, and its caller combines the parts of all rows. The gradient at a row follows from its features and
from the statistics of the whole layer: it needs nothing of the part that the row was in. It is written by
hand: one matrix product, added in place, where autograd computes two products and sums them into new tensors.

Shape suffixes: B pictures, R regions per picture, N channels, H height, W width, M = H * W positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from stylize.network.layers import channels_last
from stylize.network.products import add_product, blocks, mean_of, second_moment

Part = tuple[Tensor, ...]
"""The measurement of some rows of the features. The first dimension of each tensor is B."""
Slope = tuple[Any, ...]
"""What the gradient of the loss at every row of a layer follows from: tensors and numbers of the layer as a
whole, which each kind of probe names."""


class Probe(Protocol):
    """A measurement of the features of one layer. A probe never changes the features."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return the part that some rows contribute.

        Args:
            features_BNHW: Consecutive rows of the layer's features, (B, N, H, W).
            top: The index of the first of these rows in the layer, from 0.
        """

    def backward(
        self, features_BNHW: Tensor, top: int, slope: Slope, gradient_BNHW: Tensor
    ) -> None:
        """Add the gradient of the loss with respect to some rows to ``gradient_BNHW``, in place.

        Args:
            features_BNHW: Rows that ``forward`` measured.
            top: The index of the first of these rows in the layer, from 0.
            slope: The slope of the loss, the same for all rows of the layer.
            gradient_BNHW: The gradient at the rows, which is changed.
        """

    @staticmethod
    def merge(parts: Sequence[Part]) -> Part:
        """Return the parts of several rows as the part of them all."""


def positions(x_BNHW: Tensor) -> Tensor:
    """Return a view (B, M, N) of a tensor (B, N, H, W) that is channels last in memory."""
    b, n, h, w = x_BNHW.shape
    return x_BNHW.permute(0, 2, 3, 1).view(b, h * w, n)


class Content:
    """The sum of the squared differences from a target, (B,).

    Args:
        target_BNHW: The target features of the whole layer, (B, N, H, W), in the dtype of the features.
        precision: The dtype of differences and sums; None: that of the target.
    """

    def __init__(self, target_BNHW: Tensor, precision: torch.dtype | None = None) -> None:
        self._target_BNHW = channels_last(target_BNHW)
        self._precision = precision or target_BNHW.dtype

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return sum((F - P)^2) of these rows, (B,)."""
        sums = [d_BMN.square_().sum((1, 2)) for _, d_BMN in self._differences(features_BNHW, top)]
        return (sums[0] if len(sums) == 1 else torch.stack(sums).sum(0),)

    def backward(
        self, features_BNHW: Tensor, top: int, slope: Slope, gradient_BNHW: Tensor
    ) -> None:
        """Add 2 s (F - P), where the slope is (s,), the derivative with respect to the sum, a number."""
        (of_sum,) = slope
        gradient_BMN = positions(gradient_BNHW)
        for rows, d_BMN in self._differences(features_BNHW, top):
            gradient_BMN[:, rows].add_(d_BMN, alpha=2 * of_sum)

    @staticmethod
    def merge(parts: Sequence[Part]) -> Part:
        """Return the sum of the parts."""
        return _sum(parts)

    def _differences(self, features_BNHW: Tensor, top: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield F - P block by block of positions, (B, M, N)."""
        f_BMN = positions(features_BNHW)
        target_BMN = positions(self._target_BNHW[:, :, top : top + features_BNHW.shape[2]])
        for rows in blocks(f_BMN):
            yield rows, f_BMN[:, rows].to(self._precision) - target_BMN[:, rows]


class _Guided:
    """A probe that weights positions by guides.

    Args:
        guides_BRHW: The weight of each position of the whole layer in each region, (B, R, H, W); None: one
            region in which every position counts in full.
        precision: The dtype of the sums over positions.
    """

    def __init__(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> None:
        self._guides = guides_BRHW
        self._precision = precision

    def _weights(self, features_BNHW: Tensor, top: int) -> list[Tensor | None]:
        """Return the weights of some rows (B, M, 1), or None, for each region."""
        if self._guides is None:
            return [None]
        w_BRHW = self._guides[:, :, top : top + features_BNHW.shape[2]]
        return [w_BHW.flatten(1).unsqueeze(2) for w_BHW in w_BRHW.unbind(1)]


class Gram(_Guided):
    """The Gram matrices F^T F, weighted, (B, R, N, N).

    Source: Gatys et al. 2016, eq. 3; with guides Gatys et al. 2017, eq. 7, where the guidance channel is
    the root of the weight.
    """

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return the Gram matrices of these rows: sums over their positions, (B, R, N, N)."""
        f_BMN = positions(features_BNHW)
        grams = [
            second_moment(f_BMN, None, w_BM1, self._precision)
            for w_BM1 in self._weights(features_BNHW, top)
        ]
        return (_by_region(grams),)

    def backward(
        self, features_BNHW: Tensor, top: int, slope: Slope, gradient_BNHW: Tensor
    ) -> None:
        """Add w F A, where the slope is (A,), (B, R, N, N), twice the gradient at the layer's matrices, which
        is symmetric, and w are the weights."""
        (right_BRNN,) = slope
        f_BMN, gradient_BMN = positions(features_BNHW), positions(gradient_BNHW)
        for region, w_BM1 in enumerate(self._weights(features_BNHW, top)):
            add_product(gradient_BMN, f_BMN, None, w_BM1, right_BRNN[:, region])

    @staticmethod
    def merge(parts: Sequence[Part]) -> Part:
        """Return the sum of the parts."""
        return _sum(parts)


class Gaussian(_Guided):
    """The mean (B, R, N), the covariance about that mean (B, R, N, N), and the weight (B, R, 1) of rows.

    Each part has its own mean, because the difference between the second moment and the squared mean of
    the whole layer would lose most digits. For the same reason features are centred before they are
    multiplied.
    """

    def __init__(self, guides_BRHW: Tensor | None, precision: torch.dtype) -> None:
        super().__init__(guides_BRHW, precision)
        self._counts: dict[int, Tensor] = {}

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return the mean, the covariance and the total weight of these rows."""
        f_BMN = positions(features_BNHW)
        means, covariances, weights = [], [], []
        for w_BM1 in self._weights(features_BNHW, top):
            scale, share_BM1 = 1 / f_BMN.shape[1], None
            weight_B1 = self._count(f_BMN) if w_BM1 is None else w_BM1.sum(1)
            if w_BM1 is not None:
                # Where no position counts, all shares are 0.
                least = torch.finfo(w_BM1.dtype).tiny
                scale, share_BM1 = 1.0, w_BM1 / weight_B1.clamp(min=least)[:, None]
            mean_B1N = mean_of(f_BMN, share_BM1, self._precision)
            means.append(mean_B1N[:, 0])
            covariances.append(second_moment(f_BMN, mean_B1N, share_BM1, self._precision, scale))
            weights.append(weight_B1)
        return tuple(map(_by_region, (means, covariances, weights)))

    def backward(
        self, features_BNHW: Tensor, top: int, slope: Slope, gradient_BNHW: Tensor
    ) -> None:
        """Add w (r + (F - m) A), where the slope is (m, r, A) and w are the weights.

        m, (B, R, N), is the mean of the layer. r and A, (B, R, N) and (B, R, N, N), are the gradient at the
        mean and twice that at the covariance, which is symmetric, divided by the total weight of the layer.
        The covariance's dependence on the mean sums to zero.
        """
        mean_BRN, row_BRN, right_BRNN = slope
        f_BMN, gradient_BMN = positions(features_BNHW), positions(gradient_BNHW)
        for region, w_BM1 in enumerate(self._weights(features_BNHW, top)):
            mean_B1N, row_B1N = mean_BRN[:, region, None], row_BRN[:, region, None]
            add_product(gradient_BMN, f_BMN, mean_B1N, w_BM1, right_BRNN[:, region], row_B1N)

    @staticmethod
    def merge(parts: Sequence[Part]) -> Part:
        """Return the mean, the covariance and the weight of all parts together.

        The covariance is that within the parts plus that of the parts' means (Chan, Golub, LeVeque,
        *Updating formulae and a pairwise algorithm for computing sample variances*, 1979).
        """
        if len(parts) == 1:
            return parts[0]
        weights = [weight_BR1 for _, _, weight_BR1 in parts]
        weight_BR1 = torch.stack(weights).sum(0)
        least = torch.finfo(weight_BR1.dtype).tiny
        shares = [w_BR1 / weight_BR1.clamp(min=least) for w_BR1 in weights]
        means = [mean_BRN for mean_BRN, _, _ in parts]
        mean_BRN = torch.stack([s * m for s, m in zip(shares, means, strict=True)]).sum(0)
        covariance_BRNN = torch.zeros_like(parts[0][1])
        for share_BR1, (part_mean_BRN, part_BRNN, _) in zip(shares, parts, strict=True):
            off_BRN = part_mean_BRN - mean_BRN
            between_BRNN = off_BRN.unsqueeze(3) * off_BRN.unsqueeze(2)
            covariance_BRNN = covariance_BRNN + share_BR1.unsqueeze(3) * (part_BRNN + between_BRNN)
        return mean_BRN, covariance_BRNN, weight_BR1

    def _count(self, f_BMN: Tensor) -> Tensor:
        """Return the number of positions as a tensor (B, 1), which is made once for each number."""
        count = f_BMN.shape[1]
        if count not in self._counts:
            self._counts[count] = f_BMN.new_full((len(f_BMN), 1), count, dtype=self._precision)
        return self._counts[count]


class Capture:
    """The features themselves, (B, N, H, W), for use as targets. The probe has no gradient."""

    def forward(self, features_BNHW: Tensor, top: int) -> Part:
        """Return these rows."""
        return (features_BNHW,)

    def backward(
        self, features_BNHW: Tensor, top: int, slope: Slope, gradient_BNHW: Tensor
    ) -> None:
        """Raise NotImplementedError: the features are captured without a gradient."""
        raise NotImplementedError

    @staticmethod
    def merge(parts: Sequence[Part]) -> Part:
        """Return the rows of the parts, which must follow each other."""
        return (torch.cat([rows_BNHW for (rows_BNHW,) in parts], 2),)


def _sum(parts: Sequence[Part]) -> Part:
    """Return the sum of parts of one tensor each."""
    return (sum((part[0] for part in parts[1:]), start=parts[0][0]),)


def _by_region(values: list[Tensor]) -> Tensor:
    """Return the values of each region, (B, ...), as one tensor (B, R, ...)."""
    return values[0].unsqueeze(1) if len(values) == 1 else torch.stack(values, 1)
