"""``FlowNames``: the names of files of motion, with the number of one frame in them or of two."""

from __future__ import annotations

import glob
import posixpath
import re
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"%(?:0(\d+))?d|(#+)")
"""Where a number is in a name: %04d, %d or ####."""


@dataclass(frozen=True, slots=True)
class FlowNames:
    """``flow/fwd.####.flo``, or ``flow/fwd_####_####.flo``."""

    parts: tuple[str, ...]
    """What stands before, between and after the numbers: one more than there are."""
    widths: tuple[int, ...]
    """The fewest digits of each number."""

    @property
    def two(self) -> bool:
        """Whether the number of the frame to which the motion leads is in the name, too."""
        return len(self.widths) == 2

    @property
    def pattern(self) -> str:
        """The glob that matches all of these names, and others."""
        return "*".join(map(glob.escape, self.parts))

    def name(self, number: int, to: int) -> str:
        """Return the name of the motion from one frame to another.

        Args:
            number: The number of the frame whose pixels move.
            to: The number of the other.
        """
        numbers = (f"{n:0{width}d}" for n, width in zip((number, to), self.widths, strict=False))
        return self.parts[0] + "".join(
            f"{n}{part}" for n, part in zip(numbers, self.parts[1:], strict=True)
        )


def flow_names(written: str) -> FlowNames | None:
    """Return the names that a pattern means; None: its last part has no place for a number, or too many."""
    name = posixpath.basename(written)
    places = list(PLACEHOLDER.finditer(name))
    if len(places) not in (1, 2):
        return None
    ends = [0, *(place.end() for place in places)]
    starts = [*(place.start() for place in places), len(name)]
    parts = [name[end:start] for end, start in zip(ends, starts, strict=True)]
    parts[0] = written[: len(written) - len(name)] + parts[0]
    widths = tuple(len(place[2] or "") or int(place[1] or 1) for place in places)
    return FlowNames(tuple(parts), widths)
