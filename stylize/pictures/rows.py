"""Some rows of a resized picture, without the others: what a member of a split render holds of it.

Shape suffixes: B pictures, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.bands.deal import Rows
from stylize.pictures.resize import mirrored, resize

BLOCK = 1 << 22
"""The numbers of a block of columns, which bounds the memory of whole columns: 16 MB in float32."""


def resized_rows(x_BCHW: Tensor, height: int, width: int, rows: Rows) -> Tensor:
    """Return some rows of ``resize(x, height, width)``, up to rounding.

    Rows are interpolated from rows, so the pictures are made wider first. Then whole columns are made, block
    by block, of which only the rows wanted are kept.

    Args:
        x_BCHW: The pictures, (B, C, h, w).
        height: The height of the whole resized pictures, in pixels.
        width: Their width, in pixels.
        rows: The rows of the resized pictures to return.

    Returns:
        The rows, (B, C, len(rows), width), a tensor of their own.
    """
    found = x_BCHW.new_empty((*x_BCHW.shape[:2], len(rows), width))
    block = max(1, BLOCK // max(height, x_BCHW.shape[2]))
    for channel in range(x_BCHW.shape[1]):
        wide = resize(x_BCHW[:, channel, None], x_BCHW.shape[2], width)
        for left in range(0, width, block):
            columns = resize(wide[..., left : left + block], height, min(block, width - left))
            found[:, channel, :, left : left + block] = columns[:, 0, rows.first : rows.last]
    return found


def canvas_rows(x_BCHW: Tensor, height: int, width: int, margin: int, rows: Rows) -> Tensor:
    """Return some rows of ``add_margin(resize(x, height, width), margin)``, up to rounding.

    Args:
        x_BCHW: The pictures, (B, C, h, w).
        height: The height of the whole resized pictures, in pixels, without margin.
        width: Their width, in pixels, without margin.
        margin: The width of the margin, in pixels, >= 0.
        rows: The rows of the canvas to return.

    Returns:
        The rows, (B, C, len(rows), W), a tensor of their own.
    """
    m = mirrored(height, width, margin)
    of_picture = torch.arange(rows.first - m, rows.last - m).abs()
    of_picture = torch.where(of_picture < height, of_picture, 2 * (height - 1) - of_picture)
    needed = Rows(int(of_picture.min()), int(of_picture.max()) + 1)
    found = resized_rows(x_BCHW, height, width, needed)
    if not m:
        return found
    found = found.index_select(2, (of_picture - needed.first).to(found.device))
    return F.pad(found, (m, m, 0, 0), mode="reflect")
