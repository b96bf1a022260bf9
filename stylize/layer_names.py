"""VGG19's convolutions by name."""

from __future__ import annotations

CONVS_PER_BLOCK = (2, 2, 4, 4, 4)
"""The number of convolutions in each of the five blocks. Pooling between two blocks halves the maps."""

LAYERS: tuple[str, ...] = tuple(
    f"conv{block}_{conv}"
    for block, convs in enumerate(CONVS_PER_BLOCK, start=1)
    for conv in range(1, convs + 1)
)
"""The names of VGG19's sixteen convolutions, in order. A layer's output is taken after its ReLU."""


def block_of(layer: str) -> int:
    """Return the block of a layer, 1 to 5: ``conv3_2`` -> 3."""
    return int(layer[len("conv")])


def channels_of(layer: str) -> int:
    """Return the number of channels of a layer's output in VGG19: 64, 128, 256, 512, 512 by block."""
    return min(512, 32 << block_of(layer))
