"""``PairRing``: one half of L-BFGS's memory, in full or in half precision.

In half precision the products with it are computed block by block of its columns, so that only a block is
ever in full precision. bfloat16 has the exponents of float32: no scale is needed to keep small values.

Shape suffixes: B pictures, D unknowns per picture, M slots, K vectors multiplied together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylize.matrix_roots import precise

BLOCKS = 16
"""The number of blocks into which the columns are cut. With 10 slots a block in float32 takes 7.5 bytes per
pixel; on a GPU, each launches three kernels."""

LEAST_COLUMNS = 1 << 14
"""The minimum number of columns of a block on the CPU: 640 KB of 10 slots, which the cache holds."""
LEAST_COLUMNS_OF_GPU = 1 << 20
"""The minimum on other devices, where each block is a few kernels more: 42 MB of 10 slots."""


class PairRing:
    """The last vectors of each of B pictures, in M slots.

    Args:
        like: A tensor with the device and the dtype of the vectors, and B as its first dimension.
        slots: M, > 0.
        unknowns: D, > 0.
        dtype: The precision in which the vectors are kept.
    """

    def __init__(self, like: Tensor, slots: int, unknowns: int, dtype: torch.dtype) -> None:
        self.computed = like.dtype
        """The precision in which products are computed."""
        self.kept_BMD = like.new_zeros(len(like), slots, unknowns, dtype=dtype)
        """The vectors, as they are kept, (B, M, D)."""
        self._first_B = torch.arange(len(like), device=like.device) * slots
        self._count = 1

    @property
    def is_half(self) -> bool:
        """Whether vectors are kept in another precision than that of the computation."""
        return self.kept_BMD.dtype != self.computed

    def vectors(self, slot: int) -> Tensor:
        """Return the vector in one slot of every picture, (B, D), in full precision."""
        return self.kept_BMD[:, slot].to(self.computed)

    def round(self, v_BD: Tensor) -> Tensor:
        """Round vectors, (B, D), in place, to values that the ring can keep. Return them as it keeps them."""
        if not self.is_half:
            return v_BD
        kept_BD = v_BD.to(self.kept_BMD.dtype)
        v_BD.copy_(kept_BD)
        return kept_BD

    def put(self, v_BD: Tensor, at_B: Tensor, which_B1: Tensor) -> None:
        """Put vectors of some pictures into their slots.

        Args:
            v_BD: The vectors, (B, D), in the precision in which they are kept.
            at_B: The slot of each picture, (B,).
            which_B1: The pictures whose vector is put, (B, 1), boolean.
        """
        rows_B = self._first_B + at_B
        flat_RD = self.kept_BMD.view(-1, self.kept_BMD.shape[2])
        new_BD = torch.where(which_B1, v_BD, flat_RD.index_select(0, rows_B))
        flat_RD.index_copy_(0, rows_B, new_BD)

    def products(self, vectors: Sequence[Tensor], count: int) -> Tensor:
        """Return the products of the first ``count`` slots with K vectors, (B, count, K), precise.

        Args:
            vectors: K vectors, each (B, D).
            count: The number of slots in use, 1 to M, which ``add_combined`` then uses, too.
        """
        self._count = count
        found: Tensor | None = None
        for block in self._blocks():
            part = precise(self._full(block) @ torch.stack([v[:, block] for v in vectors], 2))
            found = part if found is None else found.add_(part)
        assert found is not None
        return found

    def add_combined(self, weights_B1M: Tensor, to_BD: Tensor, factor: float = 1) -> Tensor:
        """Add the sum of the slots in use, each with its weight and all with a factor, to a tensor (B, D).
        Return that tensor."""
        for block in self._blocks():
            to_BD[:, None, block].baddbmm_(weights_B1M, self._full(block), alpha=factor)
        return to_BD

    def _blocks(self) -> Iterator[slice]:
        """Yield the columns of each block: in full precision, all."""
        unknowns = self.kept_BMD.shape[2]
        if not self.is_half:
            yield slice(None)
            return
        on_cpu = self.kept_BMD.device.type == "cpu"
        least = LEAST_COLUMNS if on_cpu else LEAST_COLUMNS_OF_GPU
        width = max(least, -(-unknowns // BLOCKS))
        for begin in range(0, unknowns, width):
            yield slice(begin, begin + width)

    def _full(self, block: slice) -> Tensor:
        """Return a block of the slots in use, (B, count, columns), in full precision."""
        return self.kept_BMD[:, : self._count, block].to(self.computed)
