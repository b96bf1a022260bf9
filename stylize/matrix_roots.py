"""Square roots of covariance matrices, and the overlap of two covariances.

What concerns a target alone is computed once, exactly. The overlap of a picture's covariance S and a target
S_t, trace((S_t^1/2 S S_t^1/2)^1/2), is computed at every step and must not make the host wait, as an
eigendecomposition on a GPU does (the host reads back whether it converged). Devices other than the CPU
therefore iterate it with matrix products alone.

The eigenvalues of S_t^1/2 S S_t^1/2 spread over the square of the range of the covariances': ten orders of
magnitude and more, of which float32 has seven. Neither way therefore forms that product in float32: the CPU
scales S in the eigenvectors of S_t, then decomposes it in float64; the iteration works on a factor of the
product, whose singular values spread over the root of that range.

A start from the root of the step before would not help: Newton and Schulz's iteration converges to the root
only from a start that commutes with the matrix, and otherwise to another factor.

Shape suffixes: B matrices, N rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def precise(a: Tensor) -> Tensor:
    """Return a tensor in float64, or unchanged on Apple's GPUs, which have none.

    Roots magnify the rounding errors of eigenvalues a million times smaller than the largest.
    """
    return a if a.device.type == "mps" else a.double()


def matrix_root(a_BNN: Tensor) -> Tensor:
    """Return the symmetric square roots of symmetric positive semidefinite matrices.

    The function is not differentiable and waits for the device.

    Args:
        a_BNN: The matrices, (..., N, N). Negative eigenvalues, which rounding causes, count as 0.

    Returns:
        The roots, (..., N, N), in float64; float32 on Apple's GPUs.
    """
    # Apple's GPUs have no double precision, and long had no eigenvectors.
    where = torch.device("cpu") if a_BNN.device.type == "mps" else a_BNN.device
    values_BN, vectors_BNN = torch.linalg.eigh(precise(a_BNN.to(where)))
    roots_BN = values_BN.clamp(min=0).sqrt()
    root_BNN = (vectors_BNN * roots_BN.unsqueeze(-2)) @ vectors_BNN.mT
    back_BNN: Tensor = root_BNN.to(precise(a_BNN).dtype).to(a_BNN.device)
    return back_BNN


class Factor(NamedTuple):
    """A target's covariance S_t = V diag(d)^2 V^T."""

    vectors_BNN: Tensor
    """V, the eigenvectors as columns, (B, N, N)."""
    scales_BN: Tensor
    """d, the roots of the eigenvalues, (B, N), > 0."""
    lacking_B1: Tensor
    """What sums of N products in the matrices' precision lack, relative to the largest, (B, 1)."""


def factorise(a_BNN: Tensor) -> Factor:
    """Return the factors of symmetric positive definite matrices. Waits for the device.

    Args:
        a_BNN: The matrices, (B, N, N).

    Returns:
        The factors, in the dtype and on the device of the matrices.
    """
    where = torch.device("cpu") if a_BNN.device.type == "mps" else a_BNN.device
    values_BN, vectors_BNN = torch.linalg.eigh(precise(a_BNN.to(where)))
    floor_B1 = values_BN.amax(1, keepdim=True) * torch.finfo(values_BN.dtype).eps
    scales_BN = torch.maximum(values_BN, floor_B1).sqrt()
    # Cholesky's factors exist only of what is positive.
    lacking = 2 * math.sqrt(a_BNN.shape[1]) * torch.finfo(a_BNN.dtype).eps
    return Factor(
        vectors_BNN.to(a_BNN), scales_BN.to(a_BNN), a_BNN.new_full((len(a_BNN), 1), lacking)
    )


