"""The shapes of a render from coarse to fine, resizing between them, and margins.

Shape suffixes: B pictures, H height, W width.
"""

from __future__ import annotations

import math

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.errors import PictureError
from stylize.recipe import LARGEST_SIZE, Recipe


def shape_at(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return the shape with the same proportions and another longest side.

    Args:
        height: Height, in pixels.
        width: Width, in pixels.
        longest: The longest side of the result, in pixels.

    Returns:
        (height, width) in pixels, each at least 1.
    """
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(x_B3HW: Tensor, height: int, width: int) -> Tensor:
    """Resize pictures by bicubic interpolation, with a low-pass filter when shrinking (no aliasing).

    Args:
        x_B3HW: The pictures, (B, 3, H, W), or masks, (B, 1, H, W).
        height: The new height, in pixels.
        width: The new width, in pixels.

    Returns:
        The resized pictures, whose values may overshoot the range of the input a little. The input
        itself if it has that shape.
    """
    if x_B3HW.shape[2:] == (height, width):
        return x_B3HW
    return F.interpolate(
        x_B3HW, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )


def add_margin(x_B3HW: Tensor, margin: int) -> Tensor:
    """Return pictures with a mirrored margin on every side.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), or masks, (B, 1, H, W).
        margin: The width of the margin, in pixels, >= 0. A small picture gets a smaller one: ``mirrored``.
    """
    height, width = x_B3HW.shape[2:]
    m = mirrored(height, width, margin)
    return F.pad(x_B3HW, (m, m, m, m), mode="reflect") if m else x_B3HW


def cut_margin(x_B3HW: Tensor, height: int, width: int) -> Tensor:
    """Return the middle of pictures with a margin.

    Args:
        x_B3HW: The pictures with their margin, (B, 3, H, W).
        height: The height without margin, in pixels.
        width: The width without margin, in pixels.
    """
    top, left = (x_B3HW.shape[2] - height) // 2, (x_B3HW.shape[3] - width) // 2
    return x_B3HW[..., top : top + height, left : left + width]


def mirrored(height: int, width: int, margin: int) -> int:
    """Return the width of the margin that a picture can have, in pixels: less than its shorter side.

    Args:
        height: Height of the picture, in pixels, >= 1.
        width: Width of the picture, in pixels, >= 1.
        margin: The width that is wanted, in pixels, >= 0.
    """
    return min(margin, height - 1, width - 1)


def check_shape(height: int, width: int, recipe: Recipe, what: str = "content") -> None:
    """Raise if a picture of this shape is too narrow for the deepest layer at any size of a render.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        recipe: The knobs of the render.
        what: The name of the picture in the message.

    Raises:
        PictureError: The short side at the smallest size is below ``recipe.smallest_side``.
    """
    sizes = [size for size, _ in recipe.schedule()]
    short = min(shape_at(height, width, min(sizes)))
    if short >= recipe.smallest_side:
        return
    # The smallest size whose rounded short side is enough.
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
    """Return the shape at which a style is analysed.

    Args:
        height: Height of the style, in pixels.
        width: Width of the style, in pixels.
        content_shape: (height, width) of the painted canvas, in pixels.
        recipe: The knobs of the render: ``style_fit`` and ``style_scale`` count.

    Returns:
        (height, width) in pixels, each at least ``recipe.smallest_side`` unless the style is squashed to
        the canvas.
    """
    if recipe.style_fit == "squash":
        return content_shape
    h, w = shape_at(height, width, max(1, round(max(content_shape) * recipe.style_scale)))
    # A very narrow style is stretched rather than refused, because only its texture counts.
    return max(h, recipe.smallest_side), max(w, recipe.smallest_side)
