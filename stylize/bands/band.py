"""``Band``: the rows of a canvas that this process paints, and what it exchanges with the others.

A convolution needs rows of its neighbours (their halo), and its gradient gives rows back to them. Statistics
are gathered, products over pixels are summed, and a Fourier transform along the columns sees whole columns of
a part of the frequencies. Every member calls the same methods in the same order.

Everything runs on ``torch.distributed``: NCCL between GPUs, Gloo between processes on CPUs.

Shape suffixes: B pictures (1 where a canvas is split), N channels, H height, W width, K frequencies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from stylize.bands.deal import Rows, deal, scaled


class Band:
    """The rows of one canvas that one member paints.

    Args:
        height: The rows of the whole canvas, in pixels.
        member: The number of this member, from 0.
        group: The processes among which the canvas is split; None: this process alone.
    """

    def __init__(
        self, height: int, member: int = 0, group: dist.ProcessGroup | None = None
    ) -> None:
        self._group = group
        self._member = member
        self._rows = deal(height, 1 if group is None else group.size())
        self.is_whole = len(self._rows) == 1
        """Whether this member paints all rows, as all others do too."""
        self.height = height
        """The rows of the whole canvas, in pixels."""
        self.rows = self._rows[0 if self.is_whole else member]
        """The rows that this member paints, in pixels of the canvas."""

    def other(self, height: int) -> Band:
        """Return this member's band of another canvas.

        Args:
            height: The rows of that canvas, in pixels.
        """
        return Band(height, self._member, self._group)

    def at(self, scale: int) -> Rows:
        """Return this member's rows of maps that are smaller than the canvas by a factor up to 16."""
        return scaled(self._rows, scale)[0 if self.is_whole else self._member]

    def cut(self, x_BNHW: Tensor) -> Tensor:
        """Return this band's rows of a whole canvas, (B, N, h, W), a view."""
        return x_BNHW[:, :, self.rows.first : self.rows.last]

    # -- rows of other members ----------------------------------------------------------------------

    def with_halo(self, x_BNHW: Tensor, halo: int, scale: int = 1) -> tuple[Tensor, int, int]:
        """Return this band's maps with rows of its neighbours.

        Args:
            x_BNHW: The band's maps, (B, N, h, W).
            halo: The rows wanted beyond each edge, >= 0. Beyond the canvas there are none.
            scale: The factor by which the maps are smaller than the canvas.

        Returns:
            The maps with their halo, (B, N, a + h + b, W), a and b.
        """
        if self.is_whole:
            return x_BNHW, 0, 0
        return self._with_rows(x_BNHW, scaled(self._rows, scale), halo)

    def joined(self, x_BNHW: Tensor, scale: int = 1, *, up: bool = False) -> Tensor:
        """Return the maps of the whole canvas, on every member.

        Args:
            x_BNHW: The band's maps, (B, N, h, W).
            scale: The factor by which the maps are smaller than the canvas.
            up: Whether they have a row for what is left of the canvas's height.
        """
        if self.is_whole:
            return self.agreed(x_BNHW)
        whole, _, _ = self._with_rows(x_BNHW, scaled(self._rows, scale, up=up), self.height)
        return whole

    def without_halo(self, gradient_BNHW: Tensor, halo: int, scale: int = 1) -> Tensor:
        """Return the gradient at this band's maps: what ``with_halo`` gave away comes back.

        Args:
            gradient_BNHW: The gradient at the maps with their halo, (B, N, a + h + b, W).
            halo: The halo.
            scale: The factor by which the maps are smaller than the canvas.

        Returns:
            The gradient, (B, N, h, W): a part of the tensor given, which is changed.
        """
        if self.is_whole:
            return gradient_BNHW
        rows = scaled(self._rows, scale)
        own = rows[self._member]
        mine = self._wanted(rows, self._member, halo)
        into = gradient_BNHW[:, :, own.within(mine)]
        give, take = {}, {}
        for other, owned in enumerate(rows):
            if other != self._member:
                give[other] = gradient_BNHW[:, :, (mine & owned).within(mine)]
                theirs = self._wanted(rows, other, halo) & own
                take[other] = into[:, :, theirs.within(own)]
        self._swap(give, take, torch.Tensor.add_)
        return into

    def _with_rows(
        self, x_BNHW: Tensor, rows: tuple[Rows, ...], halo: int
    ) -> tuple[Tensor, int, int]:
        own = rows[self._member]
        mine = self._wanted(rows, self._member, halo)
        b, n, _, w = x_BNHW.shape
        last = x_BNHW.is_contiguous(memory_format=torch.channels_last)
        whole = torch.empty(
            (b, n, len(mine), w),
            dtype=x_BNHW.dtype,
            device=x_BNHW.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        whole[:, :, own.within(mine)] = x_BNHW
        give, take = {}, {}
        for other, owned in enumerate(rows):
            if other != self._member:
                theirs = self._wanted(rows, other, halo) & own
                give[other] = x_BNHW[:, :, theirs.within(own)]
                take[other] = whole[:, :, (mine & owned).within(mine)]
        self._swap(give, take, torch.Tensor.copy_)
        return whole, own.first - mine.first, mine.last - own.last

    @staticmethod
    def _wanted(rows: tuple[Rows, ...], member: int, halo: int) -> Rows:
        """Return the rows that a member needs, its own included."""
        own = rows[member]
        return Rows(max(0, own.first - halo), min(rows[-1].last, own.last + halo))

    def _swap(
        self,
        give: dict[int, Tensor],
        take: dict[int, Tensor],
        put: Callable[[Tensor, Tensor], Any],
    ) -> None:
        """Send rows to other members, and put those they send into place, member by member."""
        # Channels last on the way: rows of one picture then are one piece of memory.
        sent = {k: v.permute(0, 2, 3, 1).contiguous() for k, v in give.items() if v.shape[2]}
        got = {
            k: torch.empty(v.permute(0, 2, 3, 1).shape, dtype=v.dtype, device=v.device)
            for k, v in take.items()
            if v.shape[2]
        }
        operations = [
            dist.P2POp(operation, tensor, group=self._group, group_peer=peer)
            for operation, tensors in ((dist.isend, sent), (dist.irecv, got))
            for peer, tensor in tensors.items()
        ]
        for work in dist.batch_isend_irecv(operations) if operations else ():
            work.wait()
        for peer, tensor in got.items():
            put(take[peer], tensor.permute(0, 3, 1, 2))

    # -- numbers of all members ---------------------------------------------------------------------

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of a tensor over all bands, computed in place."""
        if not self.is_whole:
            dist.all_reduce(x, group=self._group)
        return x

    def agreed(self, x: Tensor) -> Tensor:
        """Return the tensor of the first member, in place: what is decided by it is decided alike."""
        if self._group is not None and self._group.size() > 1:
            x = x.contiguous()
            dist.broadcast(x, group=self._group, group_src=0)
        return x

    def gathered(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return these tensors of every member, in the members' order.

        Args:
            tensors: Tensors of the same shapes and one dtype on every member.
        """
        if self.is_whole:
            return [list(tensors)]
        own = torch.cat([tensor.reshape(-1) for tensor in tensors])
        everyone = own.new_empty(len(self._rows), own.numel())
        dist.all_gather(list(everyone.unbind()), own, group=self._group)
        sizes = [tensor.numel() for tensor in tensors]
        return [
            [
                piece.view(tensor.shape)
                for piece, tensor in zip(torch.split_with_sizes(row, sizes), tensors, strict=True)
            ]
            for row in everyone
        ]

    # -- columns ------------------------------------------------------------------------------------

    def columns_filtered(self, spectrum_BNHK: Tensor, gain_HK: Tensor) -> Tensor:
        """Return rows of frequencies whose Fourier transform along the columns was multiplied by a gain.

        Args:
            spectrum_BNHK: The transform along the rows, of this band, (B, N, h, K), complex.
            gain_HK: The gain of this member's frequencies, as ``frequencies`` deals them out.

        Returns:
            The filtered transform along the rows, (B, N, h, K).
        """
        b, n, h, k = spectrum_BNHK.shape
        shares = self._shares(k)
        own = shares[self._member]
        heights = [len(rows) for rows in self._rows]
        sent = [spectrum_BNHK[..., s.first : s.last].reshape(-1) for s in shares]
        got = self._exchanged(sent, [b * n * rows * len(own) for rows in heights])
        columns = torch.cat(
            [v.view(b, n, rows, len(own)) for v, rows in zip(got, heights, strict=True)], 2
        )
        columns = torch.fft.ifft(torch.fft.fft(columns, dim=2).mul_(gain_HK), dim=2)
        sent = [columns[:, :, rows.first : rows.last].reshape(-1) for rows in self._rows]
        got = self._exchanged(sent, [b * n * h * len(s) for s in shares])
        return torch.cat([v.view(b, n, h, len(s)) for v, s in zip(got, shares, strict=True)], 3)

    def frequencies(self, count: int) -> slice:
        """Return this member's share of the frequencies along the rows."""
        if self.is_whole:
            return slice(0, count)
        share = self._shares(count)[self._member]
        return slice(share.first, share.last)

    def _shares(self, count: int) -> tuple[Rows, ...]:
        members = len(self._rows)
        ends = [count * member // members for member in range(members + 1)]
        return tuple(Rows(*both) for both in pairwise(ends))

    def _exchanged(self, sent: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
        """Send one flat complex tensor to each member. Return those that come, of these sizes."""
        given = torch.view_as_real(torch.cat(list(sent))).flatten()
        taken = given.new_empty(2 * sum(sizes))
        dist.all_to_all_single(
            taken,
            given,
            [2 * size for size in sizes],
            [2 * v.numel() for v in sent],
            group=self._group,
        )
        return list(torch.split_with_sizes(torch.view_as_complex(taken.view(-1, 2)), list(sizes)))
