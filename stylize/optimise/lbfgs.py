"""Batched L-BFGS: every picture has its own memory, direction and step, and none waits for the host.

The method is Nocedal's limited-memory BFGS without line search, as neural-style uses it. For one picture
its iterates are those of ``torch.optim.LBFGS(max_iter=1, line_search_fn=None)``. The product of the
inverse Hessian and the gradient equals that of the two-loop recursion, in the compact form of Byrd,
Nocedal, Schnabel, *Representations of quasi-Newton matrices and their use in limited memory methods*,
1994, eq. 3.1: two passes over the memory as matrix products, where the recursion makes four passes and, on
a GPU, launches eight small kernels for every remembered pair. torch decides in Python with numbers fetched
from the device; this module decides with ``torch.where``.

Shape suffixes: B pictures, D unknowns per picture, M remembered pairs, K vectors multiplied together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from stylize.bands.band import Band
from stylize.matrix_roots import precise
from stylize.optimise.local_curvature import LocalCurvature, local_curvature
from stylize.optimise.pair_ring import PairRing

CURVATURE_FLOOR = 1e-10
"""A pair whose y.s is at most this has no usable curvature and is not remembered (as in torch)."""

Sum = Callable[[Tensor], Tensor]
"""Adds what other processes have computed from their unknowns of the same pictures."""

Preconditioner = Callable[[Tensor], Tensor]
"""A symmetric positive definite linear map of gradients, in the shape of x: the inverse Hessian as assumed
before the first step, up to a factor. It returns a new tensor."""


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
        dtype: The precision in which pairs are remembered; None: that of x. Everything else is computed in
            that of x, from the pairs as they are remembered: a product of rounded and unrounded vectors
            would be that of no symmetric matrix.
        over_all: Completes sums over unknowns, where x are not all unknowns of the pictures. None: they are.
        unknowns: The number of all unknowns of a picture; None: that of x.
    """

    def __init__(
        self,
        x: Tensor,
        learning_rate: float = 1.0,
        history: int = 100,
        preconditioner: Preconditioner | None = None,
        first_step: float | None = None,
        dtype: torch.dtype | None = None,
        over_all: Sum | None = None,
        unknowns: int | None = None,
    ) -> None:
        self._x = x
        self._over_all = over_all or (lambda x: x)
        self._unknowns = unknowns or x[0].numel()
        self._first_step = first_step
        self._history = history
        self._preconditioner = preconditioner
        batch = len(x)
        self._s = PairRing(x, history, x[0].numel(), dtype or x.dtype)
        self._y = PairRing(x, history, x[0].numel(), dtype or x.dtype)
        # s.y and y.P(y) of every pair with every other. They are inverted, so they are kept precise.
        self._products_B2MM = precise(x.new_zeros(batch, 2, history, history))
        self._kept_BM = torch.zeros(batch, history, dtype=torch.bool, device=x.device)
        self._next_B = torch.zeros(batch, dtype=torch.long, device=x.device)
        self._slots_M = torch.arange(history, device=x.device)
        self._zero, self._one = (self._products_B2MM.new_full((), value) for value in (0, 1))
        self._scale_B1 = x.new_ones(batch, 1)
        self.used = 0
        """The number of slots that may hold a pair: the steps made, at most ``history``."""
        self._grows = True
        self._gradient_BD = torch.zeros_like(x.flatten(1))
        self._step_BD = torch.zeros_like(self._gradient_BD)
        self._minus_rate_B1 = x.new_full((batch, 1), -learning_rate)
        self._least_B1 = x.new_full((batch, 1), torch.inf)
        """The curvature y.s above which a step is remembered; infinite for a picture that has made none since
        its start, (B, 1)."""

    # Every tensor as large as x costs 12 bytes per pixel at the peak of a render. They are therefore
    # dropped, and overwritten where they belong to this module, as soon as they have been used. What is kept
    # from step to step never changes its place, so that a step can be recorded and replayed.

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move x one step.

        Args:
            gradient: The gradient at x, in the shape of x.
        """
        gradient_BD = gradient.flatten(1)
        self._set_direction(gradient_BD)
        self._x.add_(self._step_BD.mul_(self._minus_rate_B1).view_as(self._x))
        self._gradient_BD.copy_(gradient_BD)
        self._least_B1.fill_(CURVATURE_FLOOR)
        self.used = min(self.used + 1, self._history) if self._grows else self._history

    def settle(self) -> None:
        """Use all slots from the second step on, also while they are empty, so that all steps are alike."""
        self._grows = False

    @torch.no_grad()
    def restart(self, which_B: Tensor, slower: float) -> None:
        """Drop the memory of some pictures and shorten their steps.

        Args:
            which_B: The pictures to restart, (B,), boolean.
            slower: The factor of their step length, between 0 and 1.
        """
        which_B1, rate_B1 = which_B[:, None], self._minus_rate_B1
        self._kept_BM.masked_fill_(which_B1, False)
        self._products_B2MM.masked_fill_(which_B[:, None, None, None], 0)
        self._least_B1.masked_fill_(which_B1, torch.inf)
        torch.where(which_B1, slower * rate_B1, rate_B1, out=rate_B1)

    @torch.no_grad()
    def carried(self, band: Band | None = None) -> LocalCurvature | None:
        """Return the curvature by place, of x of shape (B, 3, H, W), for the next preconditioner.

        Args:
            band: The rows of the pictures that x are; None: all.

        The pairs themselves mean little at another size: 20 of them, resized, saved no step.
        """
        if self._preconditioner is None:
            return None
        height, width = self._x.shape[2:]
        return local_curvature(self._s, self._y, self._kept_BM, (height, width), band)

    def _set_direction(self, gradient_BD: Tensor) -> None:
        """Set the step to H g, or to c P g where no curvature is known."""
        if self.used == 0:
            steepest_BD = self._precondition(gradient_BD)
            torch.mul(steepest_BD, self._first_length(steepest_BD), out=self._step_BD)
            return

        found_BM5, length_B1, new_BM = self._learn(gradient_BD)
        a_B1M, u_B1M = self._weights(found_BM5, new_BM)
        if self._first_step is None:
            known_B1 = self._least_B1 < torch.inf
        else:
            known_B1 = self._kept_BM.any(1, keepdim=True)
        scale_B1 = torch.where(known_B1, self._scale_B1, length_B1)
        # H g = c P (g - Y a) + S u; without pairs, a and u are 0.
        pulled_BD = self._y.add_combined(a_B1M, self._gradient_BD.copy_(gradient_BD), factor=-1)
        torch.mul(self._precondition(pulled_BD), scale_B1, out=self._step_BD)
        self._s.add_combined(u_B1M, self._step_BD)

    def _dot(self, one_BD: Tensor, other_BD: Tensor) -> Tensor:
        """Return the products of vectors, (B, 1)."""
        return self._over_all((one_BD * other_BD).sum(1, keepdim=True))

    def _first_length(self, steepest_BD: Tensor) -> Tensor:
        """Return the factor from the steepest descent to the first step, (B, 1)."""
        if self._first_step is None:
            sum_B1 = self._over_all(steepest_BD.abs().sum(1, keepdim=True))
            return (1 / sum_B1).clamp(max=1.0)
        squares_B1 = self._dot(steepest_BD, steepest_BD)
        least = torch.finfo(squares_B1.dtype).tiny
        root = self._first_step * math.sqrt(self._unknowns)
        return squares_B1.clamp_(min=least).rsqrt_().mul_(root)

    def _precondition(self, v_BD: Tensor) -> Tensor:
        if self._preconditioner is None:
            return v_BD
        return self._preconditioner(v_BD.view_as(self._x)).flatten(1)

    def _learn(self, gradient_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Remember the last step. The last gradient is overwritten.

        Returns:
            S^T [g, y] and Y^T [P g, s, P y], (B, M, 5); the factor of a first step, (B, 1); and in which
            slots there is a new pair, (B, M).
        """
        s_BD = self._step_BD
        y_BD = torch.sub(gradient_BD, self._gradient_BD, out=self._gradient_BD)
        ys_B1, usable_B1, new_BM = self._store(s_BD, y_BD)
        py_BD = self._precondition(y_BD)
        scale_B1 = ys_B1.div_(self._dot(y_BD, py_BD))
        torch.where(usable_B1, scale_B1, self._scale_B1, out=self._scale_B1)

        # All products with the memory, in one pass over each of its halves.
        of_s_BM2 = self._over_all(self._s.products([gradient_BD, y_BD], self.used))
        py_BD = y_BD.copy_(py_BD)
        steepest_BD = self._precondition(gradient_BD)
        length_B1 = self._first_length(steepest_BD)
        of_y_BM3 = self._over_all(self._y.products([steepest_BD, s_BD, py_BD], self.used))
        return torch.cat([of_s_BM2, of_y_BM3], 2), length_B1, new_BM

    def _store(self, s_BD: Tensor, y_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Round a pair, and store it in the next slot of the pictures that can use it.

        Returns:
            y.s, (B, 1); which pictures can use the pair, (B, 1); and in which slots it now is, (B, M).
        """
        kept_s_BD, kept_y_BD = self._s.round(s_BD), self._y.round(y_BD)
        ys_B1 = self._dot(y_BD, s_BD)
        usable_B1 = (ys_B1 > self._least_B1) & (ys_B1 < torch.inf)
        self._s.put(kept_s_BD, self._next_B, usable_B1)
        self._y.put(kept_y_BD, self._next_B, usable_B1)
        new_BM = (self._slots_M == self._next_B[:, None]) & usable_B1
        self._kept_BM |= new_BM
        self._next_B.add_(usable_B1[:, 0]).remainder_(self._history)
        return ys_B1, usable_B1, new_BM

    def _weights(self, found_BM5: Tensor, new_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights a of y and u of s in H g = c P (g - Y a) + S u, each (B, 1, M).

        Args:
            found_BM5: S^T [g, y] and Y^T [P g, s, P y], of the slots in use.
            new_BM: The slots with a new pair, of all.
        """
        count = found_BM5.shape[1]
        kept_BM, new_BM = self._kept_BM[:, :count], new_BM[:, :count]
        # An empty slot is a pair of zeros, with 1 where it is a divisor.
        found_BM5 = torch.where(kept_BM.unsqueeze(2), found_BM5, self._zero)
        products_B2MM = self._products_B2MM[:, :, :count, :count]
        rows_B2M, columns_B2M = found_BM5[..., 3:].mT, found_BM5[..., 1::3].mT
        for here, values in (
            (new_BM[:, None, :, None], rows_B2M.unsqueeze(2)),
            (new_BM[:, None, None, :], columns_B2M.unsqueeze(3)),
        ):
            torch.where(here, values, products_B2MM, out=products_B2MM)

        # In order of age. R is the upper triangle of s.y, which alone is read, and D is its diagonal.
        order_BM = (self._next_B[:, None] + self._slots_M[:count]).remainder_(count)
        at_B2MM = order_BM[:, None, :, None].expand_as(products_B2MM)
        ordered_B2MM = products_B2MM.gather(2, at_B2MM).gather(3, at_B2MM.mT)
        r_BMM, yy_BMM = ordered_B2MM.unbind(1)
        at_BM2 = order_BM.unsqueeze(2).expand(-1, -1, 2)
        sg_BM1, yg_BM1 = found_BM5[..., :3:2].gather(1, at_BM2).tensor_split(2, 2)
        diagonal_BM = r_BMM.diagonal(dim1=1, dim2=2)
        diagonal_BM.copy_(torch.where(kept_BM.gather(1, order_BM), diagonal_BM, self._one))

        # H g = c P g + S R^-T ((D + c Y^T P Y) R^-1 S^T g - c Y^T P g) - c P Y R^-1 S^T g.
        c_B11 = self._scale_B1.to(r_BMM).unsqueeze(2)
        a_BM1 = torch.linalg.solve_triangular(r_BMM, sg_BM1, upper=True)
        b_BM1 = torch.baddbmm(yg_BM1, yy_BMM, a_BM1, beta=-1).mul_(c_B11)
        b_BM1.addcmul_(diagonal_BM.unsqueeze(2), a_BM1)
        u_BM1 = torch.linalg.solve_triangular(r_BMM.mT, b_BM1, upper=False)
        back_BM1 = (self._slots_M[:count] - self._next_B[:, None]).remainder_(count).unsqueeze(2)
        both_BM2 = torch.cat([a_BM1, u_BM1], 2).gather(1, back_BM1.expand(-1, -1, 2))
        a_B1M, u_B1M = both_BM2.to(self._x.dtype).mT.tensor_split(2, 1)
        return a_B1M, u_B1M