def padded(factors: Sequence[Factor]) -> Factor:
    """Return the factors of matrices of several sizes as those of matrices as large as the largest.

    The smaller ones are filled up with zeros. Where A is, too, they add nothing to what the iteration finds
    as the trace, and the gradient there is 0. That is not so of the CPU's eigenvectors.
    """
    return Factor(*(stacked(column) for column in zip(*factors, strict=True)))


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Return tensors of several sizes N, (b, N) or (b, N, N), one after another, all as large as the largest.

    The smaller ones are filled up with zeros.
    """
    if len(values) == 1:
        return values[0]
    most = max(value.shape[1] for value in values)
    missing = [(value, (0, most - value.shape[1]) * (value.ndim - 1)) for value in values]
    return torch.cat([F.pad(value, rim) if any(rim) else value for value, rim in missing])


def overlap(a_BNN: Tensor, factor: Factor) -> tuple[Tensor, Tensor]:
    """Return trace((T^1/2 A T^1/2)^1/2) for covariances A and targets T, and its gradient at A.

    The gradient is half the symmetric M for which M A M = T, the linear map that transports a Gaussian of
    covariance A to one of covariance T (Olkin and Pukelsheim, *The distance between two random vectors with
    given dispersion matrices*, 1982). Computed directly it divides by no differences of eigenvalues, of which
    features at few positions have many equal ones.

    Args:
        a_BNN: A, symmetric positive definite up to rounding, (B, N, N).
        factor: The factor of T.

    Returns:
        The traces, (B,), and the gradients, (B, N, N).
    """
    return (_by_eigenvalues if a_BNN.device.type == "cpu" else _by_iteration)(a_BNN, factor)


def _by_eigenvalues(a_BNN: Tensor, factor: Factor) -> tuple[Tensor, Tensor]:
    """The trace as the sum of the roots of the eigenvalues: exact, for the CPU."""
    v_BNN, d_BN, _ = factor
    c_BNN = precise(v_BNN.mT @ a_BNN @ v_BNN) * d_BN.unsqueeze(1) * d_BN.unsqueeze(2)
    # LAPACK refuses what is not finite, but a render that has blown up has a loss, too: an infinite one.
    finite_B = c_BNN.isfinite().flatten(1).all(1)
    c_BNN = torch.where(finite_B.view(-1, 1, 1), (c_BNN + c_BNN.mT) / 2, 0)
    values_BN, vectors_BNN = torch.linalg.eigh(c_BNN)
    trace_B = torch.where(finite_B, values_BN.clamp(min=0).sqrt().sum(1), torch.inf)
    # Rounding leaves the smallest eigenvalues about this far from their true size, or below zero.
    floor_B1 = values_BN.amax(1, keepdim=True) * torch.finfo(values_BN.dtype).eps
    floor_B1 = floor_B1.clamp(min=torch.finfo(a_BNN.dtype).tiny)
    scaled_BNN = (vectors_BNN * torch.maximum(values_BN, floor_B1).pow(-0.25).unsqueeze(1)).to(
        a_BNN
    )
    half_BNN = (v_BNN * d_BN.unsqueeze(1)) @ scaled_BNN
    return trace_B.to(a_BNN), (half_BNN @ half_BNN.mT).mul_(0.5)


ROUNDS = 13
"""The number of iterations after which a singular value of 10^-5 of the largest has become 1 within 1%."""

SMALLEST = 1e-4
"""The singular value, relative to the largest, for which the scaling of the iteration is the best."""


def _by_iteration(a_BNN: Tensor, factor: Factor) -> tuple[Tensor, Tensor]:
    """The trace as trace(Q^T K), where K K^T is the product and Q the polar factor of K, for GPUs.

    K is diag(d) times the Cholesky factor of A among the eigenvectors of T. Q is found by Newton and Schulz's
    iteration, whose steps are scaled as Chen and Chow, *A stable scaling of Newton-Schulz for improving the
    sign function computation of a Hermitian matrix*, 2014, section 3, do it. The trace is good to the square
    of Q's error, because Q maximises it among all orthogonal matrices.
    """
    v_BNN, d_BN, lacking_B1 = factor
    c_BNN = v_BNN.mT @ a_BNN @ v_BNN
    variances_BN = c_BNN.diagonal(dim1=1, dim2=2)
    variances_BN.addcmul_(variances_BN.amax(1, keepdim=True), lacking_B1)
    lower_BNN, failed_B = torch.linalg.cholesky_ex(c_BNN)
    lower_BNN = torch.where(
        failed_B.view(-1, 1, 1) > 0, torch.diag_embed(variances_BN.sqrt()), lower_BNN
    )
    k_BNN = d_BN.unsqueeze(2) * lower_BNN
    q_BNN = k_BNN / torch.linalg.matrix_norm(k_BNN, keepdim=True)
    for factor_1, factor_3 in _scaled_steps():
        q_BNN = torch.baddbmm(q_BNN, q_BNN @ q_BNN.mT, q_BNN, beta=factor_1, alpha=-factor_3)
    trace_B = (q_BNN * k_BNN).sum((1, 2))
    right_BNN = torch.linalg.solve_triangular(lower_BNN, q_BNN, upper=False, left=False)
    map_BNN = (v_BNN * d_BN.unsqueeze(1)) @ right_BNN @ v_BNN.mT
    return trace_B, (map_BNN + map_BNN.mT).mul_(0.25)


def _scaled_steps() -> Iterator[tuple[float, float]]:
    """Yield p and q of each iteration X <- p X - q X X^T X."""
    smallest = SMALLEST
    for _ in range(ROUNDS):
        a = math.sqrt(3 / (1 + smallest + smallest**2))
        yield 1.5 * a, 0.5 * a**3
        smallest = 1.5 * a * smallest - 0.5 * (a * smallest) ** 3
