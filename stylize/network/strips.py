"""Exact features and gradients of a picture that is looked at strip by strip, in bounded memory.

The full-resolution blocks 1 and 2 of VGG19 hold most of a render's memory but a quarter of its
arithmetic. In strips of rows only one strip's activations exist at a time: forward keeps what the
strips add up to and the pooled features, backward runs each strip again, with a halo of rows on both
sides that makes up for what the strip's edges cut off. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

STRIP_BLOCKS = 2
"""Blocks that are run in strips."""

ALIGNMENT = 1 << STRIP_BLOCKS
"""Strips begin at multiples of this many rows, so that their poolings are the picture's."""

HALO = 8
"""Rows. Each of four 3 x 3 convolutions spoils one row at an edge that is not the picture's: two rows
before the first pooling, and two after it, which are four of the picture: six, aligned."""

STRIP_PIXELS = 1 << 18
"""Of one strip: enough for a GPU to be busy, and for the halo to cost an eighth at 2048 px."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows ``top`` to ``bottom`` of a picture ``height`` rows high, computed from ``above`` to
    ``below``."""

    top: int
    bottom: int
    above: int
    below: int
    height: int

    def rows(self, scale: int) -> slice:
        """Where, in the strip's own features at 1 / scale, its rows are."""
        begin = (self.top - self.above) // scale
        end = None if self.bottom == self.height else begin + (self.bottom - self.top) // scale
        return slice(begin, end)


def whole(height: int) -> Strip:
    """All rows."""
    return Strip(0, height, 0, height, height)


def cut(height: int, width: int, pixels: int = STRIP_PIXELS) -> Iterator[Strip]:
    """Strips of at most about so many pixels, and as equal as can be, that make up the picture."""
    count = max(1, round(height * width / pixels))
    step = max(ALIGNMENT, -(-height // count // ALIGNMENT) * ALIGNMENT)
    tops = list(range(0, height, step))
    if len(tops) > 1 and height - tops[-1] < 2 * ALIGNMENT:
        tops.pop()  # too thin to have features of its own
    for top, bottom in zip(tops, [*tops[1:], height], strict=True):
        yield Strip(top, bottom, max(0, top - HALO), min(height, bottom + HALO), height)
