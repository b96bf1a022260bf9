"""How opaque a film is: read as FFmpeg's own command and libvpx have it, written where a codec has room."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stylize.errors import FilmError
from stylize.video.film import open_film
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter, film_like
from tests.stylize.video.support import HEIGHT, WIDTH, ffmpeg, smooth, stream_of, unit

RAMP = np.linspace(0, 1, WIDTH)
"""Opacity from left to right; in the frames after the first it moves to the left."""


def see_through(count: int = 4) -> list[np.ndarray]:
    """Frames of (H, W, 4), uint16."""
    frames = []
    for k in range(count):
        alpha = np.broadcast_to(np.roll(RAMP, -9 * k)[None, :, None], (HEIGHT, WIDTH, 1))
        frames.append(np.rint(np.dstack([smooth(), alpha]) * 65535).astype(np.uint16))
    return frames


def encoded(path: Path, *arguments: object) -> Path:
    """Write the frames with ffmpeg's command."""
    data = b"".join(frame.astype("<u2").tobytes() for frame in see_through())
    given = (
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgba64le",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-r",
        25,
        "-i",
        "-",
    )
    ffmpeg(*given, *arguments, path, data=data)
    return path


def alphas_by_ffmpeg(path: Path, bits: int, *decoder: object) -> np.ndarray:
    """Return the opacity of all frames in [0, 1], (N, H, W); in as many bits as they are decoded to."""
    grey = "gray" if bits == 8 else f"gray{bits}le"
    how = ("-vf", "alphaextract", "-f", "rawvideo", "-pix_fmt", grey, "-")
    out = ffmpeg(*decoder, "-i", path, *how)
    return np.frombuffer(out, "u1" if bits == 8 else "<u2").reshape(-1, HEIGHT, WIDTH) / (
        2**bits - 1
    )


@pytest.mark.parametrize(
    ("name", "bits", "how", "decoder", "near"),
    [
        (
            "prores.mov",
            12,
            ("prores_ks", "-profile:v", 4, "-pix_fmt", "yuva444p10le"),
            (),
            1 / 1023,
        ),
        ("animation.mov", 8, ("qtrle", "-pix_fmt", "argb"), (), 0),
        ("png.mov", 8, ("png", "-pix_fmt", "rgba"), (), 0),
        ("deep_png.mov", 16, ("png", "-pix_fmt", "rgba64be"), (), 0),
        ("cineform.mov", 12, ("cfhd", "-pix_fmt", "gbrap12le"), (), 1 / 4095),
        ("hap.mov", 8, ("hap", "-format", "hap_alpha"), (), 0),
        ("ffv1.mkv", 8, ("ffv1", "-pix_fmt", "yuva420p"), (), 0),
        ("ffv1_rgb.mkv", 16, ("ffv1", "-pix_fmt", "gbrap16le"), (), 0),
        (
            "vp9.webm",
            8,
            ("libvpx-vp9", "-crf", 20, "-g", 2, "-pix_fmt", "yuva420p"),
            ("-c:v", "libvpx-vp9"),
            0,
        ),
        (
            "vp8.webm",
            8,
            ("libvpx", "-b:v", "1M", "-auto-alt-ref", 0, "-pix_fmt", "yuva420p"),
            ("-c:v", "libvpx"),
            0,
        ),
    ],
)
def test_opacity_is_read(tmp_path, name, bits, how, decoder, near):
    path = encoded(tmp_path / name, "-c:v", *how)
    wanted = alphas_by_ffmpeg(path, bits, *decoder)
    assert len(wanted) == 4
    assert np.abs(wanted[2] - see_through()[2][..., 3] / 65535).max() < 0.05
    with open_film(path) as film:
        assert film.facts.has_alpha
        for index in (0, 3, 1, 2):  # sought as read in order
            frame = film.frame(index)
            assert frame.values.shape == (HEIGHT, WIDTH, 4)
            assert np.array_equal(frame.rgb, frame.values[..., :3])
            assert np.abs(unit(frame.values)[..., 3] - wanted[index]).max() <= near + 1e-6


