"""Deal the rows of a canvas out to members, so that each pools the same rows as one member alone would."""

from __future__ import annotations

from dataclasses import dataclass

ALIGN = 16
"""The multiple at which bands begin: the factor by which the deepest block's maps are smaller."""

FEWEST_ROWS = 64
"""The fewest rows of a band, in pixels. The halo beyond an edge is 8 rows of the picture at the first blocks
and 64 at the last: a smaller canvas is painted by every member alone, in full."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of maps."""

    first: int
    """The first row, from 0."""
    last: int
    """The row after the last one."""

    def __and__(self, other: Rows) -> Rows:
        """Return the rows that both have, which may be none."""
        first = max(self.first, other.first)
        return Rows(first, max(first, min(self.last, other.last)))

    def __len__(self) -> int:
        return self.last - self.first

    def within(self, outer: Rows) -> slice:
        """Return these rows as a slice of others, of which they are a part."""
        return slice(self.first - outer.first, self.last - outer.first)


def deal(height: int, members: int) -> tuple[Rows, ...]:
    """Return the rows of each member, as equal as possible; one entry, of all rows, where they are too few.

    Args:
        height: The rows of the canvas, > 0.
        members: The number of members, > 0.
    """
    units = height // ALIGN
    if members == 1 or height < members * FEWEST_ROWS:
        return (Rows(0, height),)
    tops = [ALIGN * (units * member // members) for member in range(members)]
    return tuple(Rows(*both) for both in zip(tops, [*tops[1:], height], strict=True))


def scaled(rows: tuple[Rows, ...], scale: int, *, up: bool = False) -> tuple[Rows, ...]:
    """Return each member's rows of maps that are smaller than the canvas.

    Args:
        rows: The rows of each member, as ``deal`` returns them.
        scale: The factor by which the maps are smaller, up to ``ALIGN``.
        up: Whether the maps have a last row for what is left of the canvas's height, which pooling drops.
    """
    height = rows[-1].last
    last = -(-height // scale) if up else height // scale
    tops = [band.first // scale for band in rows]
    return tuple(Rows(*both) for both in zip(tops, [*tops[1:], last], strict=True))
