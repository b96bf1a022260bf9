"""The writer: files, sizes, frames that do not fit, and disks that are full."""

from __future__ import annotations

import gc
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylize.errors import FilmError
from stylize.video.codecs import coding_of
from stylize.video.film import open_film
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter
from tests.stylize.video.support import (
    HEIGHT,
    WIDTH,
    X264,
    copied,
    ffmpeg,
    moving,
    smooth,
    stream_of,
    unit,
    write,
)


def test_a_turned_film_is_written_upright_and_once(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, seconds=0.4)
    turned, path = tmp_path / "turned.mp4", tmp_path / "film.mp4"
    ffmpeg("-i", source, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
    copied(turned, path, quality=95)
    stream = stream_of(path)
    assert (stream["width"], stream["height"]) == (HEIGHT, WIDTH)
    assert "side_data_list" not in stream
    with open_film(turned) as before, open_film(path) as after:
        off = np.abs(unit(before.frame(3).rgb) - unit(after.frame(3).rgb))
        assert off.mean() * 255 < 8


def test_a_film_is_written_to_a_file_object(tmp_path):
    file = io.BytesIO()
    with FilmWriter(file, (64, 48), steady(Fraction(24), 5), container="mp4") as writer:
        for _ in range(5):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert not file.closed
    with open_film(io.BytesIO(file.getvalue())) as film:
        assert len(film) == 5


def test_a_path_with_odd_characters_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:film.mp4", "a%03d b'\"ü.mp4", "pipe:1.mkv"):
        write(Path(name), smooth())
        assert (tmp_path / name).stat().st_size > 500
        with open_film(Path(name)) as film:
            assert len(film) == 3


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "prores", "ffv1"])
def test_a_film_may_have_any_number_of_frames(tmp_path, codec):
    path = tmp_path / ("film.mov" if codec == "prores" else "film.mp4")
    for count in (1, 2, 3, 4, 5, 8, 9):
        with FilmWriter(path, (64, 48), steady(Fraction(24), count), codec=codec) as writer:
            for number in range(count):
                writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
        with open_film(path) as film:
            assert film.timing.pts.tolist() == list(range(count))
            assert film.timing.durations.tolist() == [1] * count


def test_a_browser_can_begin_at_the_beginning(tmp_path):
    path = tmp_path / "film.mp4"
    write(path, smooth())
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"codec": "h263"},
            "there is no codec 'h263' for films; use h264, h265, av1, prores, ffv1",
        ),
        ({"codec": "prores", "container": "mp4"}, "prores is not written to mp4 but to mov or mkv"),
        (
            {"codec": "prores", "bits": 8, "container": "mov"},
            "prores is not written with 8 bits but with 10",
        ),
        (
            {"codec": "ffv1", "quality": 5, "container": "mkv"},
            "ffv1 is lossless and has no quality",
        ),
        ({"quality": 0}, "the quality of a film is 0; use 1 to 100"),
    ],
)
def test_what_a_codec_does_not_take_is_refused_by_name(tmp_path, options, said):
    with pytest.raises(FilmError) as caught:
        FilmWriter(tmp_path / "film.mp4", (64, 48), steady(Fraction(24), 5), **options)
    assert str(caught.value).startswith(said)


def write_all(writer: FilmWriter, *frames: np.ndarray) -> None:
    for frame in frames:
        writer.write(frame)


def test_frames_that_do_not_fit_are_refused(tmp_path):
    good = np.zeros((48, 64, 3), np.uint8)
    with (
        pytest.raises(FilmError, match=r"frame 1 for .*film\.mp4 is uint8 of shape \(64, 48, 3\)"),
        FilmWriter(tmp_path / "film.mp4", (64, 48), steady(Fraction(24), 5)) as writer,
    ):
        write_all(writer, good, np.zeros((64, 48, 3), np.uint8))
    with (
        pytest.raises(FilmError, match=r"was given 1 of its 5 frames"),
        FilmWriter(tmp_path / "film.mp4", (64, 48), steady(Fraction(24), 5)) as writer,
    ):
        writer.write(good)
    with (
        pytest.raises(FilmError, match="there is one more"),
        FilmWriter(tmp_path / "film.mp4", (64, 48), steady(Fraction(24), 1)) as writer,
    ):
        write_all(writer, good, good)


def test_a_file_that_cannot_be_written_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        FilmWriter(tmp_path / "nowhere" / "film.mp4", (64, 48), steady(Fraction(24), 5))


class Full(io.BytesIO):
    """A disk that is full."""

    def write(self, data: Any) -> int:
        if self.tell() > 2_000:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_full_disk_is_an_oserror():
    noise = np.random.default_rng(1).integers(0, 255, (40, 48, 64, 3), np.uint8)
    with (
        pytest.raises(OSError, match="No space left"),
        FilmWriter(Full(), (64, 48), steady(Fraction(24), 40), container="mkv") as writer,
    ):
        write_all(writer, *noise)


def test_small_films_are_planned_without_what_may_end_the_process():
    def planned(*size: int) -> str:
        return str(coding_of("h265", "mp4", 8, None, 24, size).options["x265-params"])

    assert "cutree=0" in planned(32, 24)
    assert "cutree=0" in planned(640, 24)
    assert "cutree" not in planned(64, 64)


def test_narrow_films_are_not_divided_among_threads_of_av1():
    def planned(*size: int) -> str:
        return str(coding_of("av1", "mp4", 8, None, 24, size).options["svtav1-params"])

    assert "lp=1" in planned(200, 63)
    assert "lp=1" in planned(63, 200)
    assert "lp" not in planned(64, 64)


def give_up(path: Path) -> None:
    with FilmWriter(path, (64, 64), steady(Fraction(24), 9), codec="av1") as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
        raise KeyboardInterrupt


def test_a_video_that_is_given_up_is_so_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        give_up(tmp_path / "a.mp4")
    del caught  # which has the writer, and so its encoder
    gc.collect()
    assert capfd.readouterr() == ("", "")
