"""Open picture files, upright, with the limits and the sentences that hold for every picture and mask.

Only this module opens files with Pillow. It needs no torch, so that masks can be looked at before a render.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from stylize.errors import PictureError

T = TypeVar("T")

PIXEL_LIMIT = 150_000_000
"""The maximum number of pixels of a picture, verified before decoding: more than cameras have, less than
fills a worker's memory, and below the number at which Pillow raises."""

DECODERS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
"""The formats that are decoded. For others Pillow would start programs on untrusted files (EPS runs
Ghostscript)."""

DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of grey pictures of more than 8 bits."""

# Pillow warns from 89 million pixels on, but only the limit above is meant for users.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_picture(
    source: Image.Image | bytes | str | Path, make: Callable[[Image.Image], T], name: str = ""
) -> T:
    """Open a picture and return what ``make`` makes of it.

    Args:
        source: A path or the bytes of a JPEG, PNG, WebP, TIFF, BMP or GIF file, of which the first frame
            counts; or a Pillow image.
        make: Gets the image, loaded and turned upright; it is closed afterwards.
        name: The name of the picture, with which an error message begins. Default: the path.

    Raises:
        PictureError: The source cannot be read, or is empty, damaged, too large or of another format.
    """
    if isinstance(source, Image.Image):
        name = name or "the picture"
        try:
            return make(_loaded(source, name))
        except (OSError, SyntaxError, ValueError) as error:  # opened earlier but not read yet
            raise PictureError(_damaged(name, error)) from error
    if isinstance(source, bytes | bytearray):
        return _decoded(bytes(source), make, name or "the picture")
    if not isinstance(source, str | Path):
        raise PictureError(
            f"a {type(source).__name__} is no picture: give a path, bytes, a Pillow image or a tensor"
        )
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise PictureError(f"{source} cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL character in the name
        raise PictureError(f"{source!r} cannot be the name of a file") from error
    return _decoded(data, make, name or str(source))


def deep_grey(
    image: Image.Image,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Return the values of a grey image of more than 8 bits, and its opacity.

    Args:
        image: An image of one of ``DEEP_MODES``. Integers span 16 bits, floats span [0, 1].

    Returns:
        The values and the opacity, each (H, W) in [0, 1]; None: every pixel is opaque.

    Raises:
        PictureError: A value is outside of its span.
    """
    white = np.float32(1 if image.mode == "F" else 65535)
    levels = np.asarray(image)
    values = levels.astype(np.float32) / white
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise PictureError("the grey values of the picture are not within 0 to 1 (or 16 bits)")
    clear = image.info.get("transparency")  # PNG: the one grey value that is transparent
    if not isinstance(clear, int):
        return values, None
    return values, (levels != clear).astype(np.float32)


def _decoded(data: bytes, make: Callable[[Image.Image], T], name: str) -> T:
    if not data:
        raise PictureError(f"{name} is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=DECODERS) as image:
            return make(_loaded(image, name))
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


def _loaded(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width * height > PIXEL_LIMIT:
        raise PictureError(_too_large(name, f"{width} x {height} px"))
    step = _grey_step(image)
    image.load()
    clear = image.info.get("transparency")
    if step != 1 and isinstance(clear, int):
        image.info["transparency"] = clear * step
    return ImageOps.exif_transpose(image)


def _grey_step(image: Image.Image) -> int:
    """Return the factor by which Pillow scales the values of an image that is not loaded yet: a grey PNG of 2
    or 4 bits. Pillow leaves the value that is transparent in it as the file has it."""
    tile = getattr(image, "tile", None)
    if image.format != "PNG" or image.mode != "L" or not tile:
        return 1
    return {"L;2": 85, "L;4": 17}.get(str(tile[0][3]), 1)


def _too_large(name: str, what: str) -> str:
    return f"{name} has {what}; the limit is {PIXEL_LIMIT // 1_000_000} million pixels"


def _damaged(name: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{name} is damaged or cut short ({reason})"
