"""Coarse to fine: the shapes of one render, and how pictures move from one size to the next."""

from __future__ import annotations

import math

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.errors import PictureError
from stylize.recipe import LARGEST_SIZE, Recipe


def shape_at(height: int, width: int, longest: int) -> tuple[int, int]:
    """(height, width) with the same proportions and this longest side, in pixels; neither below 1."""
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(x_B3HW: Tensor, height: int, width: int) -> Tensor:
    """Bicubic, low-passed when shrinking (no aliasing). May overshoot its input's range a little."""
    if x_B3HW.shape[2:] == (height, width):
        return x_B3HW
    return F.interpolate(
        x_B3HW, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )


def add_margin(x_B3HW: Tensor, margin: int) -> Tensor:
    """A mirrored margin of so many pixels on every side, or as many as the picture can mirror."""
    height, width = x_B3HW.shape[2:]
    m = mirrored(height, width, margin)
    return F.pad(x_B3HW, (m, m, m, m), mode="reflect") if m else x_B3HW


def cut_margin(x_B3HW: Tensor, height: int, width: int) -> Tensor:
    """The middle (height, width) of a picture with a margin."""
    top, left = (x_B3HW.shape[2] - height) // 2, (x_B3HW.shape[3] - width) // 2
    return x_B3HW[..., top : top + height, left : left + width]


def mirrored(height: int, width: int, margin: int) -> int:
    """How wide a margin a picture of this shape can have: less than its shorter side."""
    return min(margin, height - 1, width - 1)


def check_shape(height: int, width: int, recipe: Recipe, what: str = "content") -> None:
    """Raise PictureError when a picture of this shape gets too narrow for the deepest layer."""
    sizes = [size for size, _ in recipe.schedule()]
    short = min(shape_at(height, width, min(sizes)))
    if short >= recipe.smallest_side:
        return
    # The least size whose rounded short side is enough.
    enough = math.ceil((recipe.smallest_side - 0.5) * max(height, width) / min(height, width))
    while min(shape_at(height, width, enough)) < recipe.smallest_side:
        enough += 1
    problem = f"the {what} is {width} x {height} px: at size {min(sizes)} its short side would be {short} px"
    need = f"and VGG19 needs {recipe.smallest_side}"
    if enough > LARGEST_SIZE:
        raise PictureError(f"{problem}, {need}; crop it to a wider one")
    knobs = "size" if recipe.start_size is None or recipe.size < enough else ""
    if len(sizes) > 1 or (recipe.start_size is not None and recipe.start_size < enough):
        knobs = f"{knobs} and start_size" if knobs else "start_size"
    raise PictureError(f"{problem}, {need}; set {knobs} to {enough} or more, or crop it")


def style_shape(
    height: int, width: int, content_shape: tuple[int, int], recipe: Recipe
) -> tuple[int, int]:
    """(height, width) at which a style is analysed, when the content is painted at content_shape."""
    if recipe.style_fit == "squash":
        return content_shape
    h, w = shape_at(height, width, max(1, round(max(content_shape) * recipe.style_scale)))
    # A sliver of a style is stretched across rather than refused: its texture is all that counts.
    return max(h, recipe.smallest_side), max(w, recipe.smallest_side)
