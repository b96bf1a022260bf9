"""A film's colours are what a player shows: as zimg (ffmpeg's zscale) and plain arithmetic have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylize.video.film import open_film
from tests.stylize.video.support import (
    HEIGHT,
    LOSSLESS,
    PATCHES,
    WIDTH,
    Picture,
    chart,
    film_of_chart,
    patch,
    raw_by_ffmpeg,
    rgb_by_ffmpeg,
    unit,
)

MATRICES = {
    "bt601": ("170m", "smpte170m", 0.299, 0.114),
    "bt709": ("709", "bt709", 0.2126, 0.0722),
    "bt2020": ("2020_ncl", "bt2020nc", 0.2627, 0.0593),
}
RANGES = {"limited": "tv", "full": "pc"}


def shown(path: Path) -> Picture:
    with open_film(path) as film:
        return unit(film.frame(0).rgb)


def by_hand(
    y: Picture, cb: Picture, cr: Picture, kr: float, kb: float, bits: int, full: bool
) -> Picture:
    """R'G'B' of values, by the equations of H.273 written out."""
    top = 2**bits - 1
    s = 2 ** (bits - 8)
    if full:
        y, cb, cr = y / top, (cb - 128 * s) / top, (cr - 128 * s) / top
    else:
        y, cb, cr = (y - 16 * s) / (219 * s), (cb - 128 * s) / (224 * s), (cr - 128 * s) / (224 * s)
    r = y + (2 - 2 * kr) * cr
    b = y + (2 - 2 * kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.stack([r, g, b], -1).clip(0, 1)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p"])
@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_a_tagged_film_is_shown_as_zimg_shows_it(tmp_path, matrix, range_, pixels):
    zimg, tag, _, _ = MATRICES[matrix]
    path = film_of_chart(
        tmp_path / "chart.mp4",
        f"zscale=matrixin=gbr:rangein=full:matrix={zimg}:range={range_}:chromal=left,format={pixels}",
        *LOSSLESS,
        *("-colorspace", tag, "-color_range", RANGES[range_]),
        *("-color_primaries", "bt709", "-color_trc", "bt709"),
    )
    seen = shown(path)
    theirs = rgb_by_ffmpeg(
        path,
        f"zscale=matrixin={zimg}:rangein={range_}:matrix=gbr:range=full:chromalin=left:f=bilinear,"
        "format=gbrp16le",
    )
    # Half a level: theirs has 16 bits, ours 8 where the film has.
    assert np.abs(seen - theirs).max() * 255 <= 0.51
    for number, colour in enumerate(PATCHES):
        assert np.abs(seen[patch(number)] - colour).max() * 255 <= 2, colour


@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize(("size", "weights"), [((640, 480), "bt601"), ((1280, 720), "bt709")])
def test_an_untagged_film_is_of_the_matrix_of_its_size(tmp_path, size, weights, range_):
    path = film_of_chart(
        tmp_path / "untagged.mp4",
        f"scale={size[0]}:{size[1]}:flags=neighbor,format=yuv444p",
        *(*LOSSLESS, "-frames:v", "1"),
        *(("-color_range", "pc") if range_ == "full" else ()),
    )
    layout = "yuvj444p" if range_ == "full" else "yuv444p"
    planes = np.frombuffer(raw_by_ffmpeg(path, layout), np.uint8).reshape(3, size[1], size[0])
    kr, kb = MATRICES[weights][2:]
    wanted = by_hand(*planes.astype(float), kr, kb, 8, range_ == "full")
    assert np.abs(shown(path) - wanted).max() * 255 <= 0.51


@pytest.mark.parametrize(
    ("siting", "code"), [("left", 0), ("center", 1), ("topleft", 2), ("top", 3)]
)
def test_chroma_lies_where_the_film_says(tmp_path, siting, code):
    picture = chart()
    picture[40:, ::7] = (1, 0, 0)
    picture[40::5] = (0, 0.2, 1)
    path = film_of_chart(
        tmp_path / "siting.mp4",
        f"zscale=matrixin=gbr:rangein=full:matrix=709:range=limited:chromal={siting},format=yuv420p",
        *(*LOSSLESS, "-x264-params", f"chromaloc={code}", "-colorspace", "bt709"),
        picture=picture,
    )
    with open_film(path) as film:
        assert film.facts.tags.siting == siting
    theirs = rgb_by_ffmpeg(
        path,
        f"zscale=matrixin=709:rangein=limited:matrix=gbr:range=full:chromalin={siting}:f=bilinear,"
        "format=gbrp16le",
    )
    assert np.abs(shown(path) - theirs).max() * 255 <= 0.51


@pytest.mark.parametrize(
    ("pixels", "codec", "suffix", "off"),
    [
        ("bgr0", "ffv1", "mkv", 1.2),
        ("gbrp10le", "ffv1", "mkv", 0.4),
        ("gbrp16le", "ffv1", "mkv", 0.01),
        ("rgb24", "qtrle", "mov", 1.2),
        ("rgb48be", "png", "mov", 0.01),
        ("yuv444p12le", "ffv1", "mkv", 0.2),
        ("yuva444p10le", "prores_ks", "mov", 1.5),
        ("yuv422p10le", "prores_ks", "mov", 1.5),
        ("yuv411p", "ffv1", "mkv", 1.6),
        ("yuv410p", "ffv1", "mkv", 1.6),
        ("yuv440p", "ffv1", "mkv", 1.6),
        ("uyvy422", "rawvideo", "mov", 1.6),
        ("v210", "v210", "mov", 0.5),
    ],
)
def test_every_layout_of_pixels_shows_the_chart(tmp_path, pixels, codec, suffix, off):
    # Patches of 16 pixels, wider than chroma shared by four reaches.
    picture = chart(192, HEIGHT)
    filters = "format=gbrp16le"
    if "yuv" in pixels or codec in ("rawvideo", "v210"):
        between = {"v210": "yuv422p10le", "uyvy422": "yuv422p"}.get(pixels, pixels)
        between = between.replace("yuva", "yuv")
        filters = f"zscale=matrixin=gbr:rangein=full:matrix=709:range=limited,format={between}"
    named = () if codec == "v210" else ("-pix_fmt", pixels)
    path = film_of_chart(
        tmp_path / f"layout.{suffix}",
        filters,
        *("-c:v", codec, *named, "-colorspace", "bt709" if "zscale" in filters else "rgb"),
        *("-color_primaries", "bt709", "-color_trc", "bt709"),
        *(("-color_range", "tv") if "zscale" in filters else ()),
        picture=picture,
    )
    seen = shown(path)
    for number, colour in enumerate(PATCHES):
        where = patch(number, 192, HEIGHT, border=7)
        assert np.abs(seen[where] - colour).max() * 255 <= off, colour


def test_grey_is_grey(tmp_path):
    path = film_of_chart(
        tmp_path / "grey.mkv",
        "zscale=matrixin=gbr:rangein=full:matrix=709:range=limited,format=yuv444p,extractplanes=y",
        *("-c:v", "ffv1", "-color_range", "tv"),
    )
    seen = shown(path)
    assert (seen[..., 0] == seen[..., 1]).all()
    luma = chart() @ (0.2126, 0.7152, 0.0722)
    assert np.abs(seen[..., 1] - luma).max() * 255 <= 1.2


# --- wider colours, brighter light ----------------------------------------------------------------

TO_709 = np.array(  # from BT.2020's primaries, ITU-R BT.2087, 4
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)


def srgb(light: Picture) -> Picture:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_sdr_of_bt2020_becomes_srgb(tmp_path):
    path = film_of_chart(
        tmp_path / "wide.mkv",
        "format=gbrp16le",
        *("-c:v", "ffv1", "-color_primaries", "bt2020", "-color_trc", "bt2020-10"),
    )
    values = chart()
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    wanted = srgb(light @ TO_709.T)
    assert np.abs(shown(path) - wanted).max() * 255 <= 0.5


def test_pq_has_its_white_at_203_candela(tmp_path):
    levels = np.array([0, 1, 10, 50, 100, 150, 203, 400, 1000]) / 10_000
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    values = ((c1 + c2 * levels**m1) / (1 + c3 * levels**m1)) ** m2
    picture = np.repeat(np.repeat(values, 8)[None, :, None], 16, 0) * np.ones(3)
    path = film_of_chart(
        tmp_path / "pq.mp4",
        "zscale=matrixin=gbr:rangein=full:matrix=2020_ncl:range=limited,format=yuv444p10le",
        *(*LOSSLESS, "-colorspace", "bt2020nc"),
        *("-color_primaries", "bt2020", "-color_trc", "smpte2084"),
        picture=picture,
    )
    wanted = srgb(levels * 10_000 / 203)
    with open_film(path) as film:
        assert film.facts.tags.is_hdr
    seen = shown(path)[8, 4::8]
    assert np.abs(seen - wanted[:, None]).max() * 255 <= 1.5


def test_hlg_is_read_as_pictures_are(tmp_path):
    path = film_of_chart(
        tmp_path / "hlg.mp4",
        "zscale=matrixin=gbr:rangein=full:matrix=2020_ncl:range=limited,format=yuv444p10le",
        *(*LOSSLESS, "-colorspace", "bt2020nc"),
        *("-color_primaries", "bt2020", "-color_trc", "arib-std-b67"),
        picture=np.full((16, 16, 3), 0.75),
    )
    # Reference white of HLG is at 75% of the signal: 203 candela on a display of 1,000 (ITU-R BT.2408).
    assert np.abs(shown(path) - 1).max() * 255 <= 2


def test_a_deep_film_is_not_darker(tmp_path):
    """Swscale of FFmpeg 8.1, asked for 8 bits of a film of 10, is 1.7 levels too dark."""
    path = film_of_chart(
        tmp_path / "deep.mp4",
        "zscale=matrixin=gbr:rangein=full:matrix=709:range=limited,format=yuv444p10le",
        *(*LOSSLESS, "-colorspace", "bt709"),
    )
    with open_film(path) as film:
        assert film.frame(0).rgb.dtype == np.uint16
    assert abs((shown(path) - chart()).mean()) * 255 < 0.05
    assert shown(path).shape == (HEIGHT, WIDTH, 3)
