"""Chroma that is written is what comes nearest to the picture once a player has spread it again."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from stylize.video.library import chroma_place, open_input
from stylize.video.pixels.chroma import gather, spread
from stylize.video.pixels.tags import ColourTags
from tests.stylize.video.support import film_of_chart, rgb_by_ffmpeg, unit, write

SHAPE = (37, 44)


def waves(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A plane in [-0.4, 0.4] without edges."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (0.4 * np.sin(x / 5 + 1) * np.cos(y / 7)).astype(np.float32)


@pytest.mark.parametrize("step", [2, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 37, 64])
def test_columns_are_gathered_by_least_squares(step, length):
    samples = -(-length // step)
    every = np.eye(samples, dtype=np.float32)
    matrix = spread(every, (samples, length), (step, 1), "left").T.astype(float)
    # A curve without tops, which bounds would cut.
    plane = np.tanh(np.linspace(-2, 2, length, dtype=np.float32))[None].repeat(3, 0)
    best = np.linalg.lstsq(matrix, plane.T.astype(float), rcond=None)[0].T
    off = np.abs(gather(plane, (step, 1), "left") - best)
    assert off[:, 1:-1].max(initial=0) < 1e-5


@pytest.mark.parametrize("siting", ["left", "center", "topleft", "top"])
@pytest.mark.parametrize("steps", [(2, 2), (2, 1), (1, 2), (4, 1)])
def test_what_was_spread_is_gathered_again(siting, steps):
    shape = (-(-SHAPE[0] // steps[1]), -(-SHAPE[1] // steps[0]))
    samples = waves(shape)
    again = gather(spread(samples, SHAPE, steps, siting), steps, siting)
    assert np.abs(again - samples)[1:-1, 1:-1].max() < 0.002
    assert np.abs(again - samples).max() < 0.03


@pytest.mark.parametrize("siting", ["left", "center"])
def test_no_colour_reaches_beyond_an_edge(siting):
    plane = np.full((32, 40), -0.3, np.float32)
    plane[11:, 17:] = 0.4
    shown = spread(gather(plane, (2, 2), siting), plane.shape, (2, 2), siting)
    assert np.abs(shown[:8, :14] + 0.3).max() < 1e-6
    assert np.abs(shown[14:, 20:] - 0.4).max() < 1e-6


@pytest.mark.parametrize("bits", [8, 10])
def test_a_photo_is_nearer_than_by_the_filters_of_zimg(tmp_path, bits):
    picture = unit(astronaut()[60:188, 150:342])
    size = picture.shape[1::-1]
    shown = (
        "zscale=matrixin=709:rangein=limited:matrix=gbr:range=full:chromalin=left:f=bilinear,"
        "format=gbrp16le"
    )
    ours = tmp_path / "ours.mp4"
    tags = ColourTags(1, 1, 1, "limited")
    write(ours, picture, codec="h264", bits=bits, tags=tags, quality=100)
    off = [np.sqrt(((rgb_by_ffmpeg(ours, shown, size) - picture) ** 2).mean())]
    for filter_ in ("bilinear", "bicubic", "lanczos"):
        theirs = film_of_chart(
            tmp_path / f"{filter_}.mkv",
            f"zscale=matrixin=gbr:rangein=full:matrix=709:range=limited:chromal=left:f={filter_},"
            f"format={'yuv420p' if bits == 8 else 'yuv420p10le'}",
            *(
                "-c:v",
                "ffv1",
                "-colorspace",
                "bt709",
                "-color_range",
                "tv",
            ),  # which loses nothing more
            picture=picture,
        )
        off.append(np.sqrt(((rgb_by_ffmpeg(theirs, shown, size) - picture) ** 2).mean()))
    assert off[0] < 0.97 * min(off[1:])
    assert off[0] < 0.92 * off[1]  # the filter by which it is shown


def test_where_chroma_lies_is_told_every_time(tmp_path):
    """It is read from a header that also has numbers by chance, of which one in some 2,000 was in its way."""
    path = tmp_path / "chart.mp4"
    film_of_chart(path, "zscale=matrixin=gbr:matrix=709:chromal=left,format=yuv420p")
    with path.open("rb") as file, open_input(file, "mov") as container:
        stream = container.streams.video[0]
        assert {chroma_place(stream) for _ in range(30_000)} == {(1, 2)}
