"""Decode picture files to float32 RGB in [0, 1], and encode them.

Every input (EXIF-rotated, CMYK, palette, 16 bits, with a colour profile or transparency) becomes upright
sRGB, or Display P3 where that is asked for, plus the alpha channel if it has one. Every output is tagged with
its colour space, and equal pixels with equal properties have equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from stylize.errors import PictureError
from stylize.pictures.gamuts import Gamut, profile_of
from stylize.pictures.picture import Picture, on_white, straight
from stylize.pictures.reading.colours import is_plain, to_rgb
from stylize.pictures.reading.open import open_raster
from stylize.pictures.reading.raster import Floats, Raster
from stylize.pictures.writing.base import Labels, Pixels
from stylize.pictures.writing.by_pillow import write_avif, write_jpeg, write_webp
from stylize.pictures.writing.jxl import write_jxl
from stylize.pictures.writing.png import write_png
from stylize.pictures.writing.tiff import write_tiff
from stylize.pictures.writing.xmp import packet

Format = Literal["png", "jpeg", "webp", "tiff", "avif", "jxl"]
"""The formats that are encoded."""
BitDepth = Literal[8, 16]
"""Bits per channel."""

EXTENSIONS: dict[Format, str] = {
    "png": "png",
    "jpeg": "jpg",
    "webp": "webp",
    "tiff": "tif",
    "avif": "avif",
    "jxl": "jxl",
}
"""The file name extension of each format, without a dot."""
CONTENT_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "jxl": "image/jxl",
}
"""The media type of each format."""
DEEP_FORMATS: tuple[Format, ...] = ("png", "tiff")
"""The formats that can have 16 bits per channel."""
SRGB_FORMATS: tuple[Format, ...] = ("jxl",)
"""The formats that are written in sRGB alone."""

LOSSLESS: dict[Format, Callable[[Pixels, Labels], bytes]] = {"png": write_png, "tiff": write_tiff}
LOSSY: dict[Format, Callable[[Pixels, Labels, int], bytes]] = {
    "jpeg": write_jpeg,
    "webp": write_webp,
    "avif": write_avif,
    "jxl": write_jxl,
}


def decode(
    data: bytes, name: str = "the picture", gamut: Gamut = "srgb", *, keep_opaque: bool = False
) -> Picture:
    """Decode a picture file of any of ``reading.formats.FORMATS``.

    Transparent pixels are laid over white, so that invisible colours do not affect the painting.

    Args:
        data: The bytes of the file, at most 150 million pixels.
        name: The name of the picture, with which an error message begins.
        gamut: The colour space of the result; colours outside of it are clipped.
        keep_opaque: Whether an alpha channel counts in which all pixels are opaque: in a film, frames of one
            kind are wanted.

    Returns:
        The upright picture in that colour space, (1, 3, H, W) in [0, 1], and its alpha channel,
        (1, 1, H, W), unless all pixels are opaque.

    Raises:
        PictureError: The data is empty, damaged, too large or of another format.
    """
    return _to_picture(open_raster(data, name), gamut, keep_opaque=keep_opaque)


def decode_painted(data: bytes, name: str = "the picture", gamut: Gamut = "srgb") -> Picture:
    """Decode the file of a painted picture: all that was painted, also where it is clear, over no white.

    Args:
        data: The bytes of the file.
        name: The name of the picture, with which an error message begins.
        gamut: The colour space of the result; colours outside of it are clipped.

    Raises:
        PictureError: As of ``decode``.
    """
    return _to_picture(open_raster(data, name), gamut, is_painted=True)


def as_stored(picture: Picture) -> Picture:
    """Return what ``decode_painted`` makes of a picture that was encoded without loss in 8 bits.

    Args:
        picture: In [0, 1].
    """
    if picture.alpha is None:
        return Picture((picture.rgb * 255).round() / 255)
    colours = straight(picture).clamp(0, 1)
    return Picture(*((values * 255).round() / 255 for values in (colours, picture.alpha)))


def encode(
    picture: Picture,
    image_format: Format = "png",
    quality: int = 92,
    bit_depth: BitDepth = 8,
    *,
    gamut: Gamut = "srgb",
    about: Mapping[str, str] | None = None,
) -> bytes:
    """Encode one picture. Equal pixels with equal properties give equal bytes.

    Args:
        picture: The picture; values are clipped to [0, 1]. A file with alpha shows the same over white.
        image_format: The format of the file. jpeg has no alpha channel: there it is laid over white.
        quality: 1 to 100, for jpeg, webp, avif and jxl; 100 is a jxl without loss.
        bit_depth: Bits per channel: 8, or 16 for png and tiff.
        gamut: The colour space that the picture is in, with which the file is tagged; jxl has sRGB alone.
        about: Properties for the file's XMP, by name; None: it has none.

    Returns:
        The bytes of the file.

    Raises:
        PictureError: The format does not have the bit depth, or the colour space.
    """
    depths = (8, 16) if image_format in DEEP_FORMATS else (8,)
    if bit_depth not in depths:
        known = " or ".join(map(str, depths))
        raise PictureError(f"{image_format} has {known} bits per channel, not {bit_depth}")
    if gamut != "srgb" and image_format in SRGB_FORMATS:
        raise PictureError(f"{image_format} is written in srgb alone, not in {gamut}")
    if picture.alpha is not None and image_format != "jpeg":
        planes = [_to_integers(plane, bit_depth) for plane in (straight(picture), picture.alpha)]
        pixels = np.concatenate(planes, axis=2)
    else:
        pixels = _to_integers(on_white(picture), bit_depth)
    # Of one row or column, any strides count as contiguous for NumPy, but not for imagecodecs (2026.3.6).
    pixels = np.ascontiguousarray(pixels).reshape(-1).reshape(pixels.shape)
    labels = Labels(profile_of(gamut), None if about is None else packet(about))
    if image_format in LOSSLESS:
        return LOSSLESS[image_format](pixels, labels)
    return LOSSY[image_format](pixels, labels, quality)


def read(
    source: Picture | Image.Image | npt.NDArray[Any] | Tensor | bytes | str | Path,
    name: str = "",
    *,
    keep_opaque: bool = False,
) -> Picture:
    """Read a picture from a path, bytes, a Pillow image, an array or a tensor.

    Args:
        source: A path or the bytes of a file; a Pillow image; an array (H, W), (H, W, 3) or (H, W, 4) as
            ``open_raster`` takes it; a floating tensor (3, H, W) or
            (1, 3, H, W), RGB in [0, 1]; or a ``Picture``, which is returned as it is.
        name: The name of the picture, with which an error message begins. Default: the path.
        keep_opaque: As of ``decode``.

    Returns:
        The picture, float32, on the CPU.

    Raises:
        PictureError: The source cannot be read, decoded or used.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Tensor):
        return Picture(_checked(source).detach().to("cpu", torch.float32))
    return _to_picture(open_raster(source, name), keep_opaque=keep_opaque)


