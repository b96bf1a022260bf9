"""The losses as pure functions of statistics, with their gradients. They depend on no network and no recipe.

Every function keeps the B pictures apart: it returns one number per picture, so that pictures optimised
together do not affect one another. The gradients are written by hand, because each takes little more than its
loss, and because autograd would start a small operation for every step of the sum.

Shape suffixes: B pictures, N channels, M = H * W positions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stylize.matrix_roots import Factor, overlap


def style_loss(
    gram_BNN: Tensor,
    target_BNN: Tensor,
    positions: int,
    norm: Literal["none", "channels", "elements", "paper"] = "none",
) -> tuple[Tensor, Tensor]:
    """Return c * mean((G - A)^2), the style loss of Gram matrices at one layer, and its gradient at G.

    Source: Gatys et al. 2016, eq. 4, up to the factor c.

    Args:
        gram_BNN: G, the pictures' Gram matrices, (B, N, N).
        target_BNN: A, the styles' Gram matrices, (B, N, N).
        positions: M, the number of positions of the layer.
        norm: Selects c. none: 1; channels: 1/N^2; elements: 1/(N M); paper: 1/(4 M^2), which for
            unnormalised Gram matrices is the paper's 1/(4 N^2 M^2) of the sum.

    Returns:
        The loss of each picture, (B,), and the gradients, (B, N, N).
    """
    n = gram_BNN.shape[1]
    factor = {
        "none": 1.0,
        "channels": 1 / n**2,
        "elements": 1 / (n * positions),
        "paper": 1 / (4 * positions**2),
    }[norm]
    off_BNN = gram_BNN - target_BNN
    loss_B = off_BNN.square().flatten(1).mean(1).mul_(factor)
    return loss_B, off_BNN.mul_(2 * factor / n**2)


def wasserstein_loss(
    off_BN: Tensor, covariance_BNN: Tensor, target_variances_BN: Tensor, target_factor: Factor
) -> tuple[Tensor, Tensor]:
    """Return the squared Wasserstein-2 distance of two Gaussians, and its gradient.

    The distance is |m - m_t|^2 + trace(S_t + S - 2 (S_t^1/2 S S_t^1/2)^1/2). Source: Dowson and Landau, *The
    Frechet distance between multivariate normal distributions*, 1982.

    Args:
        off_BN: m - m_t, the means of the pictures' features less those of the styles', (B, N).
        covariance_BNN: S, the covariances of the pictures' features, (B, N, N).
        target_variances_BN: The diagonals of S_t, the covariances of the styles' features, (B, N).
        target_factor: The factors of S_t, which the caller computes once because they never change.

    Returns:
        The distance of each picture, (B,), and U, (B, N, N): the gradient at S is the identity less 2 U. That
        at m is 2 (m - m_t).
    """
    trace_B, slope_BNN = overlap(covariance_BNN, target_factor)
    variances_BN = covariance_BNN.diagonal(dim1=1, dim2=2) + target_variances_BN
    distance_B = torch.addcmul(variances_BN, off_BN, off_BN).sum(1).sub_(trace_B, alpha=2)
    return distance_B, slope_BNN
