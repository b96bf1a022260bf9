"""OpenEXR: scene-linear light in half or float, with the extra ``stylefarm[exr]``.

Source: Technical Introduction to OpenEXR (Academy Software Foundation).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stylize.errors import PictureError
from stylize.pictures.reading.raster import Encoding, Floats, Raster

_GREY = ("Y",)
_RGB = ("R", "G", "B")


def read_exr(data: bytes, limit: int) -> Raster:
    """Return the raster of the first part of an OpenEXR file.

    Values are light: 1 is white, and what is brighter is clipped when colours are converted. Colours that are
    multiplied by their opacity, as the format has them, are divided by it.

    Args:
        data: The file.
        limit: The most pixels.

    Raises:
        PictureError: It needs the extra, has too many pixels, or no colours. The text has no name yet.
        RuntimeError: The file is damaged.
    """
    try:
        import OpenEXR
    except ImportError:
        raise PictureError(
            "is an OpenEXR picture, which needs: pip install 'stylefarm[exr]'"
        ) from None
    with tempfile.TemporaryDirectory(prefix="stylefarm-exr-") as folder:
        path = Path(folder) / "picture.exr"  # the library opens files only
        path.write_bytes(data)
        with OpenEXR.File(str(path), header_only=True) as file:
            width, height = _size(file.header())
        if width * height > limit:
            raise PictureError(
                f"has {width} x {height} px; the limit is {limit // 1_000_000} million pixels"
            )
        with OpenEXR.File(str(path), separate_channels=True) as file:
            # All of it as copies: the file's memory ends with the block.
            primaries = _primaries(file.header())
            channels = {
                name: np.array(channel.pixels, np.float32)
                for name, channel in file.channels().items()
            }
    names = _RGB if set(_RGB) <= channels.keys() else _GREY
    if not set(names) <= channels.keys():
        known = ", ".join(sorted(channels)) or "none"
        raise PictureError(f"has no channels R, G and B, nor Y; it has {known}")
    values = np.stack([channels[name] for name in names], axis=2)
    if not np.isfinite(values).all():
        # A division by zero in a renderer leaves such pixels; as black and as white they do no harm.
        values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    opacity: Floats | None = None
    if "A" in channels:
        opacity = channels["A"].clip(0, 1)
        values = np.divide(
            values, opacity[..., None], out=np.zeros_like(values), where=opacity[..., None] > 0
        )
    encoding = Encoding("linear", primaries=primaries)
    return Raster(values, "grey" if names is _GREY else "rgb", 1.0, opacity, encoding=encoding)


def _size(header: Mapping[str, Any]) -> tuple[int, int]:
    (left, top), (right, bottom) = header["dataWindow"]
    return int(right - left + 1), int(bottom - top + 1)


def _primaries(header: Mapping[str, Any]) -> tuple[tuple[float, float], ...] | None:
    said = header.get("chromaticities")
    if said is None:
        return None
    x = [float(value) for value in np.asarray(said, float).ravel()]
    return tuple(zip(x[::2], x[1::2], strict=True)) if len(x) == 8 else None
