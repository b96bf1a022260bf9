"""``open_raster``: open a picture file, upright, with the limits and the sentences that hold for all.

Only this folder opens files. It needs no torch, so that masks can be looked at before a render.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stylize.errors import PictureError
from stylize.pictures.reading.decoders import deep_png, psd, tiff
from stylize.pictures.reading.decoders.by_pillow import raster_of
from stylize.pictures.reading.decoders.camera_raw import read_raw
from stylize.pictures.reading.decoders.exr import read_exr
from stylize.pictures.reading.decoders.iso_media import (
    avif_depth,
    read_avif,
    read_deep_avif,
    read_heif,
)
from stylize.pictures.reading.decoders.jpeg2000 import (
    bits_of,
    has_inks,
    profile_of,
    read_deep_jpeg2000,
)
from stylize.pictures.reading.decoders.jxl import read_jxl
from stylize.pictures.reading.formats import HEAD_BYTES, NAMES, recognise
from stylize.pictures.reading.raster import Raster, Values, of_array

PIXEL_LIMIT = 150_000_000
"""The maximum number of pixels of a picture, verified before decoding: more than cameras have, but for
telephones of 200 megapixels, less than fills a worker's memory, and below that at which Pillow raises."""

DECODERS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "PSD")
"""The formats that Pillow decodes. For others it would start programs on untrusted files (EPS runs
Ghostscript)."""

T = TypeVar("T")

OUTSIDE_SHARE = 0.25
"""The share of floats outside 0 to 1 from which a picture is taken to be of another range, and refused. With
fewer, they are highlights, and are clipped."""

KEPT_BLOCKS = 4
"""Blocks of 16 MiB that Pillow keeps from one picture to the next: those of a photo of 16 megapixels."""

# Pillow warns from 89 million pixels on, but only the limit above is meant for users.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What is damaged besides the pixels, such as a camera's notes, is no matter.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def open_raster(source: Image.Image | Values | bytes | str | Path, name: str = "") -> Raster:
    """Return the values of a picture, upright.

    Args:
        source: A path or the bytes of a file of one of ``FORMATS``, of which the first frame or page counts;
            a Pillow image; or an array, as ``of_array`` takes it.
        name: The name of the picture, with which an error message begins. Default: the path.

    Raises:
        PictureError: The source cannot be read, or is empty, damaged, too large or of another format.
    """
    if isinstance(source, Image.Image):
        name = name or "the picture"
        try:
            # The caller's image stays as it is.
            return _checked(raster_of(ImageOps.exif_transpose(_loaded(source, name))), name)
        except (OSError, SyntaxError, ValueError) as error:  # opened earlier but not read yet
            raise PictureError(_damaged(name, error)) from error
    if isinstance(source, np.ndarray):
        name = name or "the array"
        raster = _named(name, lambda: of_array(source))
        _check_size(raster.values.shape[1::-1], name)
        return _checked(raster, name)
    if isinstance(source, bytes | bytearray):
        return _decoded(bytes(source), name or "the picture")
    if not isinstance(source, str | Path):
        raise PictureError(
            f"a {type(source).__name__} is no picture: "
            "give a path, bytes, a Pillow image, an array or a tensor"
        )
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise PictureError(f"{source} cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL character in the name
        raise PictureError(f"{source!r} cannot be the name of a file") from error
    return _decoded(data, name or str(source))


def keep_memory() -> None:
    """Have this process keep memory from one picture to the next, which saves a fifth of decoding a photo.

    Otherwise the system hands out, and clears, all of it anew for each.
    """
    Image.core.set_blocks_max(KEPT_BLOCKS)  # type: ignore[attr-defined]  # documented, but not exported


def pixels_in(data: bytes) -> int | None:
    """Return the number of pixels of a picture file, without decoding it; None where that does not show."""
    try:
        with Image.open(io.BytesIO(data), formats=DECODERS) as image:
            width, height = image.size
            return int(width * height)
    except Exception:  # as damaged as it may be; opening it in earnest says how
        return None


def _decoded(data: bytes, name: str) -> Raster:
    if not data:
        raise PictureError(f"{name} is empty (0 bytes)")
    known = recognise(data[:HEAD_BYTES])
    try:
        match known.name if known is not None else "":
            case "TIFF":
                return _checked(_read_tiff(data, name), name)
            case "PNG":
                return _read_png(data, name)
            case "AVIF":
                return _read_avif(data, name)
            case "HEIC":
                return _named(name, lambda: read_heif(data, PIXEL_LIMIT))
            case "JPEG 2000":
                return _read_jpeg2000(data, name)
            case "JPEG XL":
                return _checked(_named(name, lambda: read_jxl(data, PIXEL_LIMIT)), name)
            case "camera raw":
                return _named(name, lambda: read_raw(data, PIXEL_LIMIT))
            case "PSD":
                return _read_psd(data, name)
            case "OpenEXR":
                return _named(name, lambda: read_exr(data, PIXEL_LIMIT))
        return _read_by_pillow(data, name)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_too_large(name, "far too many pixels")) from error
    except UnidentifiedImageError as error:
        if known is not None:
            kind = f"is damaged or cut short, or {known.name} of a kind that is not read"
            raise PictureError(f"{name} {kind}") from error
        raise PictureError(f"{name} is not a picture that can be read ({NAMES})") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise a dozen types for damaged files
        raise PictureError(_damaged(name, error)) from error


