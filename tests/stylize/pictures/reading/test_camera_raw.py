"""Camera raw: a DNG that is made here from light that is known, developed to the colours of that light."""

from __future__ import annotations

import io
import struct
import sys
from typing import Any

import numpy as np
import pytest
import tifffile

from stylize.errors import PictureError
from stylize.pictures.reading import open as opening
from stylize.pictures.reading.open import open_raster

pytest.importorskip("rawpy")

LEFT, RIGHT = (0.8, 0.2, 0.1), (0.1, 0.3, 0.7)
"""Light of the left and right half, as linear sRGB."""

XYZ_TO_SRGB = (3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560)
XYZ_TO_SRGB += (0.0556434, -0.2040259, 1.0572252)
"""The sensor's colours are those of sRGB (IEC 61966-2-1)."""


def rational(*values: float) -> list[int]:
    return [part for value in values for part in (round(value * 10_000), 10_000)]


def dng(exposure: float = 1.0, orientation: int = 1, version: bool = True) -> bytes:
    """A DNG of 96 x 64 px (Adobe, DNG 1.4), a Bayer pattern of 16 bits, black at 1000, white at 16000."""
    light = np.zeros((64, 96, 3))
    light[:, :48], light[:, 48:] = LEFT, RIGHT
    mosaic = np.zeros((64, 96), np.uint16)
    for y, x, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = light[y::2, x::2, colour] * exposure * 15_000 + 1000
    tags: list[Any] = [
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Model", True),
        (274, 3, 1, orientation, True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes((0, 1, 1, 2)), True),
        (50708, 2, 0, "Maker Model", True),
        (50714, 3, 1, 1000, True),
        (50717, 3, 1, 16000, True),
        (50721, 10, 9, rational(*XYZ_TO_SRGB), True),
        (50728, 5, 3, rational(1, 1, 1), True),
        (50778, 3, 1, 21, True),
    ]
    if version:
        tags.append((50706, 1, 4, bytes((1, 4, 0, 0)), True))
    file = io.BytesIO()
    tifffile.imwrite(file, mosaic, photometric="cfa", metadata=None, extratags=tags)
    return file.getvalue()


def encoded(light: tuple[float, ...]) -> Any:
    """The curve of sRGB."""
    values = np.array(light)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("exposure", [1.0, 0.9, 0.25])
def test_light_is_developed_to_its_colour(exposure: float) -> None:
    raster = open_raster(dng(exposure), "a.dng")
    assert (raster.values.shape, raster.values.dtype, raster.profile) == (
        (64, 96, 3),
        np.uint16,
        None,
    )
    for column, light in ((20, LEFT), (75, RIGHT)):
        expected = encoded(tuple(exposure * value for value in light))
        assert np.abs(raster.values[30, column] / 65535 - expected).max() < 1.5 / 255


def test_it_is_upright() -> None:
    raster = open_raster(dng(orientation=6), "a.dng")
    assert raster.values.shape == (96, 64, 3)
    assert np.abs(raster.values[20, 30] / 65535 - encoded(LEFT)).max() < 1.5 / 255


def test_a_camera_without_colour_filters_makes_grey() -> None:
    file = io.BytesIO()
    tags: list[Any] = [
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Monochrom", True),
        (50706, 1, 4, bytes((1, 4, 0, 0)), True),
        (50708, 2, 0, "Maker Monochrom", True),
        (50714, 3, 1, 0, True),
        (50717, 3, 1, 16000, True),
    ]
    light = np.full((64, 96), 4000, np.uint16)
    tifffile.imwrite(file, light, photometric="minisblack", metadata=None, extratags=tags)
    # LinearRaw, which tifffile writes for three channels only.
    grey, linear_raw = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (1, 34892))
    raster = open_raster(file.getvalue().replace(grey, linear_raw), "a.dng")
    assert (raster.model, raster.values.shape) == ("grey", (64, 96, 1))
    assert np.abs(raster.values / 65535 - encoded((0.25,))).max() < 1.5 / 255


def test_its_name_does_not_matter() -> None:
    """Read as a TIFF, it would be a grey picture, or its preview."""
    assert open_raster(dng(), "a.tif").model == "rgb"


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PIXEL_LIMIT", 1000)
    with pytest.raises(PictureError, match=r"^a\.dng has 96 x 64 px"):
        open_raster(dng(), "a.dng")


@pytest.mark.parametrize("cut", [400, 3000])
def test_one_that_is_cut_short_is_one_sentence(cut: int) -> None:
    with pytest.raises(PictureError, match=r"^a\.dng is "):
        open_raster(dng()[:cut], "a.dng")


@pytest.mark.parametrize(
    "start", [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"\0\0\0\x18ftypcrx \0\0\0\x01"]
)
def test_what_no_camera_wrote_is_one_sentence(start: bytes) -> None:
    with pytest.raises(
        PictureError, match=r"^a\.raw is a camera's raw file that cannot be developed"
    ):
        open_raster(start + bytes(100), "a.raw")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PictureError, match=r"pip install 'stylefarm\[raw\]'"):
        open_raster(dng(), "a.dng")
