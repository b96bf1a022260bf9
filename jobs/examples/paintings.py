"""Three pictures painted by program, for the starter job to take its styles from.

Nobody's painting has to be shipped or downloaded for a first render. Style transfer with VGG19
learns from texture at the scale of a brush, from edges and from the palette, so each picture is
busy everywhere, in few strong colours, and without frame or margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from PIL import Image

from jobs.examples._flow import flow
from jobs.examples._glass import stained_glass
from jobs.examples._woodblock import woodblock

Name: TypeAlias = Literal["flow", "woodblock", "stained-glass"]

NAMES: tuple[Name, ...] = get_args(Name)
SMALLEST = 64  # below this, strokes are thinner than pixels

_PAINTERS: dict[Name, Callable[[int, int], Image.Image]] = {
    "flow": flow,
    "woodblock": woodblock,
    "stained-glass": stained_glass,
}


def draw(name: Name, width: int = 768, seed: int = 0) -> Image.Image:
    """Paint the picture ``name`` as RGB, ``width`` pixels wide.

    The same arguments give the same pixels. Another width gives the same picture seen from closer
    or further off; another seed the same composition in another hand. ``flow`` and ``woodblock``
    are three quarters as high as wide, ``stained-glass`` is square.
    """
    if width < SMALLEST:
        raise ValueError(f"width must be at least {SMALLEST} pixels, not {width}")
    return _PAINTERS[name](width, seed)