def _read_by_pillow(data: bytes, name: str) -> Raster:
    with Image.open(io.BytesIO(data), formats=DECODERS) as image:
        return raster_of(_upright(image, name))


def _read_png(data: bytes, name: str) -> Raster:
    found = deep_png.chunks(data)
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        _check_size(image.size, name)
        if deep_png.is_deep(found):
            orientation = image.getexif().get(274, 1)
            return deep_png.read_deep(data, found).upright(orientation)
        raster = raster_of(_upright(image, name))
    profile = deep_png.profile_of(found)
    return replace(raster, profile=profile, encoding=deep_png.encoding_of(found))


def _read_tiff(data: bytes, name: str) -> Raster:
    page = _first_page(data)
    if page is not None and tiff.is_camera_raw(page):
        return _named(name, lambda: read_raw(data, PIXEL_LIMIT))
    if page is None:
        return _read_by_pillow(data, name)
    if not tiff.is_read_here(page):
        with contextlib.suppress(UnidentifiedImageError):  # as of colours of 4 bits
            return _read_by_pillow(data, name)
    _check_size((page.imagewidth, page.imagelength), name)
    return _named(name, lambda: tiff.read_page(page)).upright(tiff.orientation_of(page))


def _read_jpeg2000(data: bytes, name: str) -> Raster:
    bits = bits_of(data)
    with Image.open(io.BytesIO(data), formats=("JPEG2000",)) as image:
        _check_size(image.size, name)
        if bits > 8 or has_inks(data):
            return _named(name, lambda: read_deep_jpeg2000(data, bits))
        return replace(raster_of(_upright(image, name)), profile=profile_of(data))


def _read_psd(data: bytes, name: str) -> Raster:
    document = _named(name, lambda: psd.document_of(data))
    _check_size((document.width, document.height), name)
    if document.mode in psd.BY_PILLOW and document.channels == 1:
        return _read_by_pillow(data, name)
    return psd.with_transparency(_named(name, lambda: psd.read_psd(data, document)), document)


def _read_avif(data: bytes, name: str) -> Raster:
    with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
        _check_size(image.size, name)
        if avif_depth(data) > 8:
            return read_deep_avif(data, image)
        return read_avif(data, raster_of(_loaded(image, name)), image)


def _named(name: str, read: Callable[[], T]) -> T:
    """Return what ``read`` does; its PictureError gets the picture's name."""
    try:
        return read()
    except PictureError as error:
        raise PictureError(f"{name} {error}") from None


def _first_page(data: bytes) -> Any:
    """Return the first page of a TIFF file; None for one that tifffile does not understand."""
    try:
        return tiff.first_page(data)
    except Exception:  # tifffile raises a dozen types; Pillow then says what is wrong
        return None


def _checked(raster: Raster, name: str) -> Raster:
    """Return the raster, or raise PictureError when its floats are of another range than 0 to 1."""
    values = raster.values
    if values.dtype != np.float32 or raster.model == "lab":
        return raster
    if not np.isfinite(values).all():
        raise PictureError(f"{name} has values that are not numbers")
    if np.mean((values < 0) | (values > 1)) >= OUTSIDE_SHARE:
        span = f"{values.min():.4g} to {values.max():.4g}"
        raise PictureError(f"{name} has values from {span}, and floats of a picture span 0 to 1")
    return raster


def _upright(image: Image.Image, name: str) -> Image.Image:
    """Load an image that was opened here, and turn it in place: a copy costs a tenth of the decoding."""
    _loaded(image, name)
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _loaded(image: Image.Image, name: str) -> Image.Image:
    _check_size(image.size, name)
    step = _grey_step(image)
    image.load()
    clear = image.info.get("transparency")
    if step != 1 and isinstance(clear, int):
        image.info["transparency"] = clear * step
    return image


def _grey_step(image: Image.Image) -> int:
    """Return the factor by which Pillow scales the values of an image that is not loaded yet: a grey PNG of 2
    or 4 bits. Pillow leaves the value that is transparent in it as the file has it."""
    tile = getattr(image, "tile", None)
    if image.format != "PNG" or image.mode != "L" or not tile:
        return 1
    return {"L;2": 85, "L;4": 17}.get(str(tile[0][3]), 1)


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > PIXEL_LIMIT:
        raise PictureError(_too_large(name, f"{width} x {height} px"))


def _too_large(name: str, what: str) -> str:
    return f"{name} has {what}; the limit is {PIXEL_LIMIT // 1_000_000} million pixels"


def _damaged(name: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{name} is damaged or cut short ({reason})"
