"""PSD: its flattened picture, of 8 or 16 bits of grey, RGB, CMYK, Lab or duotone.

Pillow (13.0), which reads palettes and bitmaps, takes every fourth channel for transparency, does not see if
a document has no flattened picture, and makes another picture of one that is packed and has further channels.

Source: Adobe Photoshop File Formats Specification (2019).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from stylize.errors import PictureError
from stylize.pictures.reading.raster import CHANNELS, Model, Raster, Values, unit

_MODELS: dict[int, Model] = {1: "grey", 3: "rgb", 4: "cmyk", 8: "grey", 9: "lab"}
"""The colour modes that are read here; duotone (8) is its grey."""

BY_PILLOW = (0, 2)
"""The colour modes that Pillow reads: bitmap and palette."""

_PROFILE, _VERSION_INFO = 1039, 1057
"""Image resources: the ICC profile; whether there is a flattened picture."""


@dataclass(frozen=True)
class Document:
    """What a PSD says of its flattened picture."""

    width: int
    height: int
    channels: int
    depth: int
    """Bits per channel."""
    mode: int
    """The colour mode: 1 grey, 3 RGB, 4 CMYK, 9 Lab, and others."""
    has_transparency: bool
    """Whether the first channel after the colours is the opacity."""
    profile: bytes | None
    start: int
    """Where the picture's data begin."""


def document_of(data: bytes) -> Document:
    """Return what a PSD says of its flattened picture.

    Raises:
        PictureError: It has none. The text has no name yet.
        struct.error: The file is cut short.
    """
    channels, height, width, depth, mode = struct.unpack_from(">HIIHH", data, 12)
    at = 26
    at += 4 + _length(data, at)  # colour mode data
    resources = _resources(data[at + 4 : at + 4 + _length(data, at)])
    info = resources.get(_VERSION_INFO, b"")
    if len(info) > 4 and not info[4]:
        raise PictureError(
            "has layers alone and no flattened picture: save it with 'Maximize Compatibility'"
        )
    at += 4 + _length(data, at)
    layers = _length(data, at)
    # A negative number of layers says that the first further channel is the transparency.
    has_transparency = False
    if layers >= 6 and len(data) >= at + 10:
        length, count = struct.unpack_from(">Ih", data, at + 4)
        has_transparency = bool(length and count < 0)
    profile = resources.get(_PROFILE)
    return Document(
        width, height, channels, depth, mode, has_transparency, profile, at + 4 + layers
    )


def with_transparency(raster: Raster, document: Document) -> Raster:
    """Return the raster of a flattened picture, without the opacity unless it is meant.

    Args:
        raster: What was read; its opacity may be a selection that was saved.
        document: What the file says.
    """
    if raster.opacity is None:
        return raster
    if not document.has_transparency:
        return replace(raster, opacity=None)
    # Photoshop has laid the colours over white.
    opacity = raster.opacity[..., None]
    laid = unit(raster.values, raster.white)
    colours = np.ones_like(laid)
    np.divide(laid - (1 - opacity), opacity, out=colours, where=opacity > 0)
    return replace(raster, values=colours.clip(0, 1), white=1.0)


def read_psd(data: bytes, document: Document) -> Raster:
    """Return the raster of a flattened picture.

    Raises:
        PictureError: It has another depth, or colours that are not read. The text has no name yet.
        ValueError, struct.error: The file is damaged.
    """
    model = _MODELS.get(document.mode)
    if (
        document.depth not in (8, 16)
        or model is None
        or document.channels < CHANNELS[model]
        or (model == "lab" and document.depth != 8)
    ):
        raise PictureError(
            f"is a PSD of {document.depth} bits per channel and the colour mode {document.mode}, which is "
            "not read: save it as RGB of 8 or 16 bits, or as TIFF"
        )
    count = CHANNELS[model]
    wanted = count + (document.has_transparency and document.channels > count)
    planes = _planes(data, document, wanted)
    colours = np.ascontiguousarray(np.moveaxis(planes[:count], 0, 2))
    white = 255 if document.depth == 8 else 65535
    opacity = unit(planes[count], white) if wanted > count else None
    if model == "lab":
        lightness, ab = colours[..., :1].astype(np.float32), colours[..., 1:].astype(np.float32)
        lab = np.concatenate([lightness / np.float32(2.55), ab - 128], 2)
        return Raster(lab, "lab", 1.0, opacity)
    if model == "cmyk":
        colours = colours.dtype.type(white) - colours  # it stores what the inks leave
    return Raster(colours, model, white, opacity, profile=document.profile)


def _planes(data: bytes, document: Document, wanted: int) -> Values:
    """Return the first channels, (C, H, W), uint8 or uint16."""
    import imagecodecs

    shape = (wanted, document.height, document.width)
    kind = np.dtype(">u2") if document.depth == 16 else np.dtype(np.uint8)
    native = kind.newbyteorder("=")
    (compression,) = struct.unpack_from(">H", data, document.start)
    at = document.start + 2
    if compression == 0:
        values = np.frombuffer(data, kind, wanted * document.height * document.width, at)
        return values.reshape(shape).astype(native)
    if compression != 1:
        raise PictureError(
            f"is a PSD of the compression {compression}, which is not read: save it as TIFF"
        )
    rows = document.channels * document.height
    lengths = np.frombuffer(data, ">u2", rows, at).astype(int)
    ends = at + 2 * rows + np.cumsum(lengths)
    packed = zip(ends - lengths, ends, strict=True)
    planes = np.empty((wanted * document.height, document.width), native)
    for row, (start, end) in zip(planes, packed, strict=False):
        row[:] = np.frombuffer(imagecodecs.packbits_decode(data[start:end]), kind)
    return planes.reshape(shape)


def _length(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0])


def _resources(data: bytes) -> dict[int, bytes]:
    """Return the image resources by their number."""
    found: dict[int, bytes] = {}
    at = 0
    while data[at : at + 4] == b"8BIM":
        (number,) = struct.unpack_from(">H", data, at + 4)
        name = data[at + 6] if at + 6 < len(data) else 0
        at += 6 + (name + 2) // 2 * 2
        if at + 4 > len(data):
            break
        length = _length(data, at)
        found.setdefault(number, data[at + 4 : at + 4 + length])
        at += 4 + (length + 1) // 2 * 2
    return found
