"""JPEG 2000 of every depth, compared with the values that were written."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from stylize.errors import PictureError
from stylize.pictures.codec import decode
from stylize.pictures.reading.decoders.jpeg2000 import bits_of
from stylize.pictures.reading.open import open_raster


def ramp(bits: int, channels: int) -> Any:
    whole = np.linspace(0, 2**bits - 1, 48 * 64 * channels).round()
    return whole.reshape(48, 64, channels).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_value_is_read(codec: str, bits: int, channels: int) -> None:
    pixels = ramp(bits, channels)
    data = imagecodecs.jpeg2k_encode(
        pixels.squeeze(), level=0, codecformat=codec, bitspersample=bits, reversible=True
    )
    assert bits_of(data) == bits
    raster = open_raster(data, "a.jp2")
    colours = 1 if channels == 1 else 3
    expected = pixels[..., :colours] / (2**bits - 1)
    assert np.abs(raster.values / raster.white - expected).max() <= 0.5 / (2**bits - 1)
    if channels == 4:
        assert raster.opacity is not None
        assert np.abs(raster.opacity - pixels[..., 3] / (2**bits - 1)).max() < 1e-4


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_white_is_white(bits: int) -> None:
    """Pillow makes it black, and an opaque alpha transparent, where there are more than 8 bits."""
    white = np.full((16, 16, 4), 2**bits - 1, np.uint8 if bits == 8 else np.uint16)
    picture = decode(imagecodecs.jpeg2k_encode(white, level=0, bitspersample=bits))
    assert float(picture.rgb.min()) == 1.0
    assert picture.alpha is None


def test_eight_bits_are_as_pillow_writes_them() -> None:
    file = io.BytesIO()
    Image.fromarray(ramp(8, 3)).save(file, "JPEG2000", irreversible=False)
    assert (open_raster(file.getvalue(), "a.jp2").values == ramp(8, 3)).all()


@pytest.mark.parametrize("cut", [50, 120, 400])
def test_one_that_is_cut_short_is_one_sentence(cut: int) -> None:
    data = imagecodecs.jpeg2k_encode(ramp(16, 3), level=0)
    with pytest.raises(PictureError, match=r"^a\.jp2 (is|has) "):
        open_raster(data[:cut], "a.jp2")
