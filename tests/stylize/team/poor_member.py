"""A member whose second process has no memory left without strips."""

from __future__ import annotations

import sys
from typing import Any

from stylize.render.render import Render
from stylize.team import member

paint = Render._paint


def poor(render: Render, *of_segment: Any) -> None:
    if render._member == 1 and not render._strips:
        raise MemoryError("not enough memory")
    paint(render, *of_segment)


Render._paint = poor  # type: ignore[method-assign]

if __name__ == "__main__":
    member.main(sys.argv[1:])
