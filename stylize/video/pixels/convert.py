"""Planes of a film to R'G'B' as a player shows it, and back: our own arithmetic, in float32.

swscale is not asked: it rounds dark, and takes ranges and matrices from where PyAV does not put them.
"""

from __future__ import annotations

import numpy as np

from stylize.video.pixels.chroma import gather, spread
from stylize.video.pixels.levels import Floats, Values, to_numbers, to_values
from stylize.video.pixels.light import from_display, to_display
from stylize.video.pixels.planes import Planes
from stylize.video.pixels.tags import RGB, ColourTags, to_rgb_matrix


def to_rgb(planes: Planes, tags: ColourTags) -> Floats:
    """Return what is shown, (H, W, 3) in [0, 1].

    Args:
        planes: The values of a frame.
        tags: What they mean (``ColourTags.meant``).
    """
    range_ = tags.range or "limited"
    bits = planes.bits
    if planes.model == "rgb" or (planes.model == "yuv" and tags.matrix == RGB):
        planes_ = planes.values
        if (
            planes.model == "yuv"
        ):  # G', B' and R' in the places of Y', Cb and Cr (H.273, equation 38)
            green, blue, red = planes_
            planes_ = (red, green, blue)
        rgb = np.stack([to_numbers(plane, "light", bits, range_) for plane in planes_], -1)
        return to_display(rgb, tags)
    luma = to_numbers(planes.values[0], "light", bits, range_)
    if planes.model == "grey":
        return to_display(np.repeat(luma[..., None], 3, 2), tags)
    shape, steps = planes.shape, planes.steps
    siting = tags.siting or "left"
    blue, red = (
        spread(to_numbers(plane, "chroma", bits, range_), shape, steps, siting)
        for plane in planes.values[1:]
    )
    rgb = np.empty((*shape, 3), np.float32)
    for channel, (_, of_blue, of_red) in enumerate(to_rgb_matrix(tags.matrix)):
        out = rgb[..., channel]
        np.add(luma, np.float32(of_blue) * blue, out=out)
        out += np.float32(of_red) * red
    return to_display(rgb, tags)


def opacity(planes: Planes) -> Floats | None:
    """Return how opaque each pixel is, (H, W, 1) in [0, 1]; None: all are."""
    if planes.alpha is None:
        return None
    return to_numbers(planes.alpha, "light", planes.bits, "full")[..., None]


def from_rgb(rgb: Floats, tags: ColourTags, bits: int, steps: tuple[int, int] | None) -> Planes:
    """Return the values of a frame that is shown as the given.

    Args:
        rgb: (H, W, 3) in [0, 1]; (H, W, 4) has opacity behind.
        tags: What the film says; its matrix, range and siting are set.
        bits: Of a value.
        steps: How many columns and rows of luma share a sample of chroma; None: planes of R', G' and B'.
    """
    range_ = tags.range or "limited"
    alpha = to_values(rgb[..., 3], "light", bits, "full") if rgb.shape[2] == 4 else None
    rgb = from_display(rgb[..., :3], tags)
    if steps is None:
        channels = (np.ascontiguousarray(rgb[..., i]) for i in range(3))
        values = tuple(to_values(channel, "light", bits, range_) for channel in channels)
        return Planes("rgb", values, bits, alpha=alpha)
    matrix = np.linalg.inv(to_rgb_matrix(tags.matrix)).astype(np.float32)
    numbers = [rgb[..., 0] * r + rgb[..., 1] * g + rgb[..., 2] * b for r, g, b in matrix]
    siting = tags.siting or "left"
    chroma = (gather(plane, steps, siting) for plane in numbers[1:])
    return Planes(
        "yuv",
        (
            to_values(numbers[0], "light", bits, range_),
            *(to_values(plane, "chroma", bits, range_) for plane in chroma),
        ),
        bits,
        steps,
        alpha,
    )


def quantised(rgb: Floats, bits: int) -> Values:
    """Return R'G'B' in [0, 1] as uint8, or as uint16 for more than 8 bits; white is 255, or 65535."""
    white, kind = (255.0, np.uint8) if bits <= 8 else (65535.0, np.uint16)
    values: Values = (rgb * np.float32(white) + np.float32(0.5)).astype(kind)
    return values


def to_floats(rgb: Values) -> Floats:
    """Return uint8 or uint16 as float32 in [0, 1]."""
    numbers: Floats = rgb.astype(np.float32) * np.float32(1 / np.iinfo(rgb.dtype).max)
    return numbers
