"""Written films have the times of their source, to the tick, as ffprobe reads them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylize.video.film import open_film
from stylize.video.timing import Timing, steady
from stylize.video.writer import FilmWriter
from tests.stylize.video.support import (
    HEIGHT,
    WIDTH,
    X264,
    copied,
    ffmpeg,
    ffprobe,
    moving,
    packets_of,
    shown_by_ffmpeg,
    stream_of,
    times,
)


def variable(path: Path, *arguments: object) -> Path:
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=30:d=1", "-vf"),
        "settb=1/90000,setpts='if(lt(N,9),N*3003,if(lt(N,20),27027+(N-9)*6006,93093+(N-20)*1501))'",
        *("-vsync", "vfr", "-enc_time_base", "1/90000", "-video_track_timescale", "90000"),
        *(*X264, *arguments, path),
    )
    return path


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "ffv1"])
def test_a_variable_rate_is_kept_to_the_tick(tmp_path, codec):
    source = variable(tmp_path / "source.mp4")
    path = tmp_path / "film.mp4"
    copied(source, path, codec=codec)
    assert shown_by_ffmpeg(path) == shown_by_ffmpeg(source)
    assert stream_of(path)["time_base"] == stream_of(source)["time_base"] == "1/90000"
    with open_film(source) as before, open_film(path) as after:
        assert after.timing.pts.tolist() == before.timing.pts.tolist()
        assert after.timing.durations.tolist() == before.timing.durations.tolist()


def grey_film(path: Path, timing: Timing, **options: Any) -> Path:
    with FilmWriter(path, (WIDTH, HEIGHT), timing, **options) as writer:
        for number in range(len(timing)):
            writer.write(np.full((HEIGHT, WIDTH, 3), 20 * number % 256, np.uint8))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_nanoseconds_become_the_nearest_microseconds(tmp_path, suffix):
    # A WebM may count in them. FFmpeg leaves out where B-frames lie from 2**28 ticks on, and writes no frame
    # that is shown for 2**31; here, both would be.
    pts = np.array([0, 33_333_333, 66_666_666, 166_666_666, 5_000_000_499, 5_100_000_501])
    lengths = np.append(np.diff(pts), 99_999_499)
    path = grey_film(tmp_path / f"film.{suffix}", Timing(Fraction(1, 10**9), pts, lengths))
    wanted = [0, 33_333, 66_667, 166_667, 5_000_000, 5_100_001]
    assert shown_by_ffmpeg(path) == wanted
    assert stream_of(path)["time_base"] == "1/1000000"
    with open_film(path) as film:
        assert film.timing.pts.tolist() == wanted


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("count", [5, 10, 61])
def test_a_film_lasts_until_its_last_frame_is_over(tmp_path, suffix, codec, count):
    # Of each frame MP4 has when the next one is decoded, and with B-frames that is another one.
    pts = np.append(3 * np.arange(count - 1), 200)
    timing = Timing(Fraction(1, 75), pts, np.diff(pts, append=250))
    path = grey_film(tmp_path / f"film.{suffix}", timing, codec=codec)
    assert float(ffprobe(path, "-show_format")["format"]["duration"]) == round(250 / 75, 6)
    with open_film(path) as film:
        assert film.timing.durations.tolist() == timing.durations.tolist()


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("tick", ["1/90000", "1001/30000", "1/25"])
def test_a_late_beginning_is_kept_to_the_tick(tmp_path, suffix, tick):
    # FFmpeg's edit lists count in thousandths of a second unless they are told not to.
    pts = 7 + 3 * np.arange(6)
    timing = Timing(Fraction(tick), pts, np.full(6, 3))
    path = grey_film(tmp_path / f"film.{suffix}", timing)
    assert shown_by_ffmpeg(path) == [number * timing.time_base.numerator for number in pts]
    with open_film(path) as film:
        assert [film.timing.seconds(n) for n in range(7)] == [timing.seconds(n) for n in range(7)]


def test_frames_within_a_thousandth_of_a_second_stay_apart_in_matroska(tmp_path):
    pts = np.array([0, 1501, 1502, 3003])  # a camera that has one frame twice
    timing = Timing(Fraction(1, 90_000), pts, np.diff(pts, append=4504))
    path = grey_film(tmp_path / "film.mkv", timing)
    assert shown_by_ffmpeg(path) == [0, 17, 18, 33]
    with open_film(path) as film:
        assert [round(frame.rgb.mean() / 20) for frame in film.frames()] == [0, 1, 2, 3]


def test_av1_of_more_frames_than_its_encoder_counts_is_written(tmp_path, capfd):
    path = grey_film(tmp_path / "film.mp4", steady(Fraction(600), 6), codec="av1")
    assert shown_by_ffmpeg(path) == [0, 1, 2, 3, 4, 5]
    assert stream_of(path)["time_base"] == "1/600"
    assert capfd.readouterr().err == ""


def test_times_of_matroska_stay_in_matroska_and_in_mp4(tmp_path):
    source = variable(tmp_path / "source.mkv")
    for suffix in ("mkv", "mp4"):
        path = tmp_path / f"film.{suffix}"
        copied(source, path)
        assert [pts for pts, _ in times(path)] == [pts for pts, _ in times(source)]
        assert stream_of(path)["time_base"] == "1/1000"


@pytest.mark.parametrize("rate", ["10", "24", "25"])
def test_pictures_that_begin_after_their_sound_still_do(tmp_path, rate):
    source, late = tmp_path / "source.mkv", tmp_path / "late.mkv"
    moving(source, *X264, "-bf", 2, "-c:a", "pcm_s16le", seconds=1, rate=rate)
    ffmpeg(
        *(
            "-i",
            source,
            "-itsoffset",
            "0.019",
            "-i",
            source,
            "-map",
            "1:v",
            "-map",
            "0:a",
            "-c",
            "copy",
        ),
        late,
    )
    path = tmp_path / "film.mp4"
    copied(late, path)
    begins = [float(stream_of(film)["start_time"]) for film in (late, path)]
    assert begins == pytest.approx([begins[0]] * 2, abs=0.0001)
    assert begins[0] > 0.01
    assert Fraction(stream_of(path)["r_frame_rate"]) == Fraction(rate)
    assert float(stream_of(path, "a:0")["start_time"]) == 0


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60", "12.5"])
@pytest.mark.parametrize(("codec", "suffix"), [("h264", "mp4"), ("h264", "mkv"), ("prores", "mov")])
def test_numbered_frames_get_their_rate(tmp_path, codec, suffix, rate):
    path = tmp_path / f"film.{suffix}"
    with FilmWriter(path, (64, 48), steady(Fraction(rate), 30), codec=codec) as writer:
        for number in range(30):
            writer.write(np.full((48, 64, 3), number * 8, np.uint8))
    assert Fraction(stream_of(path)["avg_frame_rate"]) == pytest.approx(Fraction(rate), rel=1e-4)
    with open_film(path) as film:
        assert (len(film), film.rate) == (30, Fraction(rate))
        assert film.timing.pts[0] == 0


def test_a_film_is_30000_1001_after_a_write(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, "-bf", "2", seconds=1)
    path = tmp_path / "film.mp4"
    copied(source, path)
    assert times(path) == times(source)
    for key in (
        "time_base",
        "avg_frame_rate",
        "r_frame_rate",
        "start_pts",
        "duration_ts",
        "nb_frames",
    ):
        assert stream_of(path)[key] == stream_of(source)[key], key


def test_a_film_with_an_edit_list_is_as_long_as_it_is_shown(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, "-g", "30", "-bf", "2")
    cut, path = tmp_path / "cut.mp4", tmp_path / "film.mp4"
    ffmpeg("-ss", "1.3", "-i", source, "-c", "copy", cut)
    copied(cut, path)
    assert shown_by_ffmpeg(path) == shown_by_ffmpeg(cut)
    assert times(path)[0][0] == 0


def test_a_film_that_begins_late_still_does(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, seconds=1)
    late, path = tmp_path / "late.mp4", tmp_path / "film.mp4"
    ffmpeg(
        "-itsoffset",
        "0.5",
        "-i",
        source,
        "-i",
        source,
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c",
        "copy",
        late,
    )
    copied(late, path)
    assert shown_by_ffmpeg(path) == shown_by_ffmpeg(late)
    assert packets_of(path, "a:0") == packets_of(late, "a:0")
