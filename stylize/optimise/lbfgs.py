"""Batched L-BFGS: every picture has its own memory, direction and step, and none waits for the host.

The method is Nocedal's limited-memory BFGS without line search, as neural-style uses it. For one picture
its iterates are those of ``torch.optim.LBFGS(max_iter=1, line_search_fn=None)``. The product of the
inverse Hessian and the gradient equals that of the two-loop recursion, in the compact form of Byrd,
Nocedal, Schnabel, *Representations of quasi-Newton matrices and their use in limited memory methods*,
1994, eq. 3.1: two passes over the memory as matrix products, where the recursion makes four passes and, on
a GPU, launches eight small kernels for every remembered pair. torch decides in Python with numbers fetched
from the device; this module decides with ``torch.where``.

Shape suffixes: B pictures, D unknowns per picture, M remembered pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stylize.matrix_roots import precise

CURVATURE_FLOOR = 1e-10
"""A pair whose y.s is at most this has no usable curvature and is not remembered (as in torch)."""

Preconditioner = Callable[[Tensor], Tensor]
"""A symmetric positive definite linear map of gradients, in the shape of x: the inverse Hessian as assumed
before the first step, up to a factor."""


class BatchedLBFGS:
    """Minimises B functions at once, given only their gradients.

    The memory is a ring of ``history`` pairs for each picture. Each ring advances by itself, on the
    device: a step that is of no use to one picture takes no slot in its ring, whatever the others do.

    Args:
        x: The unknowns, any tensor whose first dimension is B, which ``step`` changes in place.
        learning_rate: The factor of each step, > 0.
        history: The number of pairs (s, y) remembered per picture, > 0.
        preconditioner: The inverse Hessian assumed before the first step. None: the identity.
        first_step: The length of the first step, as the root of its mean square, in the units of x and
            before ``learning_rate``. None: at most 1 in the 1-norm, as in torch. Such a step moves no pixel
            of a picture by more than rounding does, and the curvature seen there is noise.
    """

    def __init__(
        self,
        x: Tensor,
        learning_rate: float = 1.0,
        history: int = 100,
        preconditioner: Preconditioner | None = None,
        first_step: float | None = None,
    ) -> None:
        self._x = x
        self._first_step = first_step
        self._history = history
        self._preconditioner = preconditioner
        batch, unknowns = x.shape[0], x[0].numel()
        self._s_BMD = x.new_zeros(batch, history, unknowns)
        self._y_BMD = x.new_zeros(batch, history, unknowns)
        # s.y and y.P(y) of every pair with every other. They are inverted, so they are kept precise.
        self._sy_BMM = precise(x.new_zeros(batch, history, history))
        self._yy_BMM = torch.zeros_like(self._sy_BMM)
        self._kept_BM = torch.zeros(batch, history, dtype=torch.bool, device=x.device)
        self._next_B = torch.zeros(batch, dtype=torch.long, device=x.device)
        self._pictures_B = torch.arange(batch, device=x.device)
        self._slots_M = torch.arange(history, device=x.device)
        self._scale_B1 = x.new_ones(batch, 1)
        self._steps = 0
        self._gradient_BD = x.new_zeros(batch, unknowns)
        self._step_BD = x.new_zeros(batch, unknowns)
        self._rate_B1 = x.new_full((batch, 1), learning_rate)
        self._fresh_B1 = torch.ones(batch, 1, dtype=torch.bool, device=x.device)
        """The pictures that have made no step since their start, so that no curvature is known, (B, 1)."""

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move x one step.

        Args:
            gradient: The gradient at x, in the shape of x.
        """
        gradient_BD = gradient.flatten(1)
        steepest_BD = self._precondition(gradient_BD)
        downhill_BD = steepest_BD * self._first_length(steepest_BD)
        if self._steps > 0:
            newton_BD = self._newton(gradient_BD, steepest_BD)
            anew_B1 = self._fresh_B1
            if self._first_step is not None:
                anew_B1 = anew_B1 | ~self._kept_BM.any(1, keepdim=True)
            downhill_BD = torch.where(anew_B1, downhill_BD, newton_BD)
        self._step_BD = -self._rate_B1 * downhill_BD
        self._x.add_(self._step_BD.view_as(self._x))
        self._gradient_BD = gradient_BD.clone()
        self._fresh_B1 = torch.zeros_like(self._fresh_B1)
        self._steps += 1

    @torch.no_grad()
    def restart(self, which_B: Tensor, slower: float) -> None:
        """Drop the memory of some pictures and shorten their steps.

        Args:
            which_B: The pictures to restart, (B,), boolean.
            slower: The factor of their step length, between 0 and 1.
        """
        self._kept_BM = self._kept_BM & ~which_B[:, None]
        self._fresh_B1 = self._fresh_B1 | which_B[:, None]
        self._rate_B1 = torch.where(which_B[:, None], slower * self._rate_B1, self._rate_B1)

    def moments(self) -> None:
        """Return None: pairs remembered at one size have no meaning at another."""

    def _first_length(self, steepest_BD: Tensor) -> Tensor:
        """Return the factor from the steepest descent to the first step, (B, 1)."""
        if self._first_step is None:
            return (1 / steepest_BD.abs().sum(1, keepdim=True)).clamp(max=1.0)
        root_B1 = steepest_BD.square().mean(1, keepdim=True).sqrt()
        return self._first_step / root_B1.clamp(min=torch.finfo(root_B1.dtype).tiny)

    def _precondition(self, v_BD: Tensor) -> Tensor:
        if self._preconditioner is None:
            return v_BD
        return self._preconditioner(v_BD.view_as(self._x)).flatten(1)

    def _newton(self, gradient_BD: Tensor, steepest_BD: Tensor) -> Tensor:
        """Remember the last step, then return H g, (B, D)."""
        s_BD, y_BD = self._step_BD, gradient_BD - self._gradient_BD
        py_BD = self._precondition(y_BD)
        usable_B1 = self._store(s_BD, y_BD, py_BD)

        # All products with the memory, in one pass over each of its halves.
        count = min(self._steps, self._history)
        s_BMD, y_BMD = self._s_BMD[:, :count], self._y_BMD[:, :count]
        of_s_BM2 = precise(s_BMD @ torch.stack([gradient_BD, y_BD], 2))
        of_y_BM3 = precise(y_BMD @ torch.stack([steepest_BD, s_BD, py_BD], 2))
        _put(self._sy_BMM, self._next_B, usable_B1, row=of_y_BM3[..., 1], column=of_s_BM2[..., 1])
        _put(self._yy_BMM, self._next_B, usable_B1, row=of_y_BM3[..., 2], column=of_y_BM3[..., 2])
        self._next_B = (self._next_B + usable_B1[:, 0].long()) % self._history

        # R is the upper triangle of s.y in order of age, and D is its diagonal. An empty slot is a pair
        # of zeros, with 1 where it is a divisor.
        order_BM = (self._next_B[:, None] + self._slots_M[:count]) % count
        kept_BM = self._kept_BM.gather(1, order_BM)
        both_BMM = kept_BM.unsqueeze(1) & kept_BM.unsqueeze(2)
        sy_BMM = torch.where(both_BMM, _reordered(self._sy_BMM, order_BM), 0)
        yy_BMM = torch.where(both_BMM, _reordered(self._yy_BMM, order_BM), 0)
        diagonal_BM1 = sy_BMM.diagonal(dim1=1, dim2=2).masked_fill(~kept_BM, 1).unsqueeze(2)
        r_BMM = sy_BMM.triu(1) + torch.diag_embed(diagonal_BM1[..., 0])
        sg_BM1 = torch.where(kept_BM, of_s_BM2[..., 0].gather(1, order_BM), 0).unsqueeze(2)
        yg_BM1 = torch.where(kept_BM, of_y_BM3[..., 0].gather(1, order_BM), 0).unsqueeze(2)

        # H g = c P g + S R^-T ((D + c Y^T P Y) R^-1 S^T g - c Y^T P g) - c P Y R^-1 S^T g.
        c_B11 = self._scale_B1.to(sy_BMM).unsqueeze(2)
        a_BM1 = torch.linalg.solve_triangular(r_BMM, sg_BM1, upper=True)
        b_BM1 = diagonal_BM1 * a_BM1 + c_B11 * (yy_BMM @ a_BM1 - yg_BM1)
        u_BM1 = torch.linalg.solve_triangular(r_BMM.mT, b_BM1, upper=False)
        back_BM = order_BM.argsort(1)
        a_B1M, u_B1M = (v[..., 0].gather(1, back_BM).unsqueeze(1).to(y_BMD) for v in (a_BM1, u_BM1))
        pulled_BD = self._precondition(gradient_BD - (a_B1M @ y_BMD)[:, 0])
        newton_BD: Tensor = self._scale_B1 * pulled_BD + (u_B1M @ s_BMD)[:, 0]
        return newton_BD

    def _store(self, s_BD: Tensor, y_BD: Tensor, py_BD: Tensor) -> Tensor:
        """Store a pair in the next slot of the pictures that can use it. Return which can, (B, 1)."""
        ys_B1 = (y_BD * s_BD).sum(1, keepdim=True)
        usable_B1 = (ys_B1 > CURVATURE_FLOOR) & (ys_B1 < torch.inf) & ~self._fresh_B1
        rows_B = self._pictures_B * self._history + self._next_B
        for ring, new_BD in ((self._s_BMD, s_BD), (self._y_BMD, y_BD)):
            flat_RD = ring.view(-1, ring.shape[2])
            flat_RD.index_copy_(
                0, rows_B, torch.where(usable_B1, new_BD, flat_RD.index_select(0, rows_B))
            )
        scale_B1 = ys_B1 / (y_BD * py_BD).sum(1, keepdim=True)
        self._scale_B1 = torch.where(usable_B1, scale_B1, self._scale_B1)
        new_BM = (self._slots_M == self._next_B[:, None]) & usable_B1
        self._kept_BM = self._kept_BM | new_BM
        return usable_B1


def _put(
    matrix_BMM: Tensor, at_B: Tensor, usable_B1: Tensor, *, row: Tensor, column: Tensor
) -> None:
    """Write row and column ``at_B`` of each matrix whose picture can use them. Both may be shorter than the
    matrix, the rest of which is not in use yet."""
    count = row.shape[1]
    part_BMM = matrix_BMM[:, :count, :count]
    at_B1 = at_B[:, None]
    here_BM = (torch.arange(count, device=at_B.device) == at_B1) & usable_B1
    part_BMM.copy_(torch.where(here_BM.unsqueeze(2), row.unsqueeze(1), part_BMM))
    part_BMM.copy_(torch.where(here_BM.unsqueeze(1), column.unsqueeze(2), part_BMM))


def _reordered(matrix_BMM: Tensor, order_BM: Tensor) -> Tensor:
    """Return each matrix with its rows and columns in this order."""
    count = order_BM.shape[1]
    rows_BMM = matrix_BMM[:, :count, :count].gather(1, order_BM.unsqueeze(2).expand(-1, -1, count))
    return rows_BMM.gather(2, order_BM.unsqueeze(1).expand(-1, count, -1))
