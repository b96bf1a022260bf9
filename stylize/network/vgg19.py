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
from stylize.network.layers import channels_last
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
        self._cast: dict[tuple[str, torch.dtype], tuple[Tensor, Tensor]] = {}

    def layer(self, name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return kernel (N, C, 3, 3) and bias (N,) of a convolution in ``dtype``; conversions are cached."""
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        if weight.dtype == dtype:
            return weight, bias
        if (name, dtype) not in self._cast:
            self._cast[name, dtype] = (channels_last(weight.to(dtype)), bias.to(dtype))
        return self._cast[name, dtype]


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
