"""Batched L-BFGS: every picture has its own memory, direction and step, and none waits for the host.

The method is Nocedal's limited-memory BFGS (Nocedal and Wright, *Numerical Optimization*, algorithm
7.4) without line search, as neural-style uses it: for one picture its iterates are those of
``torch.optim.LBFGS(max_iter=1, line_search_fn=None)``. What that decides in Python with numbers fetched
from the device is decided here with ``torch.where``.

Shape suffixes: B pictures, D unknowns of each, R = history * B rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

CURVATURE_FLOOR = 1e-10
"""A step whose y.s is not above this has no usable curvature and is not remembered (as in torch)."""


class BatchedLBFGS:
    """Minimises B functions at once, given only their gradients.

    ``x`` is any tensor whose first dimension is B; it is changed in place. The memory is a ring of
    ``history`` pairs for each picture, and each picture turns its own ring, on the device: a step of
    no use to one picture takes no place in its ring, whatever the others do.
    """

    def __init__(self, x: Tensor, learning_rate: float = 1.0, history: int = 100) -> None:
        self._x = x
        self._history = history
        batch, unknowns = x.shape[0], x[0].numel()
        # Row slot * B + b holds what picture b keeps in that slot; rho = 0 marks it as empty, for a
        # pair with rho = 0 contributes nothing to either loop of the recursion.
        self._s_RD = x.new_zeros(history * batch, unknowns)
        self._y_RD = x.new_zeros(history * batch, unknowns)
        self._rho_R1 = x.new_zeros(history * batch, 1)
        self._next_B = torch.zeros(batch, dtype=torch.long, device=x.device)
        self._pictures_B = torch.arange(batch, device=x.device)
        self._scale_B1 = x.new_ones(batch, 1)
        self._seen = 0
        self._gradient_BD = x.new_zeros(batch, unknowns)
        self._step_BD = x.new_zeros(batch, unknowns)
        self._rate_B1 = x.new_full((batch, 1), learning_rate)
        self._fresh_B1 = torch.ones(batch, 1, dtype=torch.bool, device=x.device)
        """Pictures that have no step behind them, and so no curvature to go by."""

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move ``x`` one step, given the gradient at ``x`` (same shape)."""
        gradient_BD = gradient.flatten(1)
        self._remember(gradient_BD - self._gradient_BD, self._step_BD)
        # A first step is no longer than the learning rate in the 1-norm.
        shortened_B1 = (1 / gradient_BD.abs().sum(1, keepdim=True)).clamp(max=1.0)
        direction_BD = torch.where(
            self._fresh_B1, -gradient_BD * shortened_B1, self._direction(gradient_BD)
        )
        self._step_BD = self._rate_B1 * direction_BD
        self._x.add_(self._step_BD.view_as(self._x))
        self._gradient_BD = gradient_BD.clone()
        self._fresh_B1 = torch.zeros_like(self._fresh_B1)

    @torch.no_grad()
    def restart(self, which_B: Tensor, slower: float) -> None:
        """Let these pictures (boolean, (B,)) forget everything and go on with shorter steps."""
        rows_R1 = which_B.repeat(self._history)[:, None]
        self._rho_R1 = torch.where(rows_R1, 0.0, self._rho_R1)
        self._fresh_B1 = self._fresh_B1 | which_B[:, None]
        self._rate_B1 = torch.where(which_B[:, None], slower * self._rate_B1, self._rate_B1)

    def moments(self) -> None:
        """None: pairs of one size mean nothing at another."""

    def _remember(self, y_BD: Tensor, s_BD: Tensor) -> None:
        ys_B1 = (y_BD * s_BD).sum(1, keepdim=True)
        usable_B1 = (ys_B1 > CURVATURE_FLOOR) & ~self._fresh_B1
        rows_B = self._rows(0)
        for ring, new in (
            (self._s_RD, s_BD),
            (self._y_RD, y_BD),
            (self._rho_R1, 1 / ys_B1),
        ):
            ring.index_copy_(0, rows_B, torch.where(usable_B1, new, ring.index_select(0, rows_B)))
        scale_B1 = ys_B1 / (y_BD * y_BD).sum(1, keepdim=True)
        self._scale_B1 = torch.where(usable_B1, scale_B1, self._scale_B1)
        self._next_B = (self._next_B + usable_B1[:, 0].long()) % self._history
        self._seen = min(self._seen + 1, self._history)

    def _direction(self, gradient_BD: Tensor) -> Tensor:
        """-H g by the two-loop recursion: (B, D)."""
        q_BD = -gradient_BD
        kept: list[tuple[Tensor, Tensor]] = []
        for age in range(1, self._seen + 1):  # newest first
            rows_B = self._rows(-age)
            s_BD, y_BD = self._s_RD.index_select(0, rows_B), self._y_RD.index_select(0, rows_B)
            alpha_B1 = self._rho_R1.index_select(0, rows_B) * (s_BD * q_BD).sum(1, keepdim=True)
            q_BD = q_BD - alpha_B1 * y_BD
            kept.append((rows_B, alpha_B1))
        r_BD = q_BD * self._scale_B1
        for rows_B, alpha_B1 in reversed(kept):  # oldest first
            s_BD, y_BD = self._s_RD.index_select(0, rows_B), self._y_RD.index_select(0, rows_B)
            beta_B1 = self._rho_R1.index_select(0, rows_B) * (y_BD * r_BD).sum(1, keepdim=True)
            r_BD = r_BD + s_BD * (alpha_B1 - beta_B1)
        return r_BD

    def _rows(self, offset: int) -> Tensor:
        """Each picture's row in the rings, so many slots from its next one: (B,)."""
        slots_B = (self._next_B + offset) % self._history
        return slots_B * len(self._pictures_B) + self._pictures_B
