"""Decode picture files to float32 RGB in [0, 1], and encode them.

Every input (EXIF-rotated, CMYK, palette, 16 bits, with a colour profile or transparency) becomes upright
sRGB plus the alpha channel if it has one. Every output is tagged sRGB and has the same bytes for the same
pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from stylize.errors import PictureError
from stylize.pictures import sixteen_bit
from stylize.pictures.picture import Picture
from stylize.pictures.reading.colours import is_plain, srgb_profile, to_srgb
from stylize.pictures.reading.open import open_raster
from stylize.pictures.reading.raster import Floats, Raster

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
DEEP_WRITERS: dict[Format, Callable[[sixteen_bit.Deep, bytes], bytes]] = {
    "png": sixteen_bit.png,
    "tiff": sixteen_bit.tiff,
}
"""The encoders of the formats that can have 16 bits per channel."""


def decode(data: bytes, name: str = "the picture") -> Picture:
    """Decode a picture file of any of ``reading.formats.FORMATS``.

    Transparent pixels are laid over white, so that invisible colours do not affect the painting.

    Args:
        data: The bytes of the file, at most 150 million pixels.
        name: The name of the picture, with which an error message begins.

    Returns:
        The upright picture in sRGB, (1, 3, H, W) in [0, 1], and its alpha channel, (1, 1, H, W), unless
        all pixels are opaque.

    Raises:
        PictureError: The data is empty, damaged, too large or of another format.
    """
    return _to_picture(open_raster(data, name))


def encode(
    picture: Picture, image_format: Format = "png", quality: int = 92, bit_depth: BitDepth = 8
) -> bytes:
    """Encode one picture as an sRGB file. Equal pixels give equal bytes.

    Args:
        picture: The picture; values are clipped to [0, 1].
        image_format: The format of the file. jpeg has no alpha channel and drops it.
        quality: 1 to 100, for jpeg, webp, avif and jxl; 100 is a jxl without loss.
        bit_depth: Bits per channel: 8, or 16 for png and tiff.

    Returns:
        The bytes of the file.

    Raises:
        PictureError: The format does not have the bit depth.
    """
    depths = (8, 16) if image_format in DEEP_WRITERS else (8,)
    if bit_depth not in depths:
        known = " or ".join(map(str, depths))
        raise PictureError(f"{image_format} has {known} bits per channel, not {bit_depth}")
    pixels = _to_integers(picture.rgb, bit_depth)
    if picture.alpha is not None and image_format != "jpeg":
        pixels = np.concatenate([pixels, _to_integers(picture.alpha, bit_depth)], axis=2)
    if bit_depth == 16:
        return DEEP_WRITERS[image_format](pixels, srgb_profile())
    if image_format == "jxl":
        return _jxl(pixels, quality)
    image = Image.fromarray(pixels)
    options: dict[Format, dict[str, object]] = {
        # Level 6 is Pillow's default; at level 9 painted texture hardly compresses better.
        "png": {"compress_level": 6},
        "jpeg": {"quality": quality, "subsampling": 0, "optimize": True},
        "webp": {"quality": quality, "method": 4},
        "tiff": {"compression": "tiff_adobe_deflate"},
        # With several threads, the bytes would depend on their number.
        "avif": {"quality": quality, "subsampling": "4:4:4", "speed": 6, "max_threads": 1},
    }
    buffer = io.BytesIO()
    image.save(buffer, image_format.upper(), icc_profile=srgb_profile(), **options[image_format])
    return buffer.getvalue()


def read(source: Picture | Image.Image | Tensor | bytes | str | Path) -> Picture:
    """Read a picture from a path, bytes, a Pillow image or a tensor.

    Args:
        source: A path or the bytes of a file; a Pillow image; a floating tensor (3, H, W) or
            (1, 3, H, W), RGB in [0, 1]; or a ``Picture``, which is returned as it is.

    Returns:
        The picture, float32, on the CPU.

    Raises:
        PictureError: The source cannot be read, decoded or used.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Tensor):
        return Picture(_checked(source).detach().to("cpu", torch.float32))
    return _to_picture(open_raster(source))


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


def _to_picture(raster: Raster) -> Picture:
    opacity = raster.opacity
    if opacity is None and raster.values.dtype != np.float32 and is_plain(raster):
        return Picture(_divided(raster))
    rgb = to_srgb(raster)
    if opacity is None or bool((opacity == 1).all()):
        return Picture(_to_tensor(rgb.clip(0, 1)))
    # A file whose colours are multiplied by the opacity has them laid over black.
    colours = rgb if raster.associated else rgb.clip(0, 1) * opacity[..., None]
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


def _jxl(pixels_HWC: npt.NDArray[Any], quality: int) -> bytes:
    """Return a JPEG XL file, which says itself that it is sRGB.

    Not of 16 bits: imagecodecs (2026.3.6) marks those as linear light.
    """
    import imagecodecs

    # As libjxl's own tool maps qualities to distances (JxlEncoderDistanceFromQuality).
    distance = 0.1 + (100 - quality) * 0.09
    if quality < 30:
        distance = 53 / 3000 * quality**2 - 23 / 20 * quality + 25
    lossless = quality == 100
    return bytes(
        imagecodecs.jpegxl_encode(
            np.ascontiguousarray(pixels_HWC),
            lossless=lossless,
            distance=None if lossless else distance,
            numthreads=1,
        )
    )


def _to_integers(x_1CHW: Tensor, bit_depth: BitDepth) -> npt.NDArray[Any]:
    """Return values in [0, 1], clipped and rounded to the nearest level, as (H, W, C), uint8 or uint16."""
    most, dtype = (255, torch.uint8) if bit_depth == 8 else (65535, torch.uint16)
    # In place after the first step, whose result is new, because the largest pictures take gigabytes.
    values = x_1CHW[0].detach().to("cpu", torch.float32).clamp(0, 1)
    return values.mul_(most).round_().to(dtype).permute(1, 2, 0).numpy(force=True)
