"""Square roots of covariance matrices.

The root of a target is computed once, exactly. The trace of a root is computed at every step and must not
make the host wait, as an eigendecomposition on a GPU does (the host reads back whether it converged).
Devices other than the CPU therefore iterate it with matrix products alone.

Shape suffixes: B matrices, N rows and columns.
"""

from __future__ import annotations

from typing import Any

import torch
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


def trace_of_root(a_BNN: Tensor) -> Tensor:
    """Return trace(A^1/2) of symmetric positive definite matrices. Differentiable.

    The gradient is A^-1/2 / 2, computed directly: the gradient of a general function of eigenvectors
    divides by differences of eigenvalues, and features at few positions have many equal eigenvalues.

    Args:
        a_BNN: The matrices, (B, N, N).

    Returns:
        The traces, (B,).
    """
    function = _ByEigenvalues if a_BNN.device.type == "cpu" else _ByIteration
    trace_B: Tensor = function.apply(a_BNN)
    return trace_B


class _ByEigenvalues(torch.autograd.Function):
    """The trace as the sum of the roots of the eigenvalues: exact, for the CPU."""

    @staticmethod
    def forward(ctx: Any, a_BNN: Tensor) -> Tensor:
        values_BN, vectors_BNN = torch.linalg.eigh((a_BNN + a_BNN.mT) / 2)
        # Rounding can leave the smallest eigenvalues just below zero; their true size is about this.
        floor_B1 = values_BN.amax(1, keepdim=True) * torch.finfo(a_BNN.dtype).eps
        values_BN = torch.maximum(values_BN, floor_B1)
        ctx.save_for_backward(values_BN, vectors_BNN)
        trace_B: Tensor = values_BN.sqrt().sum(1)
        return trace_B

    @staticmethod
    def backward(ctx: Any, grad_B: Tensor) -> Tensor:
        values_BN, vectors_BNN = ctx.saved_tensors
        scaled_BNN = vectors_BNN * (0.5 / values_BN.sqrt())[:, None]
        gradient_BNN: Tensor = grad_B[:, None, None] * (scaled_BNN @ vectors_BNN.mT)
        return gradient_BNN


class _ByIteration(torch.autograd.Function):
    """The trace by Newton and Schulz's coupled iteration, in float32.

    The iteration converges to the root and the inverse root at once (Higham, *Functions of Matrices*,
    2008, eq. 6.35).
    """

    ROUNDS = 16
    """The number of iterations that an eigenvalue of 10^-6 of the largest needs. An eigenvalue that
    rounding has made negative grows 2.25-fold per iteration, from 10^-7 to 1 in twenty."""

    @staticmethod
    def forward(ctx: Any, a_BNN: Tensor) -> Tensor:
        a = a_BNN.float()
        size_B11 = torch.linalg.matrix_norm(a, keepdim=True)
        root = (a + a.mT) / (2 * size_B11)
        inverse = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
        for _ in range(_ByIteration.ROUNDS):
            correction = (inverse @ root).mul_(-0.5)
            correction.diagonal(dim1=1, dim2=2).add_(1.5)
            root, inverse = root @ correction, correction @ inverse
        ctx.save_for_backward(inverse, size_B11)
        trace_B: Tensor = root.diagonal(dim1=1, dim2=2).sum(1) * size_B11[:, 0, 0].sqrt()
        return trace_B.to(a_BNN.dtype)

    @staticmethod
    def backward(ctx: Any, grad_B: Tensor) -> Tensor:
        inverse, size_B11 = ctx.saved_tensors
        half_BNN = (inverse + inverse.mT) / (4 * size_B11.sqrt())
        gradient_BNN: Tensor = grad_B[:, None, None] * half_BNN.to(grad_B.dtype)
        return gradient_BNN
