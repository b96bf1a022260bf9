"""VGG19 as a source of features: named taps, frozen, and not a layer more than the taps need.

The architecture is torchvision's ``vgg19().features`` (a test holds the two equal): sixteen 3 x 3
convolutions with ReLU in five blocks, 2 x 2 pooling between blocks. torchvision itself is not imported:
it takes seconds and adds nothing.

Shape suffixes: B pictures, N channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor, nn

from stylize.recipe import CONVS_PER_BLOCK, LAYERS
from stylize.spaces import CAFFE, IMAGENET, Space
from stylize.weights import WeightSet, load

_LAST_OF_BLOCK = frozenset(
    f"conv{block}_{convs}" for block, convs in enumerate(CONVS_PER_BLOCK, start=1)
)


Pooling = Literal["max", "average", "l2"]

POOL_SCALES: dict[Pooling, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""What makes a pooling's maps about as large as max pooling's (style-transfer-pytorch's values)."""


def _pool(x: Tensor, pooling: Pooling) -> Tensor:
    if pooling == "max":
        return F.max_pool2d(x, 2)
    if pooling == "average":
        return F.avg_pool2d(x, 2)
    return F.lp_pool2d(x, 2.0, 2)  # the root of the sum of squares


class VGG19(nn.Module):
    """Frozen VGG19 features.

    ``convs`` are sixteen (kernel, bias) pairs with any channel widths that fit together, ``space`` is
    the pixel space its input is in.
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
            # Buffers: they move with .to() but never take part in autograd or an optimiser.
            self.register_buffer(f"{name}_weight", weight)
            self.register_buffer(f"{name}_bias", bias)

    def forward(
        self,
        x_B3HW: Tensor,
        taps: Iterable[str],
        pooling: Pooling = "max",
        padding: Literal["zeros", "replicate"] = "zeros",
        rescale_pooling: bool = False,
    ) -> dict[str, Tensor]:
        """The outputs after the ReLUs of the named layers, each (B, N, H', W').

        Stops at the last tap. ``padding`` is that of the first convolution; the others pad with zeros.
        H and W must be at least 2^(b - 1) for a tap in block b.
        """
        wanted = set(taps)
        last = max(LAYERS.index(name) for name in wanted)
        features: dict[str, Tensor] = {}
        x = x_B3HW
        if padding == "replicate":
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        for name in LAYERS[: last + 1]:
            padded = padding == "replicate" and name == LAYERS[0]
            x = F.conv2d(
                x,
                getattr(self, f"{name}_weight"),
                getattr(self, f"{name}_bias"),
                padding=0 if padded else 1,
            )
            x = F.relu_(x)  # in place: the convolution's backward needs its input, not its output
            if name in wanted:
                features[name] = x
            if name in _LAST_OF_BLOCK and name != LAYERS[last]:
                x = _pool(x, pooling)
                if rescale_pooling:
                    x = x * POOL_SCALES[pooling]
        return features


def load_vgg19(weights: WeightSet, device: torch.device | str = "cpu") -> VGG19:
    """VGG19 with these weights on ``device``. Raises WeightsError."""
    space = CAFFE if weights.input == "caffe" else IMAGENET
    network = VGG19(load(weights), space, weights.digest).to(device)
    if torch.device(device).type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    return network
