"""TIFF of every kind by tifffile: depths, planes, tiles, compressions, CMYK, Lab, alpha.

Source: TIFF Revision 6.0; TIFF Technical Notes (Adobe, 2002) for Lab.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tifffile

from stylize.errors import PictureError
from stylize.pictures.reading.raster import CHANNELS, Floats, Model, Raster, Values, unit

MOST_CHANNELS = 64
"""Channels of a page, of which those behind the colours and the opacity are left out."""

_MODELS: dict[str, Model] = {
    "MINISBLACK": "grey",
    "MINISWHITE": "grey",
    "RGB": "rgb",
    "SEPARATED": "cmyk",
    "CIELAB": "lab",
    "ICCLAB": "lab",
}


def first_page(data: bytes) -> Any:
    """Return the first page of a file, its pixels not decoded yet. Raises what tifffile raises."""
    return tifffile.TiffFile(io.BytesIO(data)).pages.first


def is_read_here(page: Any) -> bool:
    """Return whether ``read_page`` is to read a page; False: Pillow does, which knows older kinds.

    These are palettes, CCITT's fax, less than 8 bits, CMYK by JPEG, and YCbCr not by JPEG. Pages of more than
    8 bits or in planes are never left to Pillow, which reads some of them as other pictures.
    """
    bits = _bits(page)
    if bits > 8 or page.planarconfig == 2:
        return True
    by_jpeg = page.compression in (6, 7)
    if page.photometric == 6:
        return bits == 8 and page.compression == 7
    return bits == 8 and _name(page) in _MODELS and not (by_jpeg and _name(page) == "SEPARATED")


def is_camera_raw(page: Any) -> bool:
    """Return whether a file's first page is that of a camera's raw file, whose pictures are no TIFF's.

    So it is where it has a version of DNG, the values of a sensor, or, as NEF and ARW have it, a preview, the
    name of a camera, and other pictures below.
    """
    tags = page.tags
    if 50706 in tags or int(page.photometric or 0) in (32803, 34892):
        return True
    return 271 in tags and 330 in tags and bool(int(page.subfiletype) & 1)


def orientation_of(page: Any) -> int:
    """Return the orientation of a page, 1 to 8."""
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1


def read_page(page: Any) -> Raster:
    """Return the raster of a page.

    Raises:
        PictureError: Its values or channels have no meaning as a picture. The text has no name yet.
    """
    photometric = _name(page)
    # What was compressed by JPEG or WebP is RGB when it has been decoded.
    model = "rgb" if photometric == "YCBCR" else _MODELS.get(photometric)
    if model is None:
        raise PictureError(
            f"is a TIFF of the kind {photometric}, which is not read; save it as RGB"
        )
    if page.samplesperpixel > MOST_CHANNELS:
        raise PictureError(f"has {page.samplesperpixel} channels; the limit is {MOST_CHANNELS}")
    if 0 in page.databytecounts:
        raise PictureError("is damaged: a part of its pixels is missing")
    pixels = _channels_last(page)
    count = CHANNELS[model]
    if pixels.shape[2] < count:
        raise PictureError(f"has {pixels.shape[2]} channels where {photometric} has {count}")
    colours, white = _scaled(pixels[..., :count], page)
    if photometric == "MINISWHITE":
        colours = colours.dtype.type(white) - colours
    kind, opacity = "", None
    for index, extra in enumerate(page.extrasamples):
        if int(extra) in (1, 2) and count + index < pixels.shape[2]:
            values, full = _scaled(pixels[..., count + index], page)
            opacity, kind = unit(values, full).clip(0, 1), "associated" if int(extra) == 1 else ""
            break
    if model == "lab":
        colours, white = _lab(colours, white, icc=photometric == "ICCLAB"), 1.0
    profile = page.tags.get(34675)
    return Raster(
        colours,
        model,
        white,
        opacity,
        kind == "associated",
        bytes(profile.value) if profile is not None and model != "lab" else None,
    )


def _name(page: Any) -> str:
    return str(getattr(page.photometric, "name", page.photometric))


def _bits(page: Any) -> int:
    bits = page.bitspersample
    return int(bits if isinstance(bits, int) else max(bits))


def _channels_last(page: Any) -> Values:
    pixels = np.asarray(page.asarray())
    axes = page.axes
    if axes.endswith("YX"):  # grey, or planes one after the other
        return np.moveaxis(pixels, 0, 2) if pixels.ndim == 3 else pixels[..., None]
    if pixels.ndim != 3:
        raise PictureError(f"is a TIFF of {pixels.ndim} dimensions, and a picture has 2")
    return pixels


def _scaled(values: Values, page: Any) -> tuple[Values, float]:
    """Return values as uint8, uint16 or float32, and the value of full scale."""
    kind = values.dtype
    if kind.kind == "f":
        return values.astype(np.float32), 1.0
    if kind.kind == "b":
        return values.astype(np.uint8) * np.uint8(255), 255
    if kind.kind != "u":
        raise PictureError("has values with a sign, which no picture has")
    bits = _bits(page)
    if bits in (8, 16):
        return values, float(2**bits - 1)
    return (values / np.float64(2**bits - 1)).astype(np.float32), 1.0


def _lab(values: Values, white: float, *, icc: bool) -> Floats:
    """Return L*, a* and b* of values as they are stored.

    CIELAB stores a* and b* with a sign, 256 of 16 bits being 1; ICCLAB stores them from 128 up.
    """
    if white == 1.0:
        return values.astype(np.float32)
    per_unit = 1 if white == 255 else 256
    stored = values[..., 1:]
    if icc:
        ab = stored.astype(np.float32) / per_unit - 128
    else:
        ab = stored.view(np.int8 if white == 255 else np.int16).astype(np.float32) / per_unit
    # The second edition of ICC profiles, which TIFF follows, has L* of 100 at 0xFF00.
    full = 65280.0 if icc and white == 65535 else white
    lightness = values[..., :1].astype(np.float32) * np.float32(100 / full)
    return np.concatenate([lightness, ab], axis=2)
