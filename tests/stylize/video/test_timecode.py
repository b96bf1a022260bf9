"""Timecode is read, counted on, and written as FFmpeg's own command has it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.video.film import open_film
from stylize.video.timecode import Timecode, read_timecode
from stylize.video.timing import Timing, steady
from stylize.video.writer import FilmWriter, film_like
from tests.stylize.video.support import copied, ffmpeg, ffprobe

NTSC = Fraction(30000, 1001)


def film_with(path: Path, code: str, rate: str = "30000/1001") -> Path:
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}:d=1", "-c:v", "libx264", "-preset"),
        *("ultrafast", "-timecode", code, path),
    )
    return path


def said(path: Path) -> str | None:
    """What ffprobe finds."""
    found = ffprobe(path, "-show_format", "-show_streams")
    for part in (*found["streams"], found["format"]):
        for key, text in part.get("tags", {}).items():
            if key.lower() == "timecode":
                return str(text)
    return None


@pytest.mark.parametrize(
    ("code", "rate", "later", "expected"),
    [
        ("00:00:59;28", NTSC, 1, "00:00:59;29"),
        ("00:00:59;29", NTSC, 1, "00:01:00;02"),
        ("00:09:59;29", NTSC, 1, "00:10:00;00"),
        ("00:00:59:29", NTSC, 1, "00:01:00:00"),
        ("01:00:59;59", 2 * NTSC, 1, "01:01:00;04"),
        ("00:00:00;00", NTSC, 107_892, "01:00:00;00"),  # an hour
        ("23:59:59;29", NTSC, 1, "00:00:00;00"),
        ("23:59:59:23", Fraction(24), 1, "00:00:00:00"),
        ("10:00:00:00", Fraction(24000, 1001), 24 * 3600, "11:00:00:00"),
        ("10:00:00.10", NTSC, 0, "10:00:00;10"),
        ("10:00:00:10", Fraction(25), 40, "10:00:02:00"),
    ],
)
def test_frames_are_counted_on(code, rate, later, expected):
    first = read_timecode(code, Fraction(rate))
    assert first is not None
    assert str(first.after(later / Fraction(rate), Fraction(rate))) == expected


@given(st.integers(0, 24 * 3600 * 60 - 1), st.sampled_from([24, 25, 30, 50, 60]), st.booleans())
def test_what_is_written_is_read(frame, per_second, drop):
    code = Timecode(frame, per_second, drop and per_second % 30 == 0)
    again = read_timecode(str(code), Fraction(per_second))
    assert again is not None
    assert str(again) == str(code)
    following = str(again.after(Fraction(1, per_second), Fraction(per_second)))
    assert following != str(code)
    if not code.drop:
        seconds, frames = divmod(frame % (24 * 3600 * per_second), per_second)
        assert str(code).endswith(f":{seconds % 60:02}:{frames:02}")


@pytest.mark.parametrize(
    ("code", "rate"),
    [
        (None, 25),
        ("", 25),
        ("10:00:00", 25),
        ("10:00:00:25", 25),
        ("10:61:00:00", 25),
        ("10:00:00:00", Fraction(293, 10)),
        ("10:00:00:00", Fraction(1, 3)),
    ],
)
def test_what_is_no_timecode_is_none(code, rate):
    assert read_timecode(code, Fraction(rate)) is None


@pytest.mark.parametrize("source", ["mov", "mp4", "mkv"])
@pytest.mark.parametrize("target", ["mov", "mp4", "mkv"])
def test_a_film_keeps_its_timecode(tmp_path, source, target):
    path = film_with(tmp_path / f"source.{source}", "01:00:59;20")
    copied(path, tmp_path / f"film.{target}")
    copied(path, tmp_path / f"part.{target}", 12, 20)
    assert said(tmp_path / f"film.{target}") == "01:00:59;20"
    assert said(tmp_path / f"part.{target}") == "01:01:00;04"
    with open_film(tmp_path / f"part.{target}") as film:
        assert len(film) == 8
        assert film.facts.timecode == "01:01:00;04"


@pytest.mark.parametrize(
    ("rate", "code"),
    [("60000/1001", "01:00:59;50"), ("60", "10:00:00;30"), ("24000/1001", "01:00:59:20")],
)
def test_thousandths_of_a_second_are_no_obstacle(tmp_path, rate, code):
    """Matroska has them, and of 60 frames none takes a whole number."""
    path = film_with(tmp_path / "source.mkv", code, rate)
    copied(path, tmp_path / "film.mov")
    assert said(tmp_path / "film.mov") == code
    with open_film(path) as one, open_film(tmp_path / "film.mov") as other:
        assert other.rate == one.rate == Fraction(rate)
        assert other.facts.timecode == code
        for index in range(len(one) + 1):
            assert other.timing.seconds(index) == pytest.approx(index / float(Fraction(rate)))
            assert abs(other.timing.seconds(index) - one.timing.seconds(index)) <= Fraction(1, 1000)


def test_ticks_that_no_frame_is_a_number_of_are_no_obstacle(tmp_path):
    """Of 240 to a second 4.8 are a frame; FFmpeg would have 5, and 48 frames."""
    ends = np.rint(np.arange(13) * 4.8).astype(np.int64)
    timing = Timing(Fraction(1, 240), ends[:-1], np.diff(ends), Fraction(50))
    code = read_timecode("01:00:59:49", Fraction(50))
    with FilmWriter(tmp_path / "film.mov", (64, 48), timing, timecode=code) as writer:
        for _ in range(12):
            writer.write(np.full((48, 64, 3), 90, np.uint8))
    assert writer.timecode == said(tmp_path / "film.mov") == "01:00:59:49"
    with open_film(tmp_path / "film.mov") as film:
        for index in range(12):
            assert film.timing.seconds(index) == timing.seconds(index)


def test_of_every_second_frame_seconds_are_kept(tmp_path):
    path = film_with(tmp_path / "source.mov", "10:00:00:20", "50")
    with (
        open_film(path) as film,
        film_like(film, tmp_path / "film.mov", start=10, stop=30, step=2) as writer,
    ):
        assert str(film.timecode(10)) == "10:00:00:30"
        assert film.timecode(10, 4) is None
        for index in range(10, 30, 2):
            writer.write(film.frame(index).rgb)
    assert writer.timecode == said(tmp_path / "film.mov") == "10:00:00:15"


@pytest.mark.parametrize(("name", "rate"), [("film.webm", 25), ("film.mov", 12), ("film.mp4", 90)])
def test_a_film_that_can_have_none_has_none(tmp_path, name, rate):
    how = {"codec": "av1"} if name.endswith("webm") else {}
    code = Timecode(100, rate)
    with FilmWriter(
        tmp_path / name, (64, 48), steady(Fraction(rate), 8), timecode=code, **how
    ) as writer:
        for _ in range(8):
            writer.write(np.full((48, 64, 3), 90, np.uint8))
    assert writer.timecode is said(tmp_path / name) is None


def test_a_film_of_variable_rate_has_none(tmp_path):
    with open_film(film_with(tmp_path / "source.mov", "01:00:00:00", "30")) as film:
        assert str(film.timecode(5)) == "01:00:00:05"
    slower = tmp_path / "slower.mov"
    times = "setpts='if(lt(N,10),N,3*N-20)/30/TB'"
    ffmpeg("-i", tmp_path / "source.mov", "-vf", times, "-vsync", "vfr", slower)
    with open_film(slower) as film:
        assert film.facts.timecode == "01:00:00:00"
        assert film.timecode() is None
