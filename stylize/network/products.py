"""Matrix products over the positions of a layer, in more precision than its features have.

A layer has far more positions than channels, so its statistics are products of tall matrices. The products
run block by block of positions: on the CPU what is computed of a block is still in the cache when the next
product reads it, and no copy of a whole layer in float32 is ever made.

Features in bfloat16 are exact in float32, and so is what the products are made of. Rounding them again after
they are centred would be magnified: the gradient at a covariance is large where its variance is small. On
pictures of few colours, whose covariances are nearly singular, renders then took several times the steps.

Shape suffixes: B pictures, M positions, N channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 8192
"""The number of positions of a block on the CPU: with 64 channels in float32, 2 MB."""
BLOCK_OF_GPU = 1 << 18
"""The number of positions of a block on other devices, whose work memory it bounds: 64 MB."""


def mean_of(f_BMN: Tensor, weight_BM1: Tensor | None, precision: torch.dtype) -> Tensor:
    """Return sum(w f) over positions, divided by their number where w is 1, (B, 1, N), in ``precision``.

    Args:
        f_BMN: The features f, (B, M, N).
        weight_BM1: The weight w of each position, (B, M, 1), in ``precision``; None: 1.
        precision: The dtype of the sums.
    """
    sum_B1N: Tensor | None = None
    for rows in blocks(f_BMN):
        of_block_BMN = (
            f_BMN[:, rows] if weight_BM1 is None else f_BMN[:, rows] * weight_BM1[:, rows]
        )
        part_B1N = of_block_BMN.sum(1, keepdim=True, dtype=precision)
        sum_B1N = part_B1N if sum_B1N is None else sum_B1N.add_(part_B1N)
    assert sum_B1N is not None
    return sum_B1N.mul_(1 / f_BMN.shape[1]) if weight_BM1 is None else sum_B1N


def second_moment(
    f_BMN: Tensor,
    about_B1N: Tensor | None,
    weight_BM1: Tensor | None,
    precision: torch.dtype,
    scale: float = 1.0,
) -> Tensor:
    """Return scale * sum(w c c^T) over positions, where c = f - a, (B, N, N), in ``precision``.

    Args:
        f_BMN: The features f, (B, M, N).
        about_B1N: The values a, (B, 1, N), in ``precision``; None: 0.
        weight_BM1: The weight w of each position, (B, M, 1), in ``precision``; None: 1.
        precision: The dtype of the products and sums.
        scale: The factor of the sum.
    """
    second_BNN: Tensor | None = None
    for rows in blocks(f_BMN):
        c_BMN = _centred(f_BMN[:, rows], about_B1N, precision)
        w_BMN = c_BMN if weight_BM1 is None else c_BMN * weight_BM1[:, rows]
        if second_BNN is None:
            # Added to 0 times something finite, because a product alone takes no factor.
            second_BNN = torch.baddbmm(c_BMN[:, :1], w_BMN.mT, c_BMN, beta=0, alpha=scale)
        else:
            second_BNN.baddbmm_(w_BMN.mT, c_BMN, alpha=scale)
    assert second_BNN is not None
    return second_BNN


def add_product(
    gradient_BMN: Tensor,
    f_BMN: Tensor,
    about_B1N: Tensor | None,
    weight_BM1: Tensor | None,
    right_BNN: Tensor,
    row_B1N: Tensor | None = None,
) -> None:
    """Add w ((f - a) @ right + row) to a gradient, in place, computed in the dtype of ``right``.

    Args:
        gradient_BMN: The gradient, (B, M, N), in the dtype of the features.
        f_BMN: The features f, (B, M, N).
        about_B1N: The values a, (B, 1, N), in the dtype of ``right``; None: 0.
        weight_BM1: The weight w of each position, (B, M, 1), in the dtype of ``right``; None: 1.
        right_BNN: The right factor, (B, N, N).
        row_B1N: What is added at each position, (B, 1, N), in the dtype of ``right``; None: 0.
    """
    for rows in blocks(f_BMN):
        into_BMN, added = gradient_BMN[:, rows], row_B1N
        c_BMN = _centred(f_BMN[:, rows], about_B1N, right_BNN.dtype)
        if weight_BM1 is not None:
            c_BMN = c_BMN * weight_BM1[:, rows]
            added = None if row_B1N is None else row_B1N * weight_BM1[:, rows]
        if into_BMN.dtype == right_BNN.dtype:
            into_BMN.baddbmm_(c_BMN, right_BNN)
            if added is not None:
                into_BMN.add_(added)
        else:
            into_BMN.add_(c_BMN @ right_BNN if added is None else added.baddbmm(c_BMN, right_BNN))


def _centred(f_BMN: Tensor, about_B1N: Tensor | None, precision: torch.dtype) -> Tensor:
    """Return f - a in ``precision``, in which a is, and the difference therefore computed."""
    return f_BMN.to(precision) if about_B1N is None else f_BMN - about_B1N


def blocks(f_BMN: Tensor) -> Iterator[slice]:
    """Yield slices of positions that together cover a layer.

    Args:
        f_BMN: The layer's features, (B, M, N).
    """
    count = f_BMN.shape[1]
    block = BLOCK if f_BMN.device.type == "cpu" else BLOCK_OF_GPU
    for first in range(0, count, block):
        yield slice(first, first + block)
