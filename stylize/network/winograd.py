"""3 x 3 convolutions by Winograd's minimal filtering, for the CPU in float32.

Tiles of 4 x 4 outputs take 36 multiplications for each pair of channels instead of 144 (Lavin and Gray,
*Fast algorithms for convolutional neural networks*, 2016, section 4.3: F(4 x 4, 3 x 3)). The libraries
that run convolutions on GPUs choose such algorithms by themselves; oneDNN, which runs those of the CPU, has
none for float32 and maps that are channels last.

Results differ from a direct sum by about 10^-5 of the largest value, ten times as much as rounding does.

Shape suffixes: B pictures, C channels in, N channels out, T tiles.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

LEAST_PRODUCT = 128 * 256
"""C times N from which the products outweigh what moving the tiles takes."""

LEAST_TILES = 16
"""The number of tiles from which the products outweigh what reading the kernels takes."""

MOST_NUMBERS = 1 << 22
"""The most numbers that are in memory of tiles at once, twice: 16 MB before and after the products."""

_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_KERNEL = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


@lru_cache
def _transforms(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the transforms of a tile's rows and columns as one product each: (36, 36) and (16, 36)."""
    at_input, at_output = (torch.tensor(rows, dtype=dtype) for rows in (_INPUT, _OUTPUT))
    return torch.kron(at_input, at_input), torch.kron(at_output, at_output)


def transformed(weight: Tensor) -> Tensor:
    """Return the kernels of a convolution as the products need them, (36, C, N).

    Args:
        weight: The kernels, (N, C, 3, 3).
    """
    n, c = weight.shape[:2]
    g = torch.tensor(_KERNEL, dtype=torch.float64)
    u = torch.einsum("xi,ncij,yj->xycn", g, weight.double(), g)
    return u.reshape(36, c, n).to(weight.dtype)


def suits(weight: Tensor) -> bool:
    """Return whether a layer with these kernels convolves so: large ones, on the CPU in float32.

    On Intel's processors, with AVX512 and without, they take 0.45 to 0.8 of the time of direct convolutions;
    on one of AMD's, where MKL's products are slower, 0.86 to 1.4, by the layer. This is not measured anew
    in each process: on a busy machine the answer could differ from one to the next, and with it the last
    bits of a picture, which a render that goes on elsewhere has to keep.
    """
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return plain and weight.shape[0] * weight.shape[1] >= LEAST_PRODUCT


def fits(shape: torch.Size) -> bool:
    """Return whether maps are large enough for Winograd's convolution to be faster than a direct one.

    Args:
        shape: The shape of the maps, (B, C, H, W).
    """
    b, _, h, w = shape
    return b * -(-h // 4) * -(-w // 4) >= LEAST_TILES


def conv3x3(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """Return the 3 x 3 convolution of x, padded with one row and column of zeros on each side.

    Args:
        x: The input, (B, C, H, W), channels last in memory.
        kernels: The kernels as ``transformed`` returns them, (36, C, N).
        bias: The biases, (N,); None: 0.

    Returns:
        The output, (B, N, H, W), channels last in memory.
    """
    b, c, h, w = x.shape
    n = kernels.shape[2]
    down, across = -(-h // 4), -(-w // 4)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 4 * across + 1 - w, 1, 4 * down + 1 - h))
    into = x.new_empty(b, h, w, n)
    at_input, at_output = _transforms(x.dtype)
    of_picture, of_row, of_column, _ = padded.stride()
    at_once = max(1, MOST_NUMBERS // (36 * max(c, n) * across))  # rows of tiles
    pictures = max(1, at_once // down)
    rows = min(at_once, down)
    for first in range(0, b, pictures):
        count = min(pictures, b - first)
        for top in range(0, down, rows):
            r = min(rows, down - top)
            tiles = padded[first:, 4 * top :].as_strided(
                (6, 6, count, r, across, c),
                (of_row, of_column, of_picture, 4 * of_row, 4 * of_column, 1),
            )
            v = (at_input @ tiles.reshape(36, -1)).view(36, count * r * across, c)
            y = (at_output @ torch.bmm(v, kernels).view(36, -1)).view(4, 4, count, r, across, n)
            y = y.permute(2, 3, 0, 4, 1, 5).reshape(count, 4 * r, 4 * across, n)
            here = into[first : first + count, 4 * top : 4 * (top + r)]
            y = y[:, : here.shape[1], :w]
            if bias is None:
                here.copy_(y)
            else:
                torch.add(y, bias, out=here)
    return into.permute(0, 3, 1, 2)
