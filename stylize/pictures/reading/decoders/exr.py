"""OpenEXR: scene-linear light in half or float, with the extra ``stylefarm[exr]``.

Source: Technical Introduction to OpenEXR (Academy Software Foundation).
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stylize.errors import PictureError
from stylize.pictures.reading.raster import Encoding, Floats, Raster

_GREY = ("Y",)
_RGB = ("R", "G", "B")

_BEAUTY = "Combined"
"""The layer of Blender's files of several layers that is the picture: ``ViewLayer.Combined.R``."""


def read_exr(data: bytes, limit: int) -> Raster:
    """Return the raster of the first part of an OpenEXR file that has colours.

    They are the channels R, G and B, or Y; if no part has these, those of the one layer that has R, G and B,
    or is Blender's "Combined". The picture is the display window. Where no pixels are given it is black, and
    transparent if it has alpha.

    Values are light: 1 is white, and what is brighter is clipped when colours are converted. Colours that are
    multiplied by their opacity, as the format has them, are divided by it.

    Args:
        data: The file.
        limit: The most pixels.

    Raises:
        PictureError: It needs the extra, has too many pixels, or no colours. The text has no name yet.
        RuntimeError: The file is damaged.
    """
    channels, header = read_channels(data, limit)
    primaries = _primaries(header)
    names = _colours(channels)
    if names == _GREY and {"RY", "BY"} & channels.keys():
        raise PictureError(
            "has luminance and chroma (Y, RY, BY), which is not read: save it as RGB"
        )
    if names is None:
        known = ", ".join(sorted(channels)) or "none"
        raise PictureError(f"has no channels R, G and B, nor Y; it has {known}")
    alpha = f"{names[0].rpartition('R')[0]}A"
    values = np.stack([channels[name] for name in names], axis=2)
    if not np.isfinite(values).all():
        # A division by zero in a renderer leaves such pixels; as black and as white they do no harm.
        values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    opacity: Floats | None = None
    if alpha in channels:
        opacity = channels[alpha].clip(0, 1)
        values = np.divide(
            values, opacity[..., None], out=np.zeros_like(values), where=opacity[..., None] > 0
        )
    encoding = Encoding("linear", primaries=primaries)
    return Raster(values, "grey" if names == _GREY else "rgb", 1.0, opacity, encoding=encoding)


def read_channels(
    data: bytes, limit: int, *, every_part: bool = False
) -> tuple[dict[str, Floats], Mapping[str, Any]]:
    """Return the channels of an OpenEXR file within its display window, (H, W), as they are, and its header.

    Args:
        data: The file.
        limit: The most pixels.
        every_part: Whether the channels of all parts are returned, those without a layer in their names with
            the name of their part; else those of the first that has colours, or of the first.

    Raises:
        PictureError: It needs the extra, or has too many pixels. The text has no name yet.
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
            headers = [file.header(part) for part in range(len(file.parts))]
            parts = range(len(headers)) if every_part else [_part_with_colours(headers)]
            windows = {
                part: [headers[part][f"{kind}Window"] for kind in ("data", "display")]
                for part in parts
            }
        for window in (window for both in windows.values() for window in both):
            width, height = _size(window)
            if width * height > limit:
                raise PictureError(
                    f"has {width} x {height} px; the limit is {limit // 1_000_000} million pixels"
                )
        channels: dict[str, Floats] = {}
        with OpenEXR.File(str(path), separate_channels=True) as file:
            # All of it as copies: the file's memory ends with the block.
            header = dict(file.header(parts[0]))
            for part in parts:
                for name, channel in file.channels(part).items():
                    if every_part and part and "." not in name:
                        name = f"{file.header(part).get('name', part)}.{name}"
                    channels[name] = _shown(np.array(channel.pixels, np.float32), *windows[part])
    return channels, header


def _part_with_colours(headers: Sequence[Mapping[str, Any]]) -> int:
    """Return the first part whose channels are colours, else that has a layer of them, else the first.

    A renderer may write depth, or a layer of albedo, before the picture.
    """
    found = [_colours([channel.name for channel in header["channels"]]) for header in headers]
    plain = [part for part, names in enumerate(found) if names in (_RGB, _GREY)]
    return (plain or [part for part, names in enumerate(found) if names] or [0])[0]


def _colours(channels: Collection[str]) -> tuple[str, ...] | None:
    """Return the names of the channels that are the picture; None: none are, or it cannot be told which."""
    for names in (_RGB, _GREY):
        is_place = names == _GREY and "X" in channels  # X, Y and Z
        if set(names) <= set(channels) and not is_place:
            return names
    layers = [name.removesuffix("R") for name in channels if name.endswith(".R")]
    layers = [layer for layer in layers if {f"{layer}G", f"{layer}B"} <= set(channels)]
    if len(layers) > 1:
        layers = [layer for layer in layers if layer.split(".")[-2] == _BEAUTY]
    return tuple(f"{layers[0]}{name}" for name in _RGB) if len(layers) == 1 else None


def _size(window: Any) -> tuple[int, int]:
    (left, top), (right, bottom) = window
    return int(right - left + 1), int(bottom - top + 1)


def _shown(values: Floats, data: Any, display: Any) -> Floats:
    """Return the values of a channel within the display window, of those within the data window."""
    (width, height), (left, top) = _size(display), (np.subtract(data[0], display[0])).tolist()
    if (left, top) == (0, 0) and values.shape == (height, width):
        return values
    shown = np.zeros((height, width), np.float32)
    rows = slice(max(top, 0), max(0, min(top + values.shape[0], height)))
    columns = slice(max(left, 0), max(0, min(left + values.shape[1], width)))
    if rows.start < rows.stop and columns.start < columns.stop:
        inside = values[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        shown[rows, columns] = inside
    return shown


def _primaries(header: Mapping[str, Any]) -> tuple[tuple[float, float], ...] | None:
    said = header.get("chromaticities")
    if said is None:
        return None
    x = [float(value) for value in np.asarray(said, float).ravel()]
    return tuple(zip(x[::2], x[1::2], strict=True)) if len(x) == 8 else None
