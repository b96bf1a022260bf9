"""Decode picture files to float32 RGB in [0, 1], and encode them. Only this module decodes with Pillow.

Every input (EXIF-rotated, CMYK, palette, 16 bits, with a colour profile or transparency) becomes upright
sRGB plus the alpha channel if it has one. Every output is tagged sRGB and has the same bytes for the same
pixels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from stylize.errors import PictureError
from stylize.pictures import sixteen_bit
from stylize.pictures.picture import Picture

PIXEL_LIMIT = 150_000_000
"""The maximum number of pixels of a picture, verified before decoding: more than cameras have, less than
fills a worker's memory, and below the number at which Pillow raises."""

DECODERS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
"""The formats that are decoded. For others Pillow would start programs on untrusted files (EPS runs
Ghostscript)."""

# Pillow warns from 89 million pixels on, but only the limit above is meant for users.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

Format = Literal["png", "jpeg", "webp", "tiff"]
"""The formats that are encoded."""
BitDepth = Literal[8, 16]
"""Bits per channel."""

EXTENSIONS: dict[Format, str] = {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "tif"}
"""The file name extension of each format, without a dot."""
CONTENT_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
}
"""The media type of each format."""
DEEP_WRITERS: dict[Format, Callable[[sixteen_bit.Deep, bytes], bytes]] = {
    "png": sixteen_bit.png,
    "tiff": sixteen_bit.tiff,
}
"""The encoders of the formats that can have 16 bits per channel."""


def decode(data: bytes, name: str = "the picture") -> Picture:
    """Decode JPEG, PNG, WebP, TIFF, BMP or the first frame of a GIF.

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
    if not data:
        raise PictureError(f"{name} is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=DECODERS) as image:
            return _load(image, name)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_too_large(name, "far too many pixels")) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name} is not a picture that can be read (JPEG, PNG, WebP, TIFF, GIF or BMP)"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files
        raise PictureError(_damaged(name, error)) from error


def encode(
    picture: Picture, image_format: Format = "png", quality: int = 92, bit_depth: BitDepth = 8
) -> bytes:
    """Encode one picture as an sRGB file. Equal pixels give equal bytes.

    Args:
        picture: The picture; values are clipped to [0, 1].
        image_format: The format of the file. jpeg has no alpha channel and drops it.
        quality: 1 to 100, for jpeg and webp.
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
        return DEEP_WRITERS[image_format](pixels, _srgb_profile())
    image = Image.fromarray(pixels)
    options: dict[Format, dict[str, object]] = {
        # Level 6 is Pillow's default; at level 9 painted texture hardly compresses better.
        "png": {"compress_level": 6},
        "jpeg": {"quality": quality, "subsampling": 0, "optimize": True},
        "webp": {"quality": quality, "method": 4},
        "tiff": {"compression": "tiff_adobe_deflate"},
    }
    buffer = io.BytesIO()
    image.save(buffer, image_format.upper(), icc_profile=_srgb_profile(), **options[image_format])
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
    if isinstance(source, Image.Image):
        try:
            return _load(source, "the picture")
        except (OSError, SyntaxError, ValueError) as error:  # opened earlier but not read yet
            raise PictureError(_damaged("the picture", error)) from error
    if isinstance(source, bytes | bytearray):
        return decode(bytes(source))
    if not isinstance(source, str | Path):
        raise PictureError(
            f"a {type(source).__name__} is no picture: give a path, bytes, a Pillow image or a tensor"
        )
    try:
        return decode(Path(source).read_bytes(), str(source))
    except OSError as error:
        raise PictureError(f"{source} cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL character in the name
        raise PictureError(f"{source!r} cannot be the name of a file") from error


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


def _load(image: Image.Image, name: str) -> Picture:
    width, height = image.size
    if width * height > PIXEL_LIMIT:
        raise PictureError(_too_large(name, f"{width} x {height} px"))
    image.load()
    return _to_picture(image)


def _to_picture(image: Image.Image) -> Picture:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _deep_grey(image)
    alpha = None
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        straight = image.convert("RGBA")
        alpha = _to_float(straight.getchannel("A"))
        if bool((alpha == 1).all()):
            alpha = None
        # The profile belongs to the colours, and convert() keeps it in info.
        image = straight.convert("RGB")
    rgb = _to_float(_to_srgb(image))
    if alpha is not None:
        rgb = rgb * alpha + (1 - alpha)
    return Picture(rgb, alpha)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB in sRGB, converted by its embedded profile if that is usable."""
    icc = image.info.get("icc_profile")
    if image.mode in ("P", "1", "PA", "LA", "La", "RGBa"):
        image = image.convert("RGB")
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            # The profile is broken or for another mode (a CMYK profile left in an RGB file). The
            # values taken as sRGB are better than no picture.
            pass
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Picture:
    """Return a grey image of more than 8 bits as RGB: integers span 16 bits, floats span [0, 1]."""
    white = 1 if image.mode == "F" else 65535
    values = np.asarray(image).astype(np.float32) / np.float32(white)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise PictureError("the grey values of the picture are not within 0 to 1 (or 16 bits)")
    grey = torch.from_numpy(values)[None, None]
    clear = image.info.get("transparency")  # PNG: the one grey value that is transparent
    alpha = None
    if isinstance(clear, int):
        alpha = (grey * white).round().ne(clear).float()
        grey = grey * alpha + (1 - alpha)
    return Picture(grey.expand(1, 3, -1, -1).contiguous(), alpha)


def _to_float(image: Image.Image) -> Tensor:
    values = np.asarray(image, dtype=np.float32) / 255
    if values.ndim == 2:
        values = values[:, :, None]
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def _to_integers(x_1CHW: Tensor, bit_depth: BitDepth) -> npt.NDArray[Any]:
    """Return values in [0, 1], clipped and rounded to the nearest level, as (H, W, C), uint8 or uint16."""
    most, dtype = (255, torch.uint8) if bit_depth == 8 else (65535, torch.uint16)
    # In place after the first step, whose result is new, because the largest pictures take gigabytes.
    values = x_1CHW[0].detach().to("cpu", torch.float32).clamp(0, 1)
    return values.mul_(most).round_().to(dtype).permute(1, 2, 0).numpy(force=True)


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 of the header are the creation time and 84 to 99 a digest that includes it.
    # Without them the same picture has the same bytes every time.
    profile[24:36] = bytes(12)
    profile[84:100] = bytes(16)
    return bytes(profile)


def _too_large(name: str, what: str) -> str:
    return f"{name} has {what}; the limit is {PIXEL_LIMIT // 1_000_000} million pixels"


def _damaged(name: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{name} is damaged or cut short ({reason})"
