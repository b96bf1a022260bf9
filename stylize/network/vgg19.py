"""``VGG19``: sixteen frozen convolutions by name. ``stylize.network.features`` runs them.

The architecture is torchvision's ``vgg19().features`` (a test compares the two): sixteen 3 x 3
convolutions with ReLU in five blocks, and 2 x 2 pooling between blocks. torchvision itself is not
imported, because its import takes seconds and adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylize.layer_names import CONVS_PER_BLOCK, LAYERS
from stylize.network import winograd
from stylize.network.layers import Kernel, channels_last
from stylize.network.weights import WeightSet, load
from stylize.pictures.pixel_spaces import CAFFE, IMAGENET, Space

LAST_OF_BLOCK = frozenset(
    f"conv{block}_{convs}" for block, convs in enumerate(CONVS_PER_BLOCK, start=1)
)
"""The last layer of each block, which a pooling follows."""


class VGG19(nn.Module):
    """The frozen convolutions of VGG19.

    Args:
        convs: The sixteen pairs of kernel (N, C, 3, 3) and bias (N,), with any channel widths that fit
            together.
        space: The pixel space of the network's input.
        digest: The digest of the weights, "sha256:...", which identifies the network; "": none.

    Raises:
        ValueError: ``convs`` has not sixteen pairs.
    """

    def __init__(
        self, convs: Sequence[tuple[Tensor, Tensor]], space: Space, digest: str = ""
    ) -> None:
        super().__init__()
        if len(convs) != len(LAYERS):
            raise ValueError(f"VGG19 has {len(LAYERS)} convolutions, not {len(convs)}")
        self.space = space
        self.digest = digest
        for name, (weight, bias) in zip(LAYERS, convs, strict=True):
            # Buffers move with .to() but never take part in autograd or an optimiser.
            self.register_buffer(f"{name}_weight", channels_last(weight))
            self.register_buffer(f"{name}_bias", bias)
        self._kernels: dict[tuple[str, torch.dtype, torch.device, bool], Kernel] = {}

    def layer(self, name: str, dtype: torch.dtype, doubled: bool = False) -> Kernel:
        """Return the kernel of a convolution in ``dtype``; what is computed for it is cached.

        Args:
            name: The name of the layer.
            dtype: The dtype of the kernel.
            doubled: Whether the kernel is for an input as ``layers.split`` returns it.
        """
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        key = (name, dtype, weight.device, doubled)
        if key not in self._kernels:
            kernel = Kernel(channels_last(weight.to(dtype)), bias.to(dtype))
            if doubled:
                kernel = kernel.doubled()
            elif winograd.suits(kernel.weight):
                kernel = kernel.with_winograd()
            self._kernels[key] = kernel
        return self._kernels[key]


def load_vgg19(weights: WeightSet, device: torch.device | str = "cpu") -> VGG19:
    """Load a VGG19.

    Args:
        weights: The weights, as ``weights.identify`` returns them.
        device: The device to load them to.

    Returns:
        The network, whose input space is the one that the weights expect.

    Raises:
        WeightsError: The weights cannot be found, downloaded, verified or read.
    """
    space = CAFFE if weights.input == "caffe" else IMAGENET
    return VGG19(load(weights), space, weights.digest).to(device)
