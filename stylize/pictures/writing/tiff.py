"""TIFF of 8 and 16 bits, deflated."""

from __future__ import annotations

import io

import tifffile

from stylize.pictures.writing.base import Labels, Pixels, is_deep

EFFORT = {False: 6, True: 1}
"""The level of deflate, 0 to 9, for 8 and for 16 bits, whose low bytes are almost noise in a painting."""

XMP_TAG = 700


def write_tiff(pixels_HWC: Pixels, labels: Labels) -> bytes:
    """Return a TIFF file.

    Args:
        pixels_HWC: The pixels.
        labels: The profile and the XMP to embed.
    """
    file = io.BytesIO()
    xmp = labels.xmp
    tifffile.imwrite(
        file,
        pixels_HWC,
        byteorder="<",
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"] * (pixels_HWC.shape[2] - 3),
        compression="adobe_deflate",
        compressionargs={"level": EFFORT[is_deep(pixels_HWC)]},
        predictor=True,
        iccprofile=labels.profile,
        metadata=None,
        software=False,
        extratags=[] if xmp is None else [(XMP_TAG, "B", len(xmp), xmp, True)],
        # Pictures are encoded while the next one renders, which needs the other cores more.
        maxworkers=1,
    )
    return file.getvalue()
