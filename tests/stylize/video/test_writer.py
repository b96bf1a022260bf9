"""Films are written as they are to be shown: colours, times and sound, as ffprobe and zimg have them."""

from __future__ import annotations

import io
import resource
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylize.errors import FilmError
from stylize.video.film import open_film
from stylize.video.pixels.tags import ColourTags
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter, film_like
from tests.stylize.video.support import (
    HEIGHT,
    LOSSLESS,
    WIDTH,
    X264,
    ffmpeg,
    ffprobe,
    film_of_chart,
    moving,
    packets_of,
    rgb_by_ffmpeg,
    shown_by_ffmpeg,
    stream_of,
    unit,
)

TV = {
    "bt601": (ColourTags(6, 6, 6, "limited"), "170m", "smpte170m"),
    "bt709": (ColourTags(1, 1, 1, "limited"), "709", "bt709"),
    "bt709, full": (ColourTags(1, 1, 1, "full"), "709", "bt709"),
    "bt601, full": (ColourTags(5, 5, 6, "full"), "470bg", "bt470bg"),
}


def smooth(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture without edges in its chroma, in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x / (width - 1), y / (height - 1)
    return np.stack([red, green, 0.5 + 0.45 * np.sin(x / 15) * np.cos(y / 12)], -1)


def write(path: Path, picture: np.ndarray, frames: int = 3, **options: Any) -> FilmWriter:
    """A film of one picture, given in as many bits as it is written with."""
    bits = options.get("bits") or (10 if options.get("codec") == "prores" else 8)
    white, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    values = np.rint(picture * white).astype(kind)
    height, width = values.shape[:2]
    with FilmWriter(path, (width, height), steady(Fraction(25), frames), **options) as writer:
        for _ in range(frames):
            writer.write(values)
    return writer


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
    # Lossy, but at its best: two levels, more where a codec rounds.
    for seen in (ours, theirs):
        off = np.abs(seen - picture) * 255
        assert off.mean() < 0.8
        assert np.percentile(off, 99) <= 3.2
        assert abs((seen - picture).mean()) * 255 < 0.25  # neither darker nor lighter


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


# --- time -----------------------------------------------------------------------------------------


def copied(
    source: Path, target: Path, start: int = 0, stop: int | None = None, **options: Any
) -> None:
    """Read a film and write it."""
    with (
        open_film(source) as film,
        film_like(film, target, start=start, stop=stop, **options) as writer,
    ):
        for frame in film.frames(start, stop):
            writer.write(frame.rgb)


def variable(path: Path, *arguments: object) -> Path:
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=30:d=1", "-vf"),
        "settb=1/90000,setpts='if(lt(N,9),N*3003,if(lt(N,20),27027+(N-9)*6006,93093+(N-20)*1501))'",
        *("-vsync", "vfr", "-enc_time_base", "1/90000", "-video_track_timescale", "90000"),
        *(*X264, *arguments, path),
    )
    return path


def times(path: Path) -> list[tuple[int, int]]:
    return [packet[:2] for packet in packets_of(path) if "D" not in packet[2]]


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "ffv1"])
def test_a_variable_rate_is_kept_to_the_tick(tmp_path, codec):
    source = variable(tmp_path / "source.mp4")
    path = tmp_path / "film.mp4"
    copied(source, path, codec=codec)
    assert shown_by_ffmpeg(path) == shown_by_ffmpeg(source)
    assert stream_of(path)["time_base"] == stream_of(source)["time_base"] == "1/90000"
    with open_film(source) as before, open_film(path) as after:
        assert after.timing.pts.tolist() == before.timing.pts.tolist()
        # MP4 has the length of the frame that is decoded last, which here is not the one shown last.
        shown = slice(None, -1 if codec == "h265" else None)
        assert after.timing.durations[shown].tolist() == before.timing.durations[shown].tolist()


def test_times_of_matroska_stay_in_matroska_and_in_mp4(tmp_path):
    source = variable(tmp_path / "source.mkv")
    for suffix in ("mkv", "mp4"):
        path = tmp_path / f"film.{suffix}"
        copied(source, path)
        assert [pts for pts, _ in times(path)] == [pts for pts, _ in times(source)]
        assert stream_of(path)["time_base"] == "1/1000"


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


# --- sound ----------------------------------------------------------------------------------------


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


def test_every_track_of_sound_comes_along_with_its_language(tmp_path):
    source = tmp_path / "source.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:d=1", "-f", "lavfi", "-i", "sine=d=1"),
        *("-f", "lavfi", "-i", "sine=500:d=1", "-map", "0", "-map", "1", "-map", "2", *X264),
        *("-metadata:s:a:0", "language=fre", "-metadata:s:a:1", "language=ger", source),
    )
    path = tmp_path / "film.mkv"
    copied(source, path)
    streams = ffprobe(path, "-select_streams", "a", "-show_streams")["streams"]
    assert [stream["tags"]["language"] for stream in streams] == ["fre", "ger"]
    silent = tmp_path / "silent.mkv"
    copied(source, silent, sound=False)
    assert len(ffprobe(silent, "-show_streams")["streams"]) == 1


# --- the rest -------------------------------------------------------------------------------------


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


def test_memory_stays_where_it_is_while_ten_thousand_frames_are_written(tmp_path):
    source = tmp_path / "source.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x32:r=100:d=100", "-f", "lavfi", "-i", "sine=d=100"),
        *("-c:v", "libx264", "-preset", "ultrafast", source),
    )
    path = tmp_path / "film.mp4"
    with open_film(source) as film, film_like(film, path) as writer:
        for frame in film.frames(0, 2_000):
            writer.write(frame.rgb)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for frame in film.frames(2_000):
            writer.write(frame.rgb)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 6 * 1024  # KiB
    assert len(times(path)) == 10_000
    assert len(packets_of(path, "a:0")) == len(packets_of(source, "a:0"))
