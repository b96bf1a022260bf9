"""``further_pages``: what a picture file has besides the page, frame or part that is read."""

from __future__ import annotations

import io
import itertools

import tifffile
from PIL import Image

from stylize.pictures.reading.decoders.jxl import is_animated
from stylize.pictures.reading.decoders.tiff import is_camera_raw
from stylize.pictures.reading.formats import HEAD_BYTES, recognise

MOST_PAGES = 1000
"""Pages of a TIFF that are counted."""

_REDUCED, _MASK = 1, 4
"""Bits of a TIFF page's NewSubfileType that make it no picture of its own."""

_SEVERAL_PARTS = 0x1000
"""The bit of OpenEXR's version (OpenEXR File Layout, Version Field)."""


def further_pages(data: bytes) -> str | None:
    """Return what is left out of a file, to be read after its name: "has 3 pages, of which the first counts".

    Smaller versions of the same picture, masks, layers, previews, and the pictures behind the first one of a
    telephone's JPEG or HEIC (depth, brightness) are not counted.

    Args:
        data: The file, of any kind.

    Returns:
        None where it has one page, or is no file that can be read.
    """
    known = recognise(data[:HEAD_BYTES])
    try:
        match known.name if known is not None else "":
            case "TIFF":
                return _sentence(_pages(data), "pages")
            case "GIF" | "PNG" | "WebP":
                return _sentence(_frames(data), "frames")
            case "AVIF" if data[8:12] == b"avis":
                return _sentence(_frames(data), "frames")
            case "HEIC":
                return _sentence(_pictures(data), "pictures")
            case "JPEG XL":
                return (
                    "is an animation, of which the first frame counts"
                    if is_animated(data)
                    else None
                )
            case "OpenEXR" if int.from_bytes(data[4:8], "little") & _SEVERAL_PARTS:
                return "has several parts, of which the first with colours counts"
    except Exception:  # as damaged as it may be; decoding it says how
        return None
    return None


def _sentence(count: int, what: str) -> str | None:
    more = " or more" if count == MOST_PAGES else ""
    return f"has {count:,}{more} {what}, of which the first counts" if count > 1 else None


def _pages(data: bytes) -> int:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if is_camera_raw(file.pages.first):
            return 1
        # A damaged file may lead from page to page for ever.
        kinds = (int(page.subfiletype) for page in itertools.islice(file.pages, MOST_PAGES))
        return sum(not kind & (_REDUCED | _MASK) for kind in kinds)


def _frames(data: bytes) -> int:
    with Image.open(io.BytesIO(data), formats=("GIF", "PNG", "WEBP", "AVIF")) as image:
        return int(getattr(image, "n_frames", 1))


def _pictures(data: bytes) -> int:
    import pillow_heif

    return len(pillow_heif.open_heif(data))
