"""The losses, as pure functions of statistics and pixels. Nothing here knows a network or a recipe.

Every function keeps the B pictures apart: it returns one number per picture, so that pictures
optimised together do not see one another.

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
    """c * mean((G - A)^2): (B,). Gatys et al. 2016, eq. 4, up to the factor c.

    c is 1, 1/N^2 (channels), 1/(N M) (elements), or 1/(4 M^2) (paper: of unnormalised matrices this
    is 1/(4 N^2 M^2) of the sum). ``positions`` is M.
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
    """The Wasserstein-2 distance of two Gaussians, each of its terms as a mean: (B,).

    mean((m - m_t)^2) + mean(diag(S_t + S - 2 (S_t^1/2 S S_t^1/2)^1/2)), with means m and m_t and
    covariances S and S_t; the target's root S_t^1/2 is given, for it never changes. Dowson and Landau,
    *The Frechet distance between multivariate normal distributions*, 1982.
    """
    product_BNN = target_root_BNN @ covariance_BNN.to(target_root_BNN) @ target_root_BNN
    trace_B = trace_of_root(product_BNN).to(mean_BN)
    variances_BN = (covariance_BNN + target_covariance_BNN).diagonal(dim1=1, dim2=2)
    bures_B = variances_BN.mean(1) - 2 * trace_B / mean_BN.shape[1]
    distance_B: Tensor = (mean_BN - target_mean_BN).square().mean(1) + bures_B
    return distance_B


def total_variation(x_B3HW: Tensor) -> Tensor:
    """The sum of squared differences of vertical and horizontal neighbours: (B,)."""
    down = (x_B3HW[:, :, 1:] - x_B3HW[:, :, :-1]).square().flatten(1).sum(1)
    across = (x_B3HW[..., 1:] - x_B3HW[..., :-1]).square().flatten(1).sum(1)
    return down + across


def absolute_variation(x_B3HW: Tensor) -> Tensor:
    """The sum of absolute differences of vertical and horizontal neighbours: (B,)."""
    down = (x_B3HW[:, :, 1:] - x_B3HW[:, :, :-1]).abs().flatten(1).sum(1)
    across = (x_B3HW[..., 1:] - x_B3HW[..., :-1]).abs().flatten(1).sum(1)
    return down + across


def nine_point_variation(x_B3HW: Tensor) -> Tensor:
    """2 (a / 3 + b / 3 + c / 12 + d / 12): (B,), where a and b are the mean squared differences of
    horizontal and vertical neighbours, c and d of diagonal ones; edges are replicated."""
    p = F.pad(x_B3HW, (1, 1, 1, 1), mode="replicate")
    middle = p[..., 1:-1, 1:-1]
    across = p[..., 1:-1, 2:] - middle
    down = p[..., 2:, 1:-1] - middle
    falling = p[..., 1:, 1:] - p[..., :-1, :-1]
    rising = p[..., 1:, :-1] - p[..., :-1, 1:]
    a, b, c, d = (diff.square().flatten(1).mean(1) for diff in (across, down, falling, rising))
    return 2 * ((a + b) / 3 + (c + d) / 12)
