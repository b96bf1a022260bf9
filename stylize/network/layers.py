"""The network's operations and their gradients with respect to their input, written by hand.

The weights are frozen, so this is a quarter of what autograd prepares for: no kernel needs a gradient,
and only the decisions of ReLU and pooling are kept from a layer's output.

All tensors are channels last in memory. On the CPU convolutions take a fifth less time that way, because
nothing is reordered and back, and Gram matrices and their gradients are plain matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from stylize.network import winograd

Pooling = Literal["max", "average", "l2"]
"""How 2 x 2 values become one: the largest, their mean, or the root of the sum of their squares."""
Padding = Literal["zeros", "replicate"]
"""How a convolution pads its input: with zeros, or with the values at the edge."""
Backward = Callable[[Tensor], Tensor]
"""A function from the gradient at an operation's output to the gradient at its input. It may overwrite the
former."""

POOL_SCALES: dict[Pooling, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""The factors that make a pooling's maps about as large as max pooling's (style-transfer-pytorch's
values)."""


def channels_last(x: Tensor) -> Tensor:
    """Return the same values, channels last in memory; without a copy if they are already."""
    return x.contiguous(memory_format=torch.channels_last)


def split(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor as the sum of two tensors of a lower precision.

    Args:
        x: A tensor (B, N, H, W).
        dtype: The lower precision.

    Returns:
        The rounded values and then the remainders as channels, (B, 2 N, H, W).
    """
    high = x.to(dtype)
    return channels_last(torch.cat([high, (x - high).to(dtype)], 1))


class Kernel(NamedTuple):
    """The parameters of a 3 x 3 convolution of C channels to N."""

    weight: Tensor
    """The kernels, (N, C, 3, 3)."""
    bias: Tensor
    """The biases, (N,)."""
    forward: Tensor | None = None
    """The kernels for Winograd's convolution, (36, C, N); None: convolve directly."""
    backward: Tensor | None = None
    """The same for the gradient, (36, N, C)."""

    def with_winograd(self) -> Kernel:
        """Return the same kernel, which convolves by Winograd's algorithm where that is faster."""
        turned = self.weight.transpose(0, 1).flip(2, 3)
        return self._replace(
            forward=winograd.transformed(self.weight), backward=winograd.transformed(turned)
        )

    def doubled(self) -> Kernel:
        """Return the kernel for an input as ``split`` returns it."""
        return Kernel(torch.cat([self.weight, self.weight], 1), self.bias)


def conv(x: Tensor, kernel: Kernel, padding: Padding) -> Tensor:
    """Return the 3 x 3 convolution of x, with the height and width of x.

    Args:
        x: The input, (B, C, H, W).
        kernel: The kernels and biases.
        padding: How x is padded by one row and column on each side.

    Returns:
        The output, (B, N, H, W).
    """
    if kernel.forward is not None and padding == "zeros" and winograd.fits(x.shape):
        return winograd.conv3x3(x, kernel.forward, kernel.bias)
    if padding == "replicate":
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(x, kernel.weight, kernel.bias, padding=0 if padding == "replicate" else 1)


def conv_backward(gradient: Tensor, shape: torch.Size, kernel: Kernel, padding: Padding) -> Tensor:
    """Return the gradient at the input of ``conv``.

    Args:
        gradient: The gradient at the output, (B, N, H, W).
        shape: The shape of the input, (B, C, H, W).
        kernel: The kernels.
        padding: The padding of the forward pass.
    """
    if kernel.backward is not None and padding == "zeros" and winograd.fits(shape):
        return winograd.conv3x3(gradient, kernel.backward, None)
    weight = kernel.weight
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
    """Zero the gradient, in place, where the ReLU blocked its input, and return it.

    Args:
        gradient: The gradient at the ReLU's output.
        passed: The ReLU's output, or a boolean tensor that is True where the output is above 0.
    """
    if passed.dtype == torch.bool:
        return gradient.mul_(passed)
    torch.ops.aten.threshold_backward.grad_input(gradient, passed, 0, grad_input=gradient)
    return gradient


def pool(x: Tensor, pooling: Pooling, compact: bool) -> tuple[Tensor, Backward]:
    """Return x pooled 2 x 2, without an odd last row or column, and the backward function.

    Args:
        x: The input, (B, N, H, W).
        pooling: The kind of pooling; l2 is the root of the sum of squares.
        compact: Whether max pooling keeps less for its gradient and takes a little more time.

    Returns:
        The pooled maps, (B, N, H // 2, W // 2), and the function from their gradient to that of x.
    """
    if pooling == "max":
        return _max_pool(x, compact)
    if pooling == "average":
        shape = x.shape  # not x, which would be kept
        return F.avg_pool2d(x, 2), lambda gradient: _spread(gradient, shape).mul_(0.25)
    root = F.avg_pool2d(x.square(), 2).mul_(4).sqrt_()

    def backward(gradient: Tensor) -> Tensor:
        # Where all four values are 0 there is no derivative, and 0 is as good as any.
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
        # The operator reads only the shape and the memory format of its input.
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
    """Return each value repeated over the 2 x 2 it came from, with 0 for an odd last row or column."""
    spread = F.interpolate(gradient, scale_factor=2, mode="nearest")
    rest = (0, shape[3] - spread.shape[3], 0, shape[2] - spread.shape[2])
    return channels_last(F.pad(spread, rest) if any(rest) else spread)
