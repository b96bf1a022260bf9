"""The starter job's style pictures are reproducible, and rich enough to be styles."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from jobs.examples.paintings import NAMES, Name, draw

WIDTH = 256
TILES = 6


@lru_cache
def painted(name: Name) -> Image.Image:
    """Each picture once for all tests that only look at it."""
    return draw(name, width=WIDTH)


def local_contrast(image: Image.Image) -> NDArray[np.float64]:
    """How far each pixel's grey value (0..255) is from that of its surroundings."""
    grey = image.convert("L")
    around = grey.filter(ImageFilter.GaussianBlur(WIDTH / 64))
    difference: NDArray[np.float64] = np.abs(np.asarray(grey, float) - np.asarray(around, float))
    return difference


def palette(image: Image.Image) -> NDArray[np.float64]:
    """The share of each of 64 coarse colours."""
    coarse = np.asarray(image) // 64
    cells = coarse[..., 0] * 16 + coarse[..., 1] * 4 + coarse[..., 2]
    share: NDArray[np.float64] = np.bincount(cells.ravel(), minlength=64) / cells.size
    return share


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_has_the_width_asked_for_and_its_own_shape(name: Name) -> None:
    image = painted(name)
    assert image.mode == "RGB"
    assert image.size == (WIDTH, WIDTH if name == "stained-glass" else WIDTH * 3 // 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [64, 101])
def test_any_width_will_do(name: Name, width: int) -> None:
    assert draw(name, width=width).width == width


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name: Name) -> None:
    assert draw(name, width=WIDTH).tobytes() == painted(name).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_another_picture(name: Name) -> None:
    other = np.asarray(draw(name, width=WIDTH, seed=7), float)
    assert np.abs(other - np.asarray(painted(name), float)).mean() > 5


@pytest.mark.parametrize("name", NAMES)
def test_no_part_is_empty(name: Name) -> None:
    contrast = local_contrast(painted(name))
    tiles = [
        part for row in np.array_split(contrast, TILES) for part in np.array_split(row, TILES, 1)
    ]
    assert min(tile.mean() for tile in tiles) > 8


@pytest.mark.parametrize("name", NAMES)
def test_the_rim_is_painted_like_the_rest(name: Name) -> None:
    contrast = local_contrast(painted(name))
    for rim in (contrast[:4], contrast[-4:], contrast[:, :4], contrast[:, -4:]):
        assert rim.mean() > contrast.mean() / 3


@pytest.mark.parametrize("name", NAMES)
def test_a_small_picture_is_the_large_one_from_afar(name: Name) -> None:
    def seen(image: Image.Image) -> NDArray[np.float64]:
        return np.asarray(image.resize((16, 16), Image.Resampling.BOX), float)

    assert np.abs(seen(draw(name, width=96)) - seen(painted(name))).mean() < 8


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_no_two_pictures_share_a_palette(one: Name, other: Name) -> None:
    shared = np.minimum(palette(painted(one)), palette(painted(other))).sum()
    assert shared < 0.6


def test_a_picture_too_small_for_its_strokes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 64"):
        draw("flow", width=32)
