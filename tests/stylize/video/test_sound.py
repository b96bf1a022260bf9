"""Written films are heard as their source is, in whole or in part."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from stylize.video.film import open_film
from stylize.video.writer import film_like
from tests.stylize.video.support import (
    HEIGHT,
    WIDTH,
    X264,
    copied,
    ffmpeg,
    ffprobe,
    moving,
    packets_of,
    stream_of,
    times,
)


@pytest.mark.parametrize(
    ("sound", "suffix"), [("aac", "mp4"), ("libopus", "mkv"), ("pcm_s24le", "mov"), ("flac", "mkv")]
)
def test_sound_is_copied_packet_by_packet(tmp_path, sound, suffix):
    source = moving(tmp_path / f"source.{suffix}", *X264, "-c:a", sound)
    path = tmp_path / f"film.{suffix}"
    copied(source, path)
    before, after = packets_of(source, "a:0"), packets_of(path, "a:0")
    assert [packet[3] for packet in after] == [packet[3] for packet in before]
    assert [packet[0] for packet in after] == [packet[0] for packet in before]
    assert times(path) == times(source)
    assert stream_of(path, "a:0")["codec_name"] == stream_of(source, "a:0")["codec_name"]


def samples(path: Path) -> np.ndarray:
    """What ffmpeg hears of a film, in mono at 48 kHz, from the time 0 on."""
    out = ffmpeg("-copyts", "-i", path, "-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ac", 1,
                 "-ar", 48000, "-f", "f32le", "-")  # fmt: skip
    return np.frombuffer(out, "<f4")


def chirp(path: Path, *arguments: object, seconds: float = 3) -> Path:
    """A film whose sound is at every moment another."""
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=30000/1001:d={seconds}"),
        *("-f", "lavfi", "-i", f"aevalsrc=0.5*sin(2*PI*(200*t+150*t*t)):d={seconds}:s=48000"),
        *("-pix_fmt", "yuv420p", *X264, "-g", "15", *arguments, path),
    )
    return path


@pytest.mark.parametrize(
    ("sound", "suffix", "target", "codec"),
    [
        ("aac", "mp4", "mp4", "h264"),
        ("aac", "mp4", "mkv", "h264"),
        ("pcm_s16le", "mov", "mov", "h264"),
        ("pcm_s16le", "mov", "mp4", "h264"),
        ("aac", "mp4", "webm", "av1"),
        ("libopus", "mkv", "mov", "prores"),
    ],
)
def test_sound_of_some_frames_is_that_of_their_time(tmp_path, sound, suffix, target, codec):
    source = chirp(tmp_path / f"source.{suffix}", "-c:a", sound)
    path = tmp_path / f"film.{target}"
    copied(source, path, 33, 63, codec=codec)
    with open_film(source) as film:
        begin, end = (round(float(film.timing.seconds(n)) * 48_000) for n in (33, 63))
    wanted = samples(source)[begin:end]
    heard = samples(path)
    assert times(path)[0][0] == 0
    assert abs(len(heard) - len(wanted)) <= 1_200  # the last packet may go on: 25 ms
    middle = slice(4_800, len(wanted) - 4_800)
    # Moved by a millisecond the chirp is another: the best match is where it should be.
    shifts = range(-96, 97, 8)
    errors = [
        np.abs(heard[4_800 + s : len(wanted) - 4_800 + s] - wanted[middle]).mean() for s in shifts
    ]
    assert abs(list(shifts)[int(np.argmin(errors))]) <= 24
    assert min(errors) < 0.1


def test_sound_that_a_container_does_not_take_is_encoded(tmp_path):
    source = moving(tmp_path / "source.mov", *X264, "-c:a", "pcm_s24le")
    for target, codec, name in (("mp4", "h264", "flac"), ("webm", "av1", "opus")):
        path = tmp_path / f"film.{target}"
        copied(source, path, codec=codec)
        assert stream_of(path, "a:0")["codec_name"] == name
    assert np.abs(samples(tmp_path / "film.mp4")[:90_000] - samples(source)[:90_000]).max() < 1e-4


def test_loudspeakers_at_the_sides_are_encoded(tmp_path):
    source = moving(
        tmp_path / "source.mkv", *X264, "-c:a", "ac3", "-ac", 6, "-ar", 48000, seconds=0.5
    )
    assert stream_of(source, "a:0")["channel_layout"] == "5.1(side)"
    path = tmp_path / "film.webm"
    copied(source, path, codec="av1")
    assert stream_of(path, "a:0")["channels"] == 6


def test_every_track_of_sound_comes_along_with_its_language(tmp_path):
    source = tmp_path / "source.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:d=1", "-f", "lavfi", "-i", "sine=d=1"),
        *("-f", "lavfi", "-i", "sine=500:d=1", "-map", "0", "-map", "1", "-map", "2", *X264),
        *("-metadata:s:a:0", "language=fre", "-metadata:s:a:1", "language=ger"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default", source),
    )
    for name in ("film.mkv", "film.mp4", "film.webm"):  # as they are, and encoded
        path = tmp_path / name
        copied(source, path, codec="av1" if name == "film.webm" else "h264")
        streams = ffprobe(path, "-select_streams", "a", "-show_streams")["streams"]
        assert [stream["tags"]["language"] for stream in streams] == ["fre", "ger"]
        # The second is heard unless somebody chooses.
        assert [stream["disposition"]["default"] for stream in streams] == [0, 1], name
    silent = tmp_path / "silent.mkv"
    copied(source, silent, sound=False)
    assert len(ffprobe(silent, "-show_streams")["streams"]) == 1


def test_sound_that_is_not_described_is_none(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, "-c:a", "aac", seconds=0.5)
    data = source.read_bytes()
    at = data.rfind(b"stsd", 0, data.index(b"mp4a"))
    source.write_bytes(data[:at] + b"free" + data[at + 4 :])
    with open_film(source) as film:
        assert not film.facts.has_sound
    path = tmp_path / "film.mp4"
    copied(source, path)
    assert times(path) == times(source)
    assert len(ffprobe(path, "-show_streams")["streams"]) == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_part_after_the_sound_is_not_heard(tmp_path, suffix):
    source = moving(
        tmp_path / f"source.{suffix}", *X264, "-c:a", "aac", "-frames:a", 20, seconds=1, rate="25"
    )
    for first, is_heard in ((20, False), (5, True)):
        path = tmp_path / f"film-{first}.{suffix}"
        with (
            open_film(source) as film,
            film_like(film, path, start=first, stop=first + 3) as writer,
        ):
            for frame in film.frames(first, first + 3):
                writer.write(frame.rgb)
        assert writer.has_sound == is_heard
        assert bool(packets_of(path, "a:0")) == is_heard


def phone(path: Path) -> Path:
    """A film with five frames of sound in a packet, as phones have it of AMR; here of G.723.1."""
    moving(
        path,
        *(*X264, "-af", "volume=6", "-c:a", "g723_1", "-ac", 1, "-ar", 8000, "-frames:a", 30),
        *("-chunk_duration", 2_000_000),
        seconds=1,
    )
    data = path.read_bytes()
    at = data.rindex(b"stts")  # of the second track: its samples are one chunk
    for box, before, after in (
        (b"stts", (1, 30, 240), (1, 6, 1200)),
        (b"stsc", (1, 1, 30), (1, 1, 6)),
        (b"stsz", (24, 30), (120, 6)),
    ):
        old, new = (box + struct.pack(f">{1 + len(v)}I", 0, *v) for v in (before, after))
        assert data.count(old, at) == 1, box
        data = data[:at] + data[at:].replace(old, new)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "h264"), ("webm", "av1")])
def test_several_frames_of_sound_in_a_packet_follow_each_other(tmp_path, suffix, codec):
    source = phone(tmp_path / "source.mov")
    path = tmp_path / f"film.{suffix}"
    copied(source, path, codec=codec)
    heard = samples(path)
    assert abs(len(heard) / 48_000 - 1) < 0.1
    loud = [np.sqrt((part**2).mean()) for part in np.split(heard[: 48_000 // 10 * 9], 45)]
    assert min(loud[2:]) > 0.2  # half of full scale, of a sine, is 0.35
