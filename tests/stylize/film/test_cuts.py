"""Cuts: found between shots, and not in flashes, pans and grain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stylize.film.cuts import cuts, is_cut, looked_at
from tests.stylize.film.clips import pan, photo

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
HEIGHT, WIDTH = 214, 320


def shots(name: str) -> np.ndarray:
    return photo(name, HEIGHT, WIDTH)


def cut(one: np.ndarray, other: np.ndarray) -> bool:
    return is_cut(looked_at(one), looked_at(other))


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(PHOTOS, 2)))
def test_another_shot_is_a_cut(one: str, other: str):
    assert cut(shots(one), shots(other))


@pytest.mark.parametrize("name", PHOTOS)
def test_light_grain_zoom_and_a_pan_are_none(name: str):
    frame = shots(name)
    assert not cut(frame, frame)
    assert not cut(frame, np.clip(frame * 1.6 + 30, 0, 255).astype(np.uint8))
    assert not cut(frame, (frame * 0.35).astype(np.uint8))
    grain = np.random.default_rng(0).normal(0, 12, frame.shape)
    assert not cut(frame, np.clip(frame + grain, 0, 255).astype(np.uint8))
    large = photo(name, HEIGHT + 30, WIDTH + 60)
    for step in (5, 20, 40):
        assert not cut(large[:HEIGHT, :WIDTH], large[:HEIGHT, step : step + WIDTH])


def test_cuts_of_a_film():
    film = [*pan(5, 107, 160).frames, *(photo("rocket", 107, 160) for _ in range(4))]
    assert list(cuts(film)) == [5]


def test_even_frames_are_one_shot_and_black_is_a_cut():
    grey = np.full((40, 60, 3), 90, np.uint8)
    assert list(cuts([grey, grey, grey])) == []
