"""JPEG, WebP and AVIF, by Pillow."""

from __future__ import annotations

import io

from PIL import Image

from stylize.pictures.writing.base import Labels, Pixels


def write_jpeg(pixels_HWC: Pixels, labels: Labels, quality: int) -> bytes:
    """Return a JPEG file, of pixels without alpha.

    Args:
        pixels_HWC: The pixels, (H, W, 3), uint8.
        labels: The profile and the XMP to embed.
        quality: 1 to 100.
    """
    return _saved(pixels_HWC, "JPEG", labels, quality=quality, subsampling=0, optimize=True)


def write_webp(pixels_HWC: Pixels, labels: Labels, quality: int) -> bytes:
    """Return a WebP file.

    Args:
        pixels_HWC: The pixels, uint8.
        labels: The profile and the XMP to embed.
        quality: 1 to 100.
    """
    return _saved(pixels_HWC, "WEBP", labels, quality=quality, method=4)


def write_avif(pixels_HWC: Pixels, labels: Labels, quality: int) -> bytes:
    """Return an AVIF file.

    Args:
        pixels_HWC: The pixels, uint8.
        labels: The profile and the XMP to embed.
        quality: 1 to 100.
    """
    # With several threads, the bytes would depend on their number.
    options = {"subsampling": "4:4:4", "speed": 6, "max_threads": 1}
    return _saved(pixels_HWC, "AVIF", labels, quality=quality, **options)


def _saved(pixels_HWC: Pixels, image_format: str, labels: Labels, **options: object) -> bytes:
    if labels.xmp is not None:
        options["xmp"] = labels.xmp
    buffer = io.BytesIO()
    image = Image.fromarray(pixels_HWC)
    image.save(buffer, image_format, icc_profile=labels.profile, **options)
    return buffer.getvalue()