def to_pil(picture: Picture) -> Image.Image:
    """Return a picture as a Pillow image, 8 bits per channel."""
    return Image.open(io.BytesIO(encode(picture)))


def _checked(tensor: Tensor) -> Tensor:
    rgb = tensor if tensor.ndim == 4 else tensor[None]
    if rgb.ndim != 4 or rgb.shape[:2] != (1, 3) or not rgb.is_floating_point() or not rgb.numel():
        raise PictureError(
            f"a tensor must be (3, H, W), floating, RGB in [0, 1]; this is "
            f"{tuple(tensor.shape)}, {tensor.dtype}"
        )
    return rgb


def _to_picture(
    raster: Raster, gamut: Gamut = "srgb", *, is_painted: bool = False, keep_opaque: bool = False
) -> Picture:
    opacity = raster.opacity
    if opacity is None and raster.values.dtype != np.float32 and is_plain(raster, gamut):
        return Picture(_divided(raster))
    rgb, associated = to_rgb(raster, gamut), raster.associated
    del raster  # a large picture is not in memory three times
    if opacity is None or (not keep_opaque and bool((opacity == 1).all())):
        return Picture(_to_tensor(rgb.clip(0, 1, out=rgb)))
    if is_painted and not associated:
        return Picture(_to_tensor(rgb.clip(0, 1, out=rgb)), _to_tensor(opacity[..., None]))
    # A file whose colours are multiplied by the opacity has them laid over black.
    colours = rgb if associated else rgb.clip(0, 1) * opacity[..., None]
    laid = (colours + (1 - opacity[..., None])).clip(0, 1)
    return Picture(_to_tensor(laid), _to_tensor(opacity[..., None]))


def _divided(raster: Raster) -> Tensor:
    """Return whole numbers of sRGB as (1, 3, H, W), plane by plane, which is quick."""
    height, width, _ = raster.values.shape
    planes = np.empty((3, height, width), np.float32)
    for channel, plane in enumerate(planes):
        np.divide(raster.values[..., channel], np.float32(raster.white), out=plane)
    return torch.from_numpy(planes)[None]


def _to_tensor(values_HWC: Floats) -> Tensor:
    """Return values as (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(values_HWC)).permute(2, 0, 1)[None].contiguous()


def _to_integers(x_1CHW: Tensor, bit_depth: BitDepth) -> npt.NDArray[Any]:
    """Return values in [0, 1], clipped and rounded to the nearest level, as (H, W, C), uint8 or uint16."""
    most, dtype = (255, torch.uint8) if bit_depth == 8 else (65535, torch.uint16)
    # In place after the first step, whose result is new, because the largest pictures take gigabytes.
    values = x_1CHW[0].detach().to("cpu", torch.float32).clamp(0, 1)
    return values.mul_(most).round_().to(dtype).permute(1, 2, 0).numpy(force=True)
