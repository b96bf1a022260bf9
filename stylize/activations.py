"""The bytes that a pass through the network's layers holds, counted layer by layer. Imports no torch.

The count follows ``network.features``: what the forward pass keeps for the way back, and what exists while a
layer is computed. All bytes are per position of the input of the layers, which is why a pooled map of 128
channels counts 32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from stylize.layer_names import CONVS_PER_BLOCK, block_of, channels_of

INDEX_BYTES = 8
"""The bytes of a position that max pooling returns."""
COMPACT_INDEX_BYTES = 4
"""The bytes in which a position is kept where memory counts."""


class Footprint(NamedTuple):
    """The bytes of a pass per position of its input, without the input itself."""

    forward: float
    """At the peak of a forward pass that keeps nothing."""
    both: float
    """At the peak of a forward pass and its backward pass."""
    kept: float
    """Between the two."""


def footprint(
    layers: Sequence[str],
    probed: Collection[str],
    pooling: Literal["max", "average", "l2"],
    element: int,
    *,
    compact: bool,
    pools_last: bool,
) -> Footprint:
    """Return what consecutive layers hold.

    Args:
        layers: The names of the layers, in order.
        probed: The names of the layers that have probes, whose features are kept.
        pooling: How maps are halved.
        element: The bytes of a number of the features, 4 or 2.
        compact: Whether only decisions of ReLU and pooling are kept of the other layers.
        pools_last: Whether the last layer is pooled where it ends its block.
    """
    first = block_of(layers[0])
    kept = forward = both = 0.0
    # What each step of the way back frees, and what it holds for itself.
    steps: list[float] = []
    work: list[float] = []
    before = given = 0.0  # the input, which somebody else holds
    for name in layers:
        here = channels_of(name) / 4 ** (block_of(name) - first)
        out = here * element
        ends_block = name[-1] == str(CONVS_PER_BLOCK[block_of(name) - 1])
        pooled = ends_block and (pools_last or name != layers[-1])
        late_relu = pooled and pooling == "max" and name not in probed
        forward = max(forward, given + out)
        both = max(both, kept + before + out)
        # The ReLU's decisions, or the features themselves.
        mine = 0.0
        if not late_relu:
            mine = out if name in probed or not compact else here
        kept += mine
        steps.append(mine)
        # The gradient at the output beside the one at the input, of as many channels or fewer.
        work.append(2 * out)
        before = 0.0 if mine == out else out  # counted as kept, or not
        given = out
        if pooled:
            small = out / 4
            if pooling == "max":
                where = here / 4 * INDEX_BYTES
                forward = max(forward, out + small + where)
                both = max(both, kept + before + small + where)
                mine = here / 4 * COMPACT_INDEX_BYTES if compact else where + before
                if late_relu:
                    mine += here / 4 if compact else small
                extra = out + small + (where + out if compact else 0)
            else:
                forward = max(forward, out * (2 if pooling == "l2" else 1) + small)
                both = max(both, kept + out * (2 if pooling == "l2" else 1) + small)
                mine = before + small if pooling == "l2" else 0.0
                extra = 2 * out + small
            kept += mine
            steps.append(mine)
            work.append(extra)
            before = given = small
    left = kept
    for freed, extra in zip(reversed(steps), reversed(work), strict=True):
        both = max(both, left + extra)
        left -= freed
    return Footprint(forward, both, kept)
