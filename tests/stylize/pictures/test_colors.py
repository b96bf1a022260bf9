"""The content's colours under the style's strokes."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from stylize import stylize
from stylize.losses.masks import WeightedStyle
from stylize.pictures.colors import keep_chroma, match_colors
from stylize.pictures.pixel_spaces import CAFFE
from stylize.render.first_picture import first_pictures
from tests.stylize.support import noise, photo, recipe, tiny_network


def spread(picture: torch.Tensor) -> np.ndarray:
    return np.cov(picture[0].flatten(1).double().numpy(), bias=True)


def test_a_matched_style_has_the_contents_colours() -> None:
    # Well within [0, 1], so that nothing is clipped.
    style, content = noise(1, 40, 30) * 0.2 + 0.1, photo(2, 30, 50)
    matched = match_colors(style, content)
    assert matched.shape == style.shape
    assert matched.mean((0, 2, 3)).tolist() == pytest.approx(
        content.mean((0, 2, 3)).tolist(), abs=5e-3
    )
    np.testing.assert_allclose(spread(matched), spread(content), atol=2e-3)


def test_matching_a_picture_to_itself_changes_nothing() -> None:
    picture = photo(3, 20, 20)
    torch.testing.assert_close(match_colors(picture, picture), picture, rtol=0, atol=1e-4)


def test_a_flat_style_is_no_trouble() -> None:
    matched = match_colors(torch.full((1, 3, 8, 8), 0.5), photo(1, 8, 8))
    assert bool(torch.isfinite(matched).all())


def test_chroma_is_the_contents_and_luminance_the_paintings() -> None:
    painted, content = photo(1, 6, 7) * 0.3 + 0.4, photo(2, 6, 7) * 0.3 + 0.4
    mixed = keep_chroma(painted, content)
    for row, column in ((0, 0), (3, 4), (5, 6)):
        found, p, c = (
            colorsys.rgb_to_yiq(*image[0, :, row, column].tolist())
            for image in (mixed, painted, content)
        )
        # colorsys rounds the standard's coefficients.
        assert found == pytest.approx((p[0], c[1], c[2]), abs=5e-3)


def test_a_render_by_histogram_sees_the_matched_style() -> None:
    content, style, network = photo(1, 32, 40), noise(2, 32, 32), tiny_network(CAFFE)
    made = recipe(colors="content", color_method="histogram")

    found = stylize(content, style, made, network=network)
    expected = stylize(content, match_colors(style, content), recipe(), network=network)
    plain = stylize(content, style, recipe(), network=network)

    torch.testing.assert_close(found.picture.rgb, expected.picture.rgb)
    assert not torch.allclose(found.picture.rgb, plain.picture.rgb, atol=1e-4)


def test_a_render_by_luminance_ends_with_the_contents_chroma() -> None:
    content, style, network = photo(1, 32, 24), noise(2, 32, 32), tiny_network(CAFFE)

    found = stylize(content, style, recipe(colors="content"), network=network)
    plain = stylize(content, style, recipe(), network=network)

    torch.testing.assert_close(
        found.picture.rgb, keep_chroma(plain.picture.rgb, content), rtol=0, atol=1e-5
    )


def test_style_stats_starts_from_noise_in_the_styles_colours() -> None:
    style = noise(1, 40, 40) * 0.2 + torch.tensor([0.6, 0.3, 0.4]).view(1, 3, 1, 1)
    made = recipe(init="style_stats", size=128, seed=3)
    content = torch.cat([photo(2, 128, 128)] * 2)

    first = first_pictures(made, content, [], [[WeightedStyle(style, 1.0)]] * 2, CAFFE)

    assert first.shape == content.shape
    assert first[0].mean((1, 2)).tolist() == pytest.approx(style.mean((0, 2, 3)).tolist(), abs=0.01)
    np.testing.assert_allclose(spread(first[:1]), spread(style), atol=1e-3)
    assert torch.equal(first[0], first[1])  # a seed means the same in any batch
    other = first_pictures(
        recipe(init="style_stats", size=128, seed=4),
        content[:1],
        [],
        [[WeightedStyle(style, 1.0)]],
        CAFFE,
    )
    assert not torch.equal(first[:1], other)
