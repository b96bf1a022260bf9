"""Square roots of covariances.

A root that is taken once, of a target, is exact. The trace of one that is taken at every step must not
make the host wait, as an eigendecomposition on a GPU does (it is asked there whether it converged), so off
the CPU it is iterated: matrix products only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def precise(a: Tensor) -> Tensor:
    """In double precision, where the device has it: roots magnify what rounding does to eigenvalues
    a million times smaller than the largest."""
    return a if a.device.type == "mps" else a.double()


def matrix_root(a_BNN: Tensor) -> Tensor:
    """The symmetric square root of symmetric positive semidefinite matrices (..., N, N), as precise as
    the device has it. Not differentiable; waits for the device."""
    # Apple's GPUs have no double precision, and for long had no eigenvectors.
    where = torch.device("cpu") if a_BNN.device.type == "mps" else a_BNN.device
    values_BN, vectors_BNN = torch.linalg.eigh(precise(a_BNN.to(where)))
    roots_BN = values_BN.clamp(min=0).sqrt()
    root_BNN = (vectors_BNN * roots_BN.unsqueeze(-2)) @ vectors_BNN.mT
    back_BNN: Tensor = root_BNN.to(precise(a_BNN).dtype).to(a_BNN.device)
    return back_BNN


def trace_of_root(a_BNN: Tensor) -> Tensor:
    """trace(A^1/2) of symmetric positive definite matrices (B, N, N): (B,). Differentiable.

    Its gradient is A^-1/2 / 2. That of a general function of eigenvectors divides by differences of
    eigenvalues, of which features of few positions have many that are equal.
    """
    function = _ByEigenvalues if a_BNN.device.type == "cpu" else _ByIteration
    trace_B: Tensor = function.apply(a_BNN)
    return trace_B


class _ByEigenvalues(torch.autograd.Function):
    """Exact."""

    @staticmethod
    def forward(ctx: Any, a_BNN: Tensor) -> Tensor:
        values_BN, vectors_BNN = torch.linalg.eigh((a_BNN + a_BNN.mT) / 2)
        # Rounding may leave the smallest a little below zero; their true size is about this.
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
    """Newton and Schulz's coupled iteration, which tends to root and inverse root at once (Higham,
    *Functions of Matrices*, 2008, eq. 6.35), in float32."""

    ROUNDS = 16
    """An eigenvalue 10^-6 of the largest takes so many. One that rounding has made negative grows
    2.25-fold in every round, from 10^-7 to 1 in twenty."""

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
