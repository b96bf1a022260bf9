"""Written films show what was given, by our own reader and by zimg (ffmpeg's zscale)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from stylize.video.film import open_film
from stylize.video.pixels.tags import ColourTags
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter, film_like
from tests.stylize.video.support import (
    LOSSLESS,
    PATCHES,
    chart,
    film_of_chart,
    patch,
    rgb_by_ffmpeg,
    smooth,
    stream_of,
    unit,
    write,
)

TV = {
    "bt601": (ColourTags(6, 6, 6, "limited"), "170m", "smpte170m"),
    "bt709": (ColourTags(1, 1, 1, "limited"), "709", "bt709"),
    "bt709, full": (ColourTags(1, 1, 1, "full"), "709", "bt709"),
    "bt601, full": (ColourTags(5, 5, 6, "full"), "470bg", "bt470bg"),
}


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("tags", TV)
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", "mp4"), ("h264", "mkv"), ("h265", "mov"), ("av1", "mp4"), ("av1", "webm")],
)
def test_what_is_written_is_what_is_shown(tmp_path, codec, suffix, tags, bits):
    meant, zimg, name = TV[tags]
    path = tmp_path / f"film.{suffix}"
    picture = smooth()
    write(path, picture, codec=codec, bits=bits, tags=meant, quality=100)
    stream = stream_of(path)
    assert stream["color_space"] == name
    assert stream["color_range"] == ("pc" if meant.range == "full" else "tv")
    assert stream["pix_fmt"] in (
        {"yuv420p", "yuvj420p"} if bits == 8 else {"yuv420p10le", "yuvj420p10le"}
    )
    with open_film(path) as film:
        assert (film.facts.tags.matrix, film.facts.tags.range) == (meant.matrix, meant.range)
        assert film.facts.tags.siting == "left"
        assert film.facts.bits == bits
        ours = unit(film.frame(0).rgb)
    theirs = rgb_by_ffmpeg(
        path,
        f"zscale=matrixin={zimg}:rangein={meant.range}:matrix=gbr:range=full:chromalin=left:f=bilinear,"
        "format=gbrp16le",
    )
    assert np.abs(ours - theirs).max() * 255 <= 0.51
    # Lossy, but at its best: two levels.
    for seen in (ours, theirs):
        off = np.abs(seen - picture) * 255
        assert off.mean() < 0.6
        assert np.percentile(off, 99) <= 2.15
        assert abs((seen - picture).mean()) * 255 < 0.25  # neither darker nor lighter


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("tags", TV)
def test_a_chart_is_shown_by_ffmpeg_as_it_was_given(tmp_path, tags, bits):
    """Beside an edge of pure colours, too, which 4:2:0 blurs: what is flat stays flat."""
    meant, zimg, _ = TV[tags]
    path = tmp_path / "film.mp4"
    picture = chart()
    write(path, picture, codec="h264", bits=bits, tags=meant, quality=100)
    seen = rgb_by_ffmpeg(
        path,
        f"zscale=matrixin={zimg}:rangein={meant.range}:matrix=gbr:range=full:chromalin=left:f=bilinear,"
        "format=gbrp16le",
    )
    for number in range(len(PATCHES)):
        where = patch(number)
        assert np.abs(seen[where] - picture[where]).max() * 255 <= 2


@pytest.mark.parametrize(
    ("quality", "pixels", "tag"), [(80, "yuv422p10le", "apch"), (95, "yuv444p12le", "ap4h")]
)
def test_prores_is_written_in_its_profiles(tmp_path, quality, pixels, tag):
    path = tmp_path / "film.mov"
    picture = smooth()
    write(path, picture, codec="prores", tags=ColourTags(1, 1, 1, "full"), quality=quality)
    stream = stream_of(path)
    assert (stream["codec_tag_string"], stream["pix_fmt"]) == (tag, pixels)
    assert stream["color_space"] == "bt709"
    with open_film(path) as film:
        off = np.abs(unit(film.frame(0).rgb) - picture) * 255
    theirs = rgb_by_ffmpeg(
        path, "zscale=matrixin=709:rangein=limited:matrix=gbr:range=full:f=bilinear,format=gbrp16le"
    )
    assert np.percentile(off, 99) < 2
    assert np.percentile(np.abs(theirs - picture) * 255, 99) < 2


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_ffv1_loses_nothing(tmp_path, bits, suffix):
    kind = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(3).integers(
        0, np.iinfo(kind).max, (15, 33, 3), kind, endpoint=True
    )
    if bits == 10:  # what 10 bits can hold
        values = np.rint(np.rint(values / 65535 * 1023) / 1023 * 65535).astype(np.uint16)
    path = tmp_path / f"film.{suffix}"
    wide = ColourTags(9, 9, 14, "limited", "topleft")
    with FilmWriter(
        path, (33, 15), steady(Fraction(24), 2), codec="ffv1", bits=bits, tags=wide
    ) as writer:
        writer.write(values)
        writer.write(values[::-1])
    with open_film(path) as film:
        for seen, given in zip(film.frames(), (values, values[::-1]), strict=True):
            # Of 10 bits in 16, float32 has the last one now and then another.
            assert np.abs(seen.rgb.astype(int) - given).max() <= (bits == 10)


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "prores"])
@pytest.mark.parametrize("size", [(97, 65), (96, 65), (97, 64)])
def test_odd_sizes_grow_by_one_where_chroma_is_shared(tmp_path, codec, size):
    path = tmp_path / ("film.mov" if codec == "prores" else "film.mp4")
    picture = smooth(*size)
    writer = write(path, picture, codec=codec, quality=85)
    with open_film(path) as film:
        seen = unit(film.frame(0).rgb)
    assert seen.shape[1::-1] == writer.stored_size
    assert abs(seen.shape[0] - size[1]) + abs(seen.shape[1] - size[0]) <= 2
    inner = seen[: size[1], : size[0]]
    assert np.abs(inner - picture).mean() * 255 < 2
    if seen.shape[1] > size[0]:
        assert np.abs(seen[:, -1] - seen[:, -2]).mean() * 255 < 4


def test_wide_colours_come_back(tmp_path):
    """What a film of BT.2020 shows in sRGB is written so that it shows the same."""
    source = film_of_chart(
        tmp_path / "source.mkv",
        "zscale=matrixin=gbr:rangein=full:matrix=2020_ncl:range=limited,format=yuv444p10le",
        *("-c:v", "ffv1", "-colorspace", "bt2020nc", "-color_range", "tv"),
        *("-color_primaries", "bt2020", "-color_trc", "bt2020-10"),
        picture=0.4 + 0.2 * smooth(),
    )
    path = tmp_path / "film.mp4"
    with open_film(source) as film:
        with film_like(film, path, codec="h265", quality=100) as writer:
            for frame in film.frames():
                writer.write(frame.rgb)
        shown = unit(film.frame(0).rgb)
    stream = stream_of(path)
    assert (stream["color_space"], stream["color_primaries"]) == ("bt2020nc", "bt2020")
    assert stream["pix_fmt"] == "yuv420p10le"
    with open_film(path) as film:
        off = np.abs(unit(film.frame(0).rgb) - shown) * 255
    assert np.percentile(off, 99) < 3


def test_hdr_is_written_as_sdr(tmp_path):
    source = film_of_chart(
        tmp_path / "source.mp4",
        "zscale=matrixin=gbr:rangein=full:matrix=2020_ncl:range=limited,format=yuv444p10le",
        *(*LOSSLESS, "-colorspace", "bt2020nc"),
        *("-color_primaries", "bt2020", "-color_trc", "smpte2084"),
        picture=0.3 + 0.1 * smooth(),
    )
    path = tmp_path / "film.mp4"
    with open_film(source) as film:
        with film_like(film, path, quality=100) as writer:
            for frame in film.frames():
                writer.write(frame.rgb)
        shown = unit(film.frame(0).rgb)
    stream = stream_of(path)
    assert {stream[f"color_{key}"] for key in ("space", "primaries", "transfer")} == {"bt709"}
    with open_film(path) as film:
        assert np.percentile(np.abs(unit(film.frame(0).rgb) - shown) * 255, 99) < 3
