"""The network's operations and their gradients with respect to what goes in, written by hand.

The weights are frozen, so this is a quarter of what autograd prepares for: no gradient of a kernel,
and of a layer's output nothing is kept but which way its ReLU and pooling went.

Everything is channels last in memory: on the CPU convolutions take a fifth less time so, for nothing is
put into another order and back; and Gram matrices and their gradients are plain matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

Pooling = Literal["max", "average", "l2"]
Padding = Literal["zeros", "replicate"]
Backward = Callable[[Tensor], Tensor]
"""The gradient of what came out -> that of what went in. The former may be overwritten."""

POOL_SCALES: dict[Pooling, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""What makes a pooling's maps about as large as max pooling's (style-transfer-pytorch's values)."""


def channels_last(x: Tensor) -> Tensor:
    """The same numbers, channels last in memory; free where they are so already."""
    return x.contiguous(memory_format=torch.channels_last)


def split(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, N, H, W) as a sum of two in a lower precision, one after the other: (B, 2 N, H, W)."""
    high = x.to(dtype)
    return channels_last(torch.cat([high, (x - high).to(dtype)], 1))


def conv(x: Tensor, weight: Tensor, bias: Tensor, padding: Padding) -> Tensor:
    """3 x 3 convolution that keeps height and width."""
    if padding == "replicate":
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(x, weight, bias, padding=0 if padding == "replicate" else 1)


def conv_backward(gradient: Tensor, shape: torch.Size, weight: Tensor, padding: Padding) -> Tensor:
    """The gradient of ``conv`` with respect to its input, which had this shape."""
    b, n, h, w = shape
    rim = 1 if padding == "replicate" else 0
    like = gradient.new_empty(()).expand(b, n, h + 2 * rim, w + 2 * rim)
    into, _, _ = torch.ops.aten.convolution_backward(
        gradient,
        like,
        weight,
        None,
        stride=[1, 1],
        padding=[1 - rim, 1 - rim],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[True, False, False],
    )
    if rim:
        like = gradient.new_empty(()).expand(shape)
        into = torch.ops.aten.replication_pad2d_backward(into, like, [1, 1, 1, 1])
    return channels_last(into)


def relu_backward(gradient: Tensor, passed: Tensor) -> Tensor:
    """In place. ``passed`` is the ReLU's output, or True where that is above 0."""
    if passed.dtype == torch.bool:
        return gradient.mul_(passed)
    torch.ops.aten.threshold_backward.grad_input(gradient, passed, 0, grad_input=gradient)
    return gradient


def pool(x: Tensor, pooling: Pooling, compact: bool) -> tuple[Tensor, Backward]:
    """2 x 2 pooling, an odd last row or column left out, and its gradient.

    ``compact``: keep little for the gradient, at the price of a little time.
    """
    if pooling == "max":
        return _max_pool(x, compact)
    if pooling == "average":
        return F.avg_pool2d(x, 2), lambda gradient: _spread(gradient, x.shape).mul_(0.25)
    root = F.avg_pool2d(x.square(), 2).mul_(4).sqrt_()

    def backward(gradient: Tensor) -> Tensor:
        # Where all four are 0 there is no slope; 0 is as good as any.
        per_root = torch.where(root > 0, gradient / root, 0)
        return _spread(per_root, x.shape).mul_(x)

    return root, backward


def _max_pool(x: Tensor, compact: bool) -> tuple[Tensor, Backward]:
    pooled, where = torch.ops.aten.max_pool2d_with_indices(x, [2, 2], [2, 2])
    shape = x.shape
    kept: Tensor | None = x
    if compact:
        kept, where = None, where.int()

    def backward(gradient: Tensor) -> Tensor:
        # Of what went in only shape and order are looked at.
        like = kept
        if like is None:
            like = torch.empty(
                shape,
                dtype=gradient.dtype,
                device=gradient.device,
                memory_format=torch.channels_last,
            )
        into: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            gradient, like, [2, 2], [2, 2], [0, 0], [1, 1], False, where.long()
        )
        return channels_last(into)

    return pooled, backward


def _spread(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Each value over the 2 x 2 it came from; 0 for a last row or column that was left out."""
    spread = F.interpolate(gradient, scale_factor=2, mode="nearest")
    rest = (0, shape[3] - spread.shape[3], 0, shape[2] - spread.shape[2])
    return channels_last(F.pad(spread, rest) if any(rest) else spread)
