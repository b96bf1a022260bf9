"""``values_of``: a picture as a screen shows it, in whole numbers, for what takes no floats."""

from __future__ import annotations

import numpy as np

from stylize.pictures.reading.colours import is_plain, to_rgb
from stylize.pictures.reading.open import open_raster
from stylize.pictures.reading.raster import Values


def values_of(data: bytes, name: str, keep_alpha: bool = False) -> Values:
    """Return a picture in sRGB, laid over white where it is transparent.

    Args:
        data: The bytes of a file that ``open_raster`` reads.
        name: The name with which an error message begins.
        keep_alpha: If a pixel is transparent, have opacity behind the colours, not multiplied by it, instead.

    Returns:
        (H, W, 3), with opacity (H, W, 4): uint8, or uint16 if the file has more than 8 bits. Colours outside
        of sRGB are clipped.

    Raises:
        PictureError: The picture cannot be read.
    """
    raster = open_raster(data, name)
    kind = np.uint8 if raster.values.dtype == np.uint8 else np.uint16
    most = np.iinfo(kind).max
    is_opaque = raster.opacity is None or bool((raster.opacity == 1).all())
    if is_opaque and is_plain(raster) and raster.white == most and raster.values.dtype == kind:
        return np.ascontiguousarray(raster.values)
    rgb = to_rgb(raster).clip(0, 1)
    if raster.opacity is not None and not is_opaque:
        opacity = raster.opacity[..., None]
        if keep_alpha:
            straight = rgb / np.maximum(opacity, 1e-6) if raster.associated else rgb
            rgb = np.dstack([straight, opacity])
        else:
            rgb = (rgb if raster.associated else rgb * opacity) + (1 - opacity)
    values: Values = np.rint(rgb.clip(0, 1) * most).astype(kind)
    return values
