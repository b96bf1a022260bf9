"""The losses as pure functions of statistics and pixels. They depend on no network and no recipe.

Every function keeps the B pictures apart: it returns one number per picture, so that pictures optimised
together do not affect one another.

Shape suffixes: B pictures, N channels, H height, W width, M = H * W positions.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.matrix_roots import trace_of_root


def style_loss(
    gram_BNN: Tensor,
    target_BNN: Tensor,
    positions: int,
    norm: Literal["none", "channels", "elements", "paper"] = "none",
) -> Tensor:
    """Return c * mean((G - A)^2), the style loss of Gram matrices at one layer.

    Source: Gatys et al. 2016, eq. 4, up to the factor c.

    Args:
        gram_BNN: G, the pictures' Gram matrices, (B, N, N).
        target_BNN: A, the styles' Gram matrices, (B, N, N).
        positions: M, the number of positions of the layer.
        norm: Selects c. none: 1; channels: 1/N^2; elements: 1/(N M); paper: 1/(4 M^2), which for
            unnormalised Gram matrices is the paper's 1/(4 N^2 M^2) of the sum.

    Returns:
        The loss of each picture, (B,).
    """
    n = gram_BNN.shape[1]
    factor = {
        "none": 1.0,
        "channels": 1 / n**2,
        "elements": 1 / (n * positions),
        "paper": 1 / (4 * positions**2),
    }[norm]
    return factor * (gram_BNN - target_BNN).square().flatten(1).mean(1)


def wasserstein_loss(
    mean_BN: Tensor,
    covariance_BNN: Tensor,
    target_mean_BN: Tensor,
    target_covariance_BNN: Tensor,
    target_root_BNN: Tensor,
) -> Tensor:
    """Return the squared Wasserstein-2 distance of two Gaussians, with each term as a mean over channels.

    The distance is mean((m - m_t)^2) + mean(diag(S_t + S - 2 (S_t^1/2 S S_t^1/2)^1/2)). Source: Dowson
    and Landau, *The Frechet distance between multivariate normal distributions*, 1982.

    Args:
        mean_BN: m, the means of the pictures' features, (B, N).
        covariance_BNN: S, the covariances of the pictures' features, (B, N, N).
        target_mean_BN: m_t, the means of the styles' features, (B, N).
        target_covariance_BNN: S_t, the covariances of the styles' features, (B, N, N).
        target_root_BNN: S_t^1/2, (B, N, N), which the caller computes once because it never changes. Its
            dtype is the dtype of the matrix products.

    Returns:
        The distance of each picture, (B,).
    """
    product_BNN = target_root_BNN @ covariance_BNN.to(target_root_BNN) @ target_root_BNN
    trace_B = trace_of_root(product_BNN).to(mean_BN)
    variances_BN = (covariance_BNN + target_covariance_BNN).diagonal(dim1=1, dim2=2)
    bures_B = variances_BN.mean(1) - 2 * trace_B / mean_BN.shape[1]
    distance_B: Tensor = (mean_BN - target_mean_BN).square().mean(1) + bures_B
    return distance_B


def total_variation(x_B3HW: Tensor) -> Tensor:
    """Return sum((x_below - x)^2) + sum((x_right - x)^2), the squared differences of neighbours.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in any units.

    Returns:
        The sum over channels and positions for each picture, (B,), in those units squared.
    """
    down = (x_B3HW[:, :, 1:] - x_B3HW[:, :, :-1]).square().flatten(1).sum(1)
    across = (x_B3HW[..., 1:] - x_B3HW[..., :-1]).square().flatten(1).sum(1)
    return down + across


def absolute_variation(x_B3HW: Tensor) -> Tensor:
    """Return sum(|x_below - x|) + sum(|x_right - x|), the absolute differences of neighbours.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in any units.

    Returns:
        The sum over channels and positions for each picture, (B,), in those units.
    """
    down = (x_B3HW[:, :, 1:] - x_B3HW[:, :, :-1]).abs().flatten(1).sum(1)
    across = (x_B3HW[..., 1:] - x_B3HW[..., :-1]).abs().flatten(1).sum(1)
    return down + across


def nine_point_variation(x_B3HW: Tensor) -> Tensor:
    """Return 2 (a / 3 + b / 3 + c / 12 + d / 12), the mean squared differences of neighbours.

    a and b are the mean squared differences of horizontal and vertical neighbours, c and d those of the
    neighbours along the two diagonals. The pictures' edges are replicated.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in any units.

    Returns:
        The variation of each picture, (B,), in those units squared.
    """
    p = F.pad(x_B3HW, (1, 1, 1, 1), mode="replicate")
    middle = p[..., 1:-1, 1:-1]
    across = p[..., 1:-1, 2:] - middle
    down = p[..., 2:, 1:-1] - middle
    falling = p[..., 1:, 1:] - p[..., :-1, :-1]
    rising = p[..., 1:, :-1] - p[..., :-1, 1:]
    a, b, c, d = (diff.square().flatten(1).mean(1) for diff in (across, down, falling, rising))
    return 2 * ((a + b) / 3 + (c + d) / 12)
