"""Small pictures show what the large ones do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylize.pictures.codec import decode, encode
from stylize.pictures.mask import Mask
from stylize.pictures.picture import Picture
from stylize.pictures.small import shrunk, small_webp
from tests.stylize.support import noise, photo


@pytest.mark.parametrize(
    ("height", "width", "longest", "shape"),
    [
        pytest.param(60, 90, 30, (20, 30), id="wide"),
        pytest.param(90, 60, 30, (30, 20), id="high"),
        pytest.param(30, 20, 30, (30, 20), id="as large"),
        pytest.param(5, 7, 30, (5, 7), id="smaller: it is not enlarged"),
        pytest.param(1, 300, 30, (1, 30), id="a line"),
    ],
)
def test_sides(height: int, width: int, longest: int, shape: tuple[int, int]) -> None:
    data = small_webp(Picture(photo(1, height, width)), longest, 75)
    assert data[8:12] == b"WEBP"
    assert decode(data).rgb.shape[2:] == shape


def test_colours_stay() -> None:
    large = photo(3, 96, 64)
    small = decode(small_webp(Picture(large), 24, 90)).rgb
    assert (small - shrunk(large, 24)).abs().mean() < 0.02
    assert (small.mean((2, 3)) - large.mean((2, 3))).abs().max() < 0.02


def test_detail_that_is_too_fine_becomes_grey_and_no_pattern() -> None:
    fine = torch.zeros(1, 3, 128, 128)
    fine[..., ::2] = 1
    assert shrunk(fine, 32).std() < 0.02
    assert shrunk(noise(1, 128, 128), 16).std() < 0.06


def test_alpha_stays() -> None:
    alpha = torch.zeros(1, 1, 64, 48)
    alpha[..., :32, :] = 1
    small = decode(small_webp(Picture(photo(1, 64, 48), alpha), 32, 90))
    assert small.alpha is not None
    assert small.alpha[..., :14, :].min() > 0.95
    assert small.alpha[..., 18:, :].max() < 0.05


def test_wider_colours_become_srgb() -> None:
    """As a file in Display P3 reads in sRGB."""
    wide = Picture(photo(4, 32, 32))
    as_read = decode(encode(wide, "png", gamut="display-p3")).rgb
    small = decode(small_webp(wide, 32, 100, gamut="display-p3")).rgb
    assert (small - as_read).abs().mean() < 0.01
    assert (small - wide.rgb).abs().mean() > 0.01


def test_a_mask_is_grey() -> None:
    weight = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(40, 0)
    small = decode(small_webp(Mask(weight, None), 32, 90)).rgb
    assert small.shape == (1, 3, 20, 32)
    expected = shrunk(torch.from_numpy(weight)[None, None], 32).expand(-1, 3, -1, -1)
    assert (small - expected).abs().max() < 0.05