@pytest.mark.parametrize("pixels", ["ya8", "ya16be"])
def test_opacity_beside_grey_is_read(tmp_path, pixels):
    """As libpng has it: ffmpeg's alphaextract takes the grey of such frames."""
    import imagecodecs

    path = encoded(tmp_path / "film.mov", "-c:v", "png", "-pix_fmt", pixels)
    files = ffmpeg("-i", path, "-c", "copy", "-f", "image2pipe", "-")
    second = files.find(b"\x89PNG", 8)
    grey_alpha = imagecodecs.png_decode(files[second:])
    with open_film(path) as film:
        values = film.frame(1).values
    assert np.array_equal(values[..., [0, 3]], grey_alpha)
    assert np.abs(unit(values)[..., 3] - see_through()[1][..., 3] / 65535).max() < 0.01


def test_colours_are_not_multiplied_by_opacity(tmp_path):
    path = encoded(tmp_path / "film.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrap16le")
    with open_film(path) as film:
        assert np.array_equal(film.frame(1).values, see_through()[1])


def test_opacity_is_turned_and_stretched_with_the_colours(tmp_path):
    wide = ("-c:v", "qtrle", "-pix_fmt", "argb", "-aspect", f"{2 * WIDTH}:{HEIGHT}")
    path = encoded(tmp_path / "film.mov", *wide)
    turned = tmp_path / "turned.mov"
    ffmpeg("-i", path, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
    with open_film(turned) as film:
        values = unit(film.frame(0).values)
    assert values.shape == (2 * WIDTH, HEIGHT, 4)
    ramp = values[:, 5, 3]
    ramp = ramp if ramp[0] < ramp[-1] else ramp[::-1]
    assert np.abs(ramp - np.linspace(0, 1, 2 * WIDTH)).max() < 0.02
    assert (np.ptp(values[..., 3], axis=1) == 0).all()


def test_a_film_without_opacity_has_three_channels(tmp_path):
    path = encoded(tmp_path / "film.mov", "-c:v", "png", "-pix_fmt", "rgb24")
    with open_film(path) as film:
        assert not film.facts.has_alpha
        assert film.frame(0).values.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("name", "how", "pixels", "bits", "near"),
    [
        ("film.mov", {"codec": "prores", "quality": 90}, "yuva444p12le", 12, 1 / 1023),
        ("film.mkv", {"codec": "ffv1", "bits": 8}, "bgra", 8, 0.5 / 255),
        ("film.mkv", {"codec": "ffv1", "bits": 10}, "gbrap10le", 10, 0.5 / 1023),
        ("film.mkv", {"codec": "ffv1", "bits": 12}, "gbrap12le", 12, 0.5 / 4095),
        ("film.mp4", {"codec": "ffv1", "bits": 16}, "gbrap16le", 16, 0),
    ],
)
def test_opacity_is_written(tmp_path, name, how, pixels, bits, near):
    path = tmp_path / name
    frames = see_through()
    with FilmWriter(path, (WIDTH, HEIGHT), steady(Fraction(25), 4), alpha=True, **how) as writer:
        for frame in frames:
            writer.write(frame)
    assert stream_of(path)["pix_fmt"] == pixels
    for shown, frame in zip(alphas_by_ffmpeg(path, bits), frames, strict=True):
        assert np.abs(shown - frame[..., 3] / 65535).max() <= near + 1e-4
    opaque = tmp_path / f"opaque{path.suffix}"
    with open_film(path) as film:
        with film_like(film, opaque, codec=how["codec"], quality=how.get("quality")) as writer:
            for frame in film.frames():
                writer.write(frame.rgb)
        with open_film(opaque) as other:
            assert not other.facts.has_alpha
            assert np.abs(unit(film.frame(2).rgb) - unit(other.frame(2).rgb)).max() < 0.03


@pytest.mark.parametrize("how", [{}, {"codec": "prores"}, {"codec": "av1", "quality": 95}])
def test_codecs_without_opacity_say_which_have_it(tmp_path, how):
    with pytest.raises(FilmError, match="with it are ffv1, and prores from quality 90 on"):
        FilmWriter(tmp_path / "film.mkv", (64, 48), steady(Fraction(24), 5), alpha=True, **how)


def test_a_frame_without_opacity_is_refused_where_others_have_it(tmp_path):
    timing = steady(Fraction(25), 4)
    how = {"codec": "ffv1", "alpha": True}
    with (
        pytest.raises(FilmError, match=r"frame 0 .* of shape \(64, 96, 4\)"),
        FilmWriter(tmp_path / "film.mkv", (WIDTH, HEIGHT), timing, **how) as writer,
    ):
        writer.write(see_through()[0][..., :3])
