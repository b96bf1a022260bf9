"""Cut pictures into strips of rows, for exact features and gradients in bounded memory.

Blocks 1 and 2 of VGG19, at the highest resolutions, hold most of a render's memory but a quarter of its
arithmetic. In strips only one strip's activations exist at a time. The forward pass keeps the sums over
the strips and the pooled features; the backward pass runs each strip again. A halo of rows on both sides
replaces what a strip's edges cut off, so nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

STRIP_BLOCKS = 2
"""The number of blocks that run in strips."""

ALIGNMENT = 1 << STRIP_BLOCKS
"""Strips begin at multiples of this many rows, so that they pool the same rows as the whole picture."""

HALO = 8
"""The rows computed beyond each edge of a strip. Each of four 3 x 3 convolutions spoils one row at an edge
inside the picture: two rows before the first pooling, and two after it, which are four rows of the
picture. The sum of six is aligned to eight."""

STRIP_PIXELS = 1 << 18
"""The pixels of one strip: enough to keep a GPU busy; the halo costs an eighth at 2048 px."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows of a picture, and the rows from which their features are computed."""

    top: int
    """The first row of the strip, from 0."""
    bottom: int
    """The row after the strip's last row."""
    above: int
    """The first row computed, including the halo above."""
    below: int
    """The row after the last row computed, including the halo below."""
    height: int
    """The number of rows of the whole picture."""

    def rows(self, scale: int) -> slice:
        """Return the strip's rows without halo among the features computed for it.

        Args:
            scale: The factor by which the features are smaller than the picture, a power of 2.
        """
        begin = (self.top - self.above) // scale
        end = None if self.bottom == self.height else begin + (self.bottom - self.top) // scale
        return slice(begin, end)


def whole(height: int) -> Strip:
    """Return the strip of all rows of a picture, without a halo."""
    return Strip(0, height, 0, height, height)


def cut(height: int, width: int, pixels: int = STRIP_PIXELS) -> Iterator[Strip]:
    """Yield strips that together cover a picture, as equal as possible.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        pixels: The approximate size of a strip, in pixels, without halo.
    """
    count = max(1, round(height * width / pixels))
    step = max(ALIGNMENT, -(-height // count // ALIGNMENT) * ALIGNMENT)
    tops = list(range(0, height, step))
    if len(tops) > 1 and height - tops[-1] < 2 * ALIGNMENT:
        tops.pop()  # the last strip would be too thin to have features
    for top, bottom in zip(tops, [*tops[1:], height], strict=True):
        yield Strip(top, bottom, max(0, top - HALO), min(height, bottom + HALO), height)
