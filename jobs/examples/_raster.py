"""Helpers of the three painters: noise, colour ramps and the step from floats to a picture.

All lengths are fractions of the picture's width, so that a small picture is the large one seen from further
away, not another picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Rgb: TypeAlias = tuple[int, int, int]


def floats(values: Any) -> Floats:
    """Return values in single precision: half the memory traffic, and far finer than 8-bit colour."""
    return np.asarray(values, dtype=np.float32)


def ink(colour: Rgb) -> Floats:
    """Return an 8-bit colour on the scale 0..1."""
    return floats(np.asarray(colour) / 255)


def resample(field: Floats, shape: tuple[int, int]) -> Floats:
    """Resize a 2-D field: bicubic up, and anti-aliased down (Pillow widens its kernel)."""
    height, width = shape
    return floats(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC))


def noise(rng: np.random.Generator, shape: tuple[int, int], across: float, down: float) -> Floats:
    """Return smooth noise around 0, about -1..1, with ``across`` by ``down`` lumps over the picture."""
    cells = (max(2, round(down)), max(2, round(across)))
    return resample(floats(rng.uniform(-1, 1, cells)), shape)


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], across: float, octaves: int
) -> Floats:
    """Return noise with detail at ``octaves`` scales, each twice as fine and half as strong."""
    aspect = shape[0] / shape[1]
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cells = across * 2**octave
        total += noise(rng, shape, cells, cells * aspect) / 2**octave
    return total


def ramp(position: Floats, colours: Sequence[Rgb]) -> Floats:
    """Return the colours (0..1) at each ``position`` (0..1) of a scale of evenly spaced ``colours``."""
    stops = np.linspace(0, 1, len(colours))
    table = np.asarray(colours, dtype=np.float64) / 255
    channels = [np.interp(position, stops, table[:, channel]) for channel in range(3)]
    return floats(np.stack(channels, axis=-1))


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """Return 0 below ``low``, 1 above ``high``, and between them a curve without a kink at either end."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return floats(t * t * (3 - 2 * t))


def mix(a: Floats, b: Floats | float, share: Floats) -> Floats:
    """Return ``a`` with ``share`` of it replaced by ``b``; ``share`` lacks the colour axis of ``a``."""
    return floats(a + (b - a) * share[..., None])


def shrink(pixels: Floats, factor: int) -> Floats:
    """Return the mean over blocks of ``factor`` by ``factor`` pixels: supersampling gives smooth edges."""
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // factor, factor, width // factor, factor, channels)
    return floats(blocks.mean(axis=(1, 3)))


def picture(pixels: Floats) -> Image.Image:
    """Return colours 0..1 as an 8-bit RGB image."""
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
