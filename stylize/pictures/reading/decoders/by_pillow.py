"""Images of Pillow as rasters: JPEG, WebP, GIF, BMP, and PNG and TIFF of up to 8 bits per channel.

Deeper files are read by ``deep_png.py`` and ``tiff.py``, because Pillow has modes of 8 bits only for colours,
and reads some deep TIFFs as other pictures than they are (planes of 16 bits, white as zero).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from stylize.pictures.reading.raster import Floats, Raster, Values, unit

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Modes of grey pictures of 16 bits; ``I`` has them in 32."""

STRIP = 64
"""Rows of an image that are copied at a time."""


def raster_of(image: Image.Image) -> Raster:
    """Return the raster of a loaded image."""
    profile = image.info.get("icc_profile") or None
    mode = image.mode
    if mode in _GREY_16:
        levels = np.asarray(image)
        return Raster(*_deep(levels), opacity=_keyed(image, levels), profile=profile)
    if mode == "F":
        return Raster(np.asarray(image)[..., None], "grey", 1.0, profile=profile)
    if mode in ("1", "L") and "transparency" not in image.info:
        return Raster(_pixels(image.convert("L")), "grey", 255, profile=profile)
    if mode in ("LA", "La"):
        both = np.asarray(image)
        opacity, associated = unit(both[..., 1], 255), mode == "La"
        return Raster(both[..., :1], "grey", 255, opacity, associated, profile)
    if mode == "RGBa":
        both = np.asarray(image)
        return Raster(both[..., :3], "rgb", 255, unit(both[..., 3], 255), True, profile)
    if image.has_transparency_data:
        both = np.asarray(image.convert("RGBA"))
        return Raster(both[..., :3], "rgb", 255, unit(both[..., 3], 255), profile=profile)
    if mode == "CMYK":
        return Raster(_pixels(image), "cmyk", 255, profile=profile)
    if mode == "LAB":
        lightness, a, b = (np.asarray(band, dtype=np.float32) for band in image.split())
        return Raster(np.stack([lightness / np.float32(2.55), a - 128, b - 128], 2), "lab", 1.0)
    # Of an image that is RGB already, convert would make a copy.
    rgb = image if mode == "RGB" else image.convert("RGB")
    return Raster(_pixels(rgb), "rgb", 255, profile=profile)


def _pixels(image: Image.Image) -> Values:
    """Return the values of an image of 8 bits, (H, W, C).

    Pillow copies an image twice to hand its values out; strip by strip, these copies stay in the cache.
    """
    width, height = image.size
    pixels = np.empty((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, STRIP):
        strip = np.asarray(image.crop((0, top, width, min(top + STRIP, height))))
        pixels[top : top + STRIP] = strip.reshape(-1, *pixels.shape[1:])
    return pixels


def _deep(levels: Values) -> tuple[Values, Literal["grey"], float]:
    if levels.dtype == np.int32:
        levels = levels.clip(0, 65535)
    return levels.astype(np.uint16)[..., None], "grey", 65535


def _keyed(image: Image.Image, levels: Values) -> Floats | None:
    """Return the opacity of a grey image in which one value is transparent; None: it has none."""
    clear = image.info.get("transparency")
    return (levels != clear).astype(np.float32) if isinstance(clear, int) else None
