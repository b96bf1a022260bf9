"""Three pictures painted by program: the styles of the starter job.

They save shipping or downloading a painting for a first render. Style transfer with VGG19 takes texture at
the scale of a brush, edges and the palette, so each picture is busy everywhere, in few strong colours, and
without frame or margin.
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
SMALLEST = 64  # pixels; below this, strokes are thinner than pixels

_PAINTERS: dict[Name, Callable[[int, int], Image.Image]] = {
    "flow": flow,
    "woodblock": woodblock,
    "stained-glass": stained_glass,
}


def draw(name: Name, width: int = 768, seed: int = 0) -> Image.Image:
    """Paint one of the three pictures. The same arguments give the same pixels.

    Args:
        name: ``flow`` and ``woodblock`` are three quarters as high as wide, ``stained-glass`` is square.
        width: Pixels, at least 64. Another width gives the same picture from closer or further away.
        seed: Another seed gives the same composition by another hand.

    Returns:
        An RGB image.

    Raises:
        ValueError: ``width`` is below 64.
    """
    if width < SMALLEST:
        raise ValueError(f"width must be at least {SMALLEST} pixels, not {width}")
    return _PAINTERS[name](width, seed)
