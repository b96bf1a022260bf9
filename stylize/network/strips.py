"""Cut pictures into strips of rows, for exact features and gradients in bounded memory.

The network runs in stages of one or two blocks. In strips only one strip's activations of one stage exist at
a time: the forward pass keeps the sums over the strips and the stage's pooled features, and the backward pass
runs each strip again. A halo of rows on both sides replaces what a strip's edges cut off, so nothing is
approximated. Blocks 1 and 2, at the highest resolutions, hold most of a render's memory but a quarter of its
arithmetic, so they are the first to run in strips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from stylize.layer_names import CONVS_PER_BLOCK

LEVELS = (0, 2, 3, len(CONVS_PER_BLOCK))
"""The numbers of leading blocks that can run in strips, each in less memory and more time than the last."""

ALL_BLOCKS = LEVELS[-1]
"""All blocks in strips: the least memory."""

STRIP_PIXELS = 1 << 18
"""The pixels of one strip of blocks 1 and 2: enough to keep a GPU busy; the halo costs an eighth at 2048 px.
Strips of the other blocks cover sixteen times the area and take about as much memory."""

DEEP_SHARE = 4
"""The factor by which a strip of deeper blocks has fewer positions, whose features are as much larger."""


class Stage(NamedTuple):
    """Consecutive blocks of the network that run together."""

    first: int
    """The number of the first block, from 1."""
    last: int
    """The number of the last block."""

    @property
    def scale(self) -> int:
        """The factor by which the stage's input is smaller than the picture."""
        return 1 << (self.first - 1)

    @property
    def ratio(self) -> int:
        """The factor by which the stage's pooled output is smaller than its input. Strips begin at multiples
        of it, so that they pool the same rows as the whole."""
        return 1 << (self.last - self.first + 1)

    @property
    def halo(self) -> int:
        """The rows computed beyond each edge of a strip: each 3 x 3 convolution spoils one row of its input
        at an edge, and a row of a later block is several of the stage's input."""
        spoilt = sum(
            CONVS_PER_BLOCK[block - 1] << (block - self.first)
            for block in range(self.first, self.last + 1)
        )
        return -(-spoilt // self.ratio) * self.ratio

    def pixels(self, strip_pixels: int) -> int:
        """Return the approximate positions of a strip at the stage's input.

        Args:
            strip_pixels: The pixels of a strip of blocks 1 and 2.
        """
        return strip_pixels if self.first == 1 else max(1, strip_pixels // DEEP_SHARE)


SHALLOW = Stage(1, 2)
"""Blocks 1 and 2."""


def stages(strip_blocks: int) -> tuple[list[Stage], Stage | None]:
    """Return the stages that run in strips, and the one of all other blocks, which runs at once.

    Args:
        strip_blocks: The number of leading blocks that run in strips, one of ``LEVELS``.

    Returns:
        The stages in strips, in order, and the last stage; None: all blocks run in strips.
    """
    blocks = len(CONVS_PER_BLOCK)
    in_strips = [SHALLOW, *(Stage(k, k) for k in range(3, blocks + 1))]
    chosen = [stage for stage in in_strips if stage.last <= strip_blocks]
    first = chosen[-1].last + 1 if chosen else 1
    return chosen, Stage(first, blocks) if first <= blocks else None


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows of a stage's input, and the rows from which their features are computed."""

    top: int
    """The first row of the strip, from 0."""
    bottom: int
    """The row after the strip's last row."""
    above: int
    """The first row computed, including the halo above; below 0 among the rows of another band."""
    below: int
    """The row after the last row computed, including the halo below."""
    height: int
    """The row after the last one that there is, including those of the next band."""

    def rows(self, scale: int) -> slice:
        """Return the strip's rows without halo among the features computed for it.

        Args:
            scale: The factor by which the features are smaller than the stage's input, a power of 2.
        """
        begin = (self.top - self.above) // scale
        end = None if self.bottom == self.height else begin + (self.bottom - self.top) // scale
        return slice(begin, end)


def whole(height: int, above: int = 0, below: int = 0) -> Strip:
    """Return the strip of all rows of a stage's input.

    Args:
        height: Height of the input, in positions.
        above: The rows that another band has above it, which are the strip's halo.
        below: The rows that another band has below it.
    """
    return Strip(0, height, -above, height + below, height + below)


def cut(
    height: int,
    width: int,
    pixels: int,
    stage: Stage = SHALLOW,
    above: int = 0,
    below: int = 0,
) -> Iterator[Strip]:
    """Yield strips that together cover the input of a stage, as equal as possible.

    Args:
        height: Height of the input, in positions.
        width: Width of the input, in positions.
        pixels: The approximate size of a strip, in positions, without halo.
        stage: The stage.
        above: The rows that another band has above it, which a strip can have in its halo.
        below: The rows that another band has below it.
    """
    align, halo = stage.ratio, stage.halo
    count = max(1, round(height * width / pixels))
    step = max(align, -(-height // count // align) * align)
    tops = list(range(0, height, step))
    if len(tops) > 1 and height - tops[-1] < 2 * align:
        tops.pop()  # the last strip would be too thin to have features
    for top, bottom in zip(tops, [*tops[1:], height], strict=True):
        first, last = max(-above, top - halo), min(height + below, bottom + halo)
        yield Strip(top, bottom, first, last, height + below)
