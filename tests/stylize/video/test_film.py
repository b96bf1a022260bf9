"""Films are read frame by frame as players show them, in order or not, and damage is said in a sentence."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylize.errors import FilmError
from stylize.video.film import Film, open_film
from tests.stylize.video.support import (
    HEIGHT,
    LOSSLESS,
    WIDTH,
    X264,
    chart,
    damage,
    ffmpeg,
    ffprobe,
    film_of_chart,
    moving,
    rgb_by_ffmpeg,
    shown_by_ffmpeg,
    smooth,
    unit,
)


def pictures(film: Film) -> list[np.ndarray]:
    return [frame.rgb for frame in film.frames()]


KINDS = {
    "h264, open groups and a pyramid of B-frames": (
        "mp4",
        (*X264, "-bf", "3", "-g", "12", "-x264-params", "open-gop=1:b-pyramid=normal:ref=4"),
    ),
    "the same in Matroska": (
        "mkv",
        (*X264, "-bf", "3", "-g", "12", "-x264-params", "open-gop=1:b-pyramid=normal:ref=4"),
    ),
    "h264, intra refresh": ("mp4", (*X264, "-g", "12", "-x264-params", "intra-refresh=1:bframes=0")),
    "h265, open groups": (
        "mp4",
        ("-c:v", "libx265", "-x265-params", "open-gop=1:keyint=12:bframes=4:log-level=none"),
    ),
    "h265 in Matroska": (
        "mkv",
        ("-c:v", "libx265", "-x265-params", "open-gop=1:keyint=12:bframes=4:log-level=none"),
    ),
    "vp9": ("webm", ("-c:v", "libvpx-vp9", "-g", "12", "-cpu-used", "8", "-b:v", "200k")),
    "av1": ("mp4", ("-c:v", "libsvtav1", "-preset", "12", "-g", "12")),
    "mpeg4": ("mov", ("-c:v", "mpeg4", "-bf", "2", "-g", "12")),
    "prores": ("mov", ("-c:v", "prores_ks",)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_the_same_in_any_order(tmp_path, kind):
    suffix, arguments = KINDS[kind]
    path = moving(tmp_path / f"moving.{suffix}", "-an", *arguments)
    with open_film(path) as film:
        assert len(film) == 60
        assert film.rate == Fraction(30000, 1001)
        assert film.timing.pts.tolist() == shown_by_ffmpeg(path)
        inorder = pictures(film)
        assert len({picture.tobytes() for picture in inorder}) > 50  # something moves
        asked = [
            *np.random.default_rng(1).permutation(60)[:25].tolist(),
            59,
            58,
            0,
            1,
            2,
            30,
            30,
            29,
        ]
        for index in asked:
            frame = film.frame(index)
            assert frame.index == index
            assert np.array_equal(frame.rgb, inorder[index]), index
        # From the middle of one run, another.
        for first, other in zip(film.frames(10, 16), film.frames(40, 46), strict=True):
            assert np.array_equal(first.rgb, inorder[first.index])
            assert np.array_equal(other.rgb, inorder[other.index])


def test_a_frame_in_the_middle_is_reached_from_the_key_frame_before_it(tmp_path, monkeypatch):
    path = moving(tmp_path / "moving.mp4", "-an", *X264, "-bf", "2", "-g", "12")
    with open_film(path) as film:
        sought: list[int] = []
        seek = film._seek
        monkeypatch.setattr(film, "_seek", lambda start: sought.append(start) or seek(start))
        monkeypatch.setattr(film, "_restart", lambda: pytest.fail("decoded from the beginning"))
        film.frame(50)
        film.frame(51)
        film.frame(20)
        assert sought == [4, 1]


def test_frames_within_a_thousandth_of_a_second_are_shown_one_after_the_other(tmp_path):
    path = tmp_path / "fast.mkv"  # 1.5 frames in each tick
    testsrc = f"testsrc2=s={WIDTH}x{HEIGHT}:r=1500:d=0.02"
    ffmpeg(
        "-f", "lavfi", "-i", testsrc, "-fps_mode", "passthrough", *X264, "-bf", 2, "-g", 10, path
    )
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-")
    shown = np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)
    assert len(shown) == 30
    with open_film(path) as film:
        assert len(film) == 30
        seconds = [float(film.timing.seconds(index)) for index in range(31)]
        assert all(a < b for a, b in pairwise(seconds))
        assert seconds == pytest.approx(np.arange(31) / 1500, abs=0.001)
        inorder = pictures(film)
        for index in (29, 11, 10, 20, 19, 21, 2, 1, 0, 1, 2, 15):
            frame = film.frame(index)
            assert np.array_equal(frame.rgb, inorder[index]), index
            assert frame.pts == film.timing.pts[index]
        greys = [picture.mean(-1) for picture in inorder]
        errors = np.array([[abs(grey - other).mean() for other in shown] for grey in greys])
        assert errors.argmin(1).tolist() == list(range(30))


def test_frames_that_are_all_at_once_are_damage(tmp_path):
    path = tmp_path / "film.mkv"
    ffmpeg(
        *(
            "-f",
            "lavfi",
            "-i",
            f"testsrc2=s={WIDTH}x{HEIGHT}:r=25:d=1",
            "-vf",
            "settb=1/25,setpts=N/20000/TB",
        ),
        *("-fps_mode", "passthrough", "-enc_time_base", "1/20000", *X264, "-bf", 0, path),
    )
    with pytest.raises(
        FilmError, match=r"is damaged: \d+ of its frames are shown at once, at 0\.00"
    ):
        open_film(path)


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_the_track_that_plays_is_shown(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=48x48:r=25:d=0.2"),
        *(
            "-f",
            "lavfi",
            "-i",
            f"color=blue:s={WIDTH}x{HEIGHT}:r=25:d=0.2",
            "-map",
            "0",
            "-map",
            "1",
        ),
        *(*X264, "-disposition:v:0", "0", "-disposition:v:1", "default", path),
    )
    with open_film(path) as film:
        assert (film.facts.width, film.facts.height) == (WIDTH, HEIGHT)
        red, _, blue = film.frame(3).rgb.mean((0, 1))
        assert blue > 200 > 50 > red


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, "-g", "30", "-bf", "2")
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "1.3", "-i", source, "-c", "copy", cut)
    with open_film(source) as whole, open_film(cut) as film:
        shown = shown_by_ffmpeg(cut)
        assert len(film) == len(shown) < 30
        assert film.timing.pts.tolist() == shown
        assert film.timing.pts[0] == 0
        after = pictures(whole)[-len(film) :]
        for index in (0, len(film) - 1, 3):
            assert np.array_equal(film.frame(index).rgb, after[index])


NOTHING = -1


@pytest.mark.parametrize(
    ("edits", "shown", "later"),
    [
        ([(20, 10), (5, 10)], [*range(20, 30), *range(5, 15)], 0),
        ([(20, 10), (NOTHING, 10), (5, 10)], [*range(20, 30), *range(5, 15)], 10),
        ([(20, 10), (NOTHING, 10)], [*range(20, 30)], 10),
        ([(NOTHING, 10), (5, 10)], [*range(5, 15)], 0),
    ],
)
def test_what_no_edit_has_is_not_shown(tmp_path, edits, shown, later):
    source = moving(tmp_path / "source.mov", "-an", *X264, "-bf", "2", "-g", "12", rate="25")
    path = tmp_path / "cut.mov"
    path.write_bytes(edited(source.read_bytes(), edits))
    with open_film(source) as whole, open_film(path) as film:
        pts = film.timing.pts // 512
        assert len(film) == len(shown)
        ends = np.append(pts[1:], pts[-1] + film.timing.durations[-1] // 512)
        assert (ends - pts - 1).tolist() == [later * (k == 9) for k in range(len(shown))]
        for index in (9, len(shown) - 1, 0):
            assert np.array_equal(film.frame(index).rgb, whole.frame(shown[index]).rgb), index
        for frame in film.frames():
            assert np.array_equal(frame.rgb, whole.frame(shown[frame.index]).rgb), frame.index
        assert frame.index == len(shown) - 1


def test_the_frame_after_a_gap_is_shown_though_it_lies_between_two_ticks(tmp_path):
    """Of 533 thousandths of a second each, which FFmpeg rounds to ticks one by one."""
    source = moving(tmp_path / "source.mov", "-an", *X264, "-bf", "2", "-g", "12", rate="25")
    path = tmp_path / "cut.mov"
    path.write_bytes(edited(source.read_bytes(), [(20, 13.325), (NOTHING, 13.325), (5, 10)]))
    with open_film(source) as whole, open_film(path) as film:
        assert len(film) == 14 + 10
        for index, shown in ((0, 20), (13, 33), (14, 5), (23, 14)):
            assert np.array_equal(film.frame(index).rgb, whole.frame(shown).rgb), index


def test_a_gap_at_which_ffmpeg_misplaces_frames_is_refused(tmp_path):
    source = moving(tmp_path / "source.mov", "-an", *X264, "-bf", "2", "-g", "12", rate="25")
    path = tmp_path / "cut.mov"
    refused = 0
    for first in range(20, 26):
        edits = [(first, 10), (NOTHING, 10), (1, 10)]
        path.write_bytes(edited(source.read_bytes(), edits))
        meant = [*range(first, first + 10), *range(1, 11)]
        with open_film(source) as whole:
            try:
                film = open_film(path)
            except FilmError as error:
                assert re.search("gap in its edit list|is damaged", str(error))  # noqa: PT017
                refused += 1
                continue
            with film:
                assert len(film) == len(meant)
                for index in (0, 9, 10, 19):
                    assert np.array_equal(film.frame(index).rgb, whole.frame(meant[index]).rgb)
    assert 0 < refused < 6


def edited(data: bytes, edits: list[tuple[int, float]]) -> bytes:
    """A film of 25 frames per second with other edits, (first frame, how many); ISO/IEC 14496-12, 8.6.6."""
    at = data.index(b"elst") - 4
    length, _, _, count, _, begin = struct.unpack(">I4sIIIi", data[at : at + 24])
    assert count == 1
    body = struct.pack(">4sII", b"elst", 0, len(edits))
    for first, frames in edits:
        body += struct.pack(
            ">IiI", round(frames * 40), first if first < 0 else begin + first * 512, 1 << 16
        )
    changed = bytearray(data)
    changed[at : at + length] = struct.pack(">I", len(body) + 4) + body
    for name in (b"edts", b"trak", b"moov"):
        outer = data.rindex(name, 0, at) - 4
        (size,) = struct.unpack(">I", data[outer : outer + 4])
        changed[outer : outer + 4] = struct.pack(">I", size + len(body) + 4 - length)
    return bytes(changed)


@pytest.mark.parametrize("offset", ["0", "1"])
@pytest.mark.parametrize("codec", ["264", "265"])
def test_frames_whose_references_were_cut_away_are_not_counted(tmp_path, codec, offset):
    """A film that begins with an open group: what comes before its key frame cannot be decoded."""
    options = (
        f"open-gop=1:keyint=12:bframes=4:{'log-level=none' if codec == '265' else 'b-adapt=0'}"
    )
    source = moving(
        tmp_path / "source.mkv", "-an", "-c:v", f"libx{codec}", f"-x{codec}-params", options
    )
    cut = tmp_path / "cut.mkv"
    ffmpeg("-ss", "1.0", "-i", source, "-c", "copy", "-output_ts_offset", offset, cut)
    shown = shown_by_ffmpeg(cut)
    count = ffprobe(cut, "-count_packets", "-show_entries", "stream=nb_read_packets")
    assert int(count["streams"][0]["nb_read_packets"]) > len(shown)
    with open_film(source) as whole, open_film(cut) as film:
        assert film.timing.pts.tolist() == shown
        after = pictures(whole)[-len(film) :]
        for index in (0, len(film) - 1, 3, 20, 4):
            assert np.array_equal(film.frame(index).rgb, after[index]), index


def test_a_film_that_begins_late_does(tmp_path):
    source = moving(tmp_path / "source.mp4", *X264, seconds=1)
    late = tmp_path / "late.mp4"
    # The sound from 0, the pictures half a second later.
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
    with open_film(late) as film:
        assert film.timing.pts.tolist() == shown_by_ffmpeg(late)
        assert float(film.timing.seconds(0)) == pytest.approx(0.5, abs=0.001)


def test_frames_of_a_variable_rate_come_when_they_should(tmp_path):
    times = "if(lt(N,10),N*1001,if(lt(N,20),10010+(N-10)*2002,30030+(N-20)*3000))"
    path = tmp_path / "variable.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=30:d=1", "-vf"),
        *(f"settb=1/30000,setpts='{times}'", "-vsync", "vfr", "-enc_time_base", "1/30000"),
        *("-video_track_timescale", "30000", *X264, path),
    )
    with open_film(path) as film:
        wanted = [
            n * 1001 if n < 10 else 10010 + (n - 10) * 2002 if n < 20 else 30030 + (n - 20) * 3000
            for n in range(30)
        ]
        assert film.timing.time_base == Fraction(1, 30000)
        assert film.timing.pts.tolist() == wanted == shown_by_ffmpeg(path)
        assert film.timing.durations[:-1].tolist() == np.diff(wanted).tolist()
        assert not film.timing.is_constant
        first = next(film.frames(12))
        assert (first.pts, first.duration) == (14014, 2002)


@pytest.mark.parametrize(
    "rate",
    ["24000/1001", "24", "25", "30000/1001", "48000/1001", "50", "60000/1001", "120", "7", "12.5"],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_rate_is_told_exactly(tmp_path, suffix, rate):
    # So short that by thousandths of a second 24000/1001 is 24, too.
    path = moving(tmp_path / f"rate.{suffix}", "-an", *X264, seconds=0.6, rate=rate)
    with open_film(path) as film:
        if rate == "7" and suffix == "mkv":  # no usual rate: as far as thousandths of a second tell
            assert float(film.rate) == pytest.approx(7, abs=0.01)
        else:
            assert film.rate == Fraction(rate)
        assert film.timing.is_constant


# --- upright, with square pixels ------------------------------------------------------------------

TURNS = {
    "0": (1, 0, 0, 1),
    "90": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transposed the other way": (0, -1, -1, 0),
}
"""(a, b, c, d) of the matrix in ISO/IEC 14496-12, 8.3.2."""


def turned(path: Path, turn: tuple[int, int, int, int]) -> None:
    """Write a matrix into the header of the first track."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (value * 65536 for value in turn)
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4")
    assert data[at : at + 4] == (65536).to_bytes(4, "big")
    data[at : at + 36] = matrix.tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("turn", TURNS)
def test_a_film_is_shown_upright(tmp_path, turn):
    path = film_of_chart(
        tmp_path / "turned.mp4",
        "zscale=matrixin=gbr:rangein=full:matrix=709:range=limited,format=yuv444p",
        *(*LOSSLESS, "-colorspace", "bt709"),
    )
    turned(path, TURNS[turn])
    with open_film(path) as film:
        size = (film.facts.width, film.facts.height)
        assert size == ((HEIGHT, WIDTH) if TURNS[turn][0] == 0 else (WIDTH, HEIGHT))
        seen = film.frame(0).rgb
    theirs = rgb_by_ffmpeg(
        path, "zscale=matrixin=709:rangein=limited:matrix=gbr:range=full,format=gbrp16le", size
    )
    assert np.abs(unit(seen) - theirs).max() * 255 <= 0.51
    if turn == "90":  # clockwise: what was at the left is at the top
        assert np.abs(np.rot90(chart(), -1) - unit(seen)).mean() * 255 < 1


@pytest.mark.parametrize("turn", ["0", "90", "180", "270"])
def test_motion_jpeg_of_a_camera_is_shown_upright(tmp_path, turn):
    exif = Image.Exif()
    exif[MAKER] = "a camera"
    picture = Image.fromarray(np.rint(smooth() * 255).astype(np.uint8))
    picture.save(tmp_path / "frame.0.jpg", exif=exif, quality=95, subsampling=0)
    path = tmp_path / "film.mov"
    ffmpeg("-i", tmp_path / "frame.%d.jpg", "-c", "copy", path)
    turned(path, TURNS[turn])
    with open_film(path) as film:
        seen = film.frame(0).rgb
    clockwise = np.rot90(np.asarray(picture), -int(turn) // 90)
    assert seen.shape == clockwise.shape
    assert np.abs(seen - clockwise.astype(float)).mean() < 2


MAKER = 0x010F
"""Of Exif: who made the camera."""


@pytest.mark.parametrize(
    ("aspect", "size"),
    [("16/15", (102, 64)), ("8/9", (96, 72)), ("2/1", (192, 64)), ("1/2", (96, 128))],
)
def test_pixels_become_square(tmp_path, aspect, size):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack([x / WIDTH, y / HEIGHT, 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)], -1)
    path = film_of_chart(
        tmp_path / "aspect.mp4",
        f"zscale=matrixin=gbr:rangein=full:matrix=709:range=limited,format=yuv444p,setsar={aspect}",
        *(*LOSSLESS, "-colorspace", "bt709"),
        picture=smooth,
    )
    with open_film(path) as film:
        assert (film.facts.width, film.facts.height) == size
        seen = unit(film.frame(0).rgb)
    theirs = rgb_by_ffmpeg(
        path,
        f"zscale=matrixin=709:rangein=limited:matrix=gbr:range=full,format=gbrp16le,"
        f"zscale=w={size[0]}:h={size[1]}:f=bicubic:param_a=0:param_b=0.5",
        size,
    )
    assert np.abs(seen - theirs).max() * 255 <= 1


# --- files ----------------------------------------------------------------------------------------


def test_a_film_is_read_from_a_file_object(tmp_path):
    path = moving(tmp_path / "moving.mkv", *X264, "-bf", "2", "-g", "12", seconds=1)
    file = io.BytesIO(path.read_bytes())
    with open_film(path) as one, open_film(file, "the upload") as other:
        assert other.name == "the upload"
        assert other.facts.has_sound
        assert np.array_equal(one.frame(20).rgb, other.frame(20).rgb)
    assert not file.closed


def test_a_title_in_another_encoding_is_no_obstacle(tmp_path):
    path = moving(tmp_path / "film.mp4", *X264, "-metadata", "title=Herbst am See", seconds=0.2)
    data = path.read_bytes()
    assert b"Herbst am See" in data
    path.write_bytes(
        data.replace(b"Herbst am See", "Frühling....".encode("latin-1").ljust(13, b"."))
    )
    with open_film(path) as film:
        assert len(film) > 3


def test_a_cover_is_no_film(tmp_path):
    sound = tmp_path / "sound.mp4"
    ffmpeg(
        *(
            "-f",
            "lavfi",
            "-i",
            "sine=d=1",
            "-f",
            "lavfi",
            "-i",
            "color=red:s=64x64:d=1",
            "-map",
            "0",
        ),
        *("-map", "1", "-frames:v", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic", sound),
    )
    with pytest.raises(FilmError, match=r"sound\.mp4 has sound, but no pictures$"):
        open_film(sound)


def cut_to(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_films_that_cannot_be_read_say_why(tmp_path):
    film = moving(tmp_path / "film.mp4", *X264)
    first = moving(tmp_path / "first.mp4", *X264, "-movflags", "+faststart")
    fragments = moving(tmp_path / "fragments.mp4", *X264, "-movflags", "frag_keyframe", "-g", "12")
    matroska = moving(tmp_path / "film.mkv", *X264)
    head = tmp_path / "head.mp4"
    head.write_bytes(film.read_bytes()[:40])
    for path in (film, first, fragments, matroska):
        open_film(path).close()
        cut_to(path, 0.6)
    text = tmp_path / "list.mp4"
    text.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    others = {name: tmp_path / f"{name}.mp4" for name in ("avi", "mpegts", "vob", "flv", "gif")}
    for name, path in others.items():
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.2", "-f", name, path)
    sound = tmp_path / "sound.m4a"
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", sound)
    said = {
        film: "is cut off: its part 'mdat' goes on to byte",
        first: "is cut off: its part 'mdat' goes on to byte",
        fragments: "is cut off: its part",
        matroska: "is cut off: it goes on to byte",
        head: "is cut off: the part 'moov'",
        text: "is no film of a kind that stylefarm reads: MP4, MOV, MKV or WebM",
        others[
            "avi"
        ]: "is AVI, whatever its name says, and stylefarm reads MP4, MOV, MKV and WebM: ffmpeg -i ",
        others["mpegts"]: "is an MPEG transport stream, whatever its name says",
        others["vob"]: "is an MPEG program stream, whatever",
        others["flv"]: "is Flash Video, whatever",
        others["gif"]: "is GIF, whatever",
        empty: "is empty",
        sound: "has sound, but no pictures",
        tmp_path / "nowhere.mp4": "cannot be opened: No such file",
    }
    for path, sentence in said.items():
        with pytest.raises(FilmError) as caught:
            open_film(path)
        assert str(caught.value).startswith(f"{path} {sentence}"), caught.value
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_film_with_damage_inside_is_not_shown_as_whole(tmp_path, suffix):
    path = moving(tmp_path / f"film.{suffix}", "-an", *X264, "-g", "12")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(FilmError, match=r"is damaged"), open_film(path) as film:
        pictures(film)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_before_and_after_damage_are_shown(tmp_path, suffix):
    path = moving(tmp_path / f"film.{suffix}", "-an", *X264, "-bf", "2", "-g", "12")
    with open_film(path) as film:
        whole = pictures(film)
    damage(path, 31)
    with open_film(path) as film:
        with pytest.raises(
            FilmError, match=r"is damaged: its frame at 1\.00\d s cannot be decoded"
        ):
            film.frame(30)
        for index in (0, 5, 20, 50):
            assert np.array_equal(film.frame(index).rgb, whole[index])


def test_a_checksum_that_does_not_fit_is_damage(tmp_path):
    """FFmpeg shows what frames before had there, and makes from that what follows, up to a key frame."""
    checked = ("-c:v", "ffv1", "-level", 3, "-slicecrc", 1, "-g", 4)
    path = moving(tmp_path / "film.mkv", "-an", *checked, seconds=0.4)
    with open_film(path) as film:
        whole = pictures(film)
    packet = ffprobe(path, "-select_streams", "v", "-show_packets")["packets"][4]
    data = bytearray(path.read_bytes())
    middle = int(packet["pos"]) + int(packet["size"]) // 2
    data[middle : middle + 8] = bytes(value ^ 0xFF for value in data[middle : middle + 8])
    path.write_bytes(data)
    with open_film(path) as film:
        for index, second in ((6, "0.2"), (4, "0.13"), (5, "0.16")):
            with pytest.raises(FilmError, match=rf"is damaged: its frame at {second}\d* s cannot"):
                film.frame(index)
        for index in (0, 3, 8, 11):
            assert np.array_equal(film.frame(index).rgb, whole[index])


def test_an_encrypted_film_says_so(tmp_path):
    film = moving(
        tmp_path / "film.mp4",
        *(*X264, "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76" * 16),
        *("-encryption_kid", "a7" * 16),
        seconds=0.2,
    )
    matroska = moving(
        tmp_path / "film.mkv", *X264, "-metadata:s:v", f"title={TITLE.decode()}", seconds=0.2
    )
    whole = matroska.read_bytes()
    assert whole.count(bytes([0x53, 0x6E, 0x80 + len(TITLE)]) + TITLE) == 1
    matroska.write_bytes(
        whole.replace(bytes([0x53, 0x6E, 0x80 + len(TITLE)]) + TITLE, encryption())
    )
    for path in (film, matroska):
        with pytest.raises(FilmError, match="is encrypted, and stylefarm has no key for it"):
            open_film(path)


TITLE = b"as long as what says that it is encrypted"


def encryption() -> bytes:
    """What Matroska says of an encrypted track (RFC 9559, 5.1.4.1.31), as long as its title."""

    def element(name: str, value: bytes) -> bytes:
        return bytes.fromhex(name) + bytes([0x80 + len(value)]) + value

    key = element("47e1", b"\x05") + element("47e2", bytes(range(16)))
    encoding = element("6240", element("5033", b"\x01") + element("5035", key))
    said = element("6d80", encoding)
    return said + element("ec", bytes(3 + len(TITLE) - len(said) - 2))


def test_a_frame_that_is_not_there_is_refused(tmp_path):
    path = moving(tmp_path / "film.mp4", *X264, seconds=0.5)
    with open_film(path) as film:
        count = len(film)
        with pytest.raises(FilmError, match=f"has {count} frames; there is no frame {count}"):
            film.frame(count)
        with pytest.raises(FilmError, match="there are none from 3 to before 99"):
            film.frames(3, 99)


def test_without_pyav_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from stylize.video.film import open_film\n"
        "try: open_film('x.mp4')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "FilmError films need PyAV: pip install 'stylefarm[film]'"


def test_a_film_that_changes_its_size_is_told_with_what_makes_one_of_it(tmp_path):
    """As calls over the web are recorded."""
    parts, path = [], tmp_path / "call.mkv"
    for width, height in ((96, 64), (64, 48)):
        parts.append(tmp_path / f"{width}.ts")
        source = f"testsrc2=s={width}x{height}:r=25:d=0.2"
        ffmpeg("-f", "lavfi", "-i", source, *X264, parts[-1])
    ffmpeg("-i", f"concat:{parts[0]}|{parts[1]}", "-c", "copy", path)
    with open_film(path) as film, pytest.raises(FilmError, match="changes its size") as told:
        list(film.frames())
    filters = re.search(r"-vf (\S+) -c:v ffv1", str(told.value))
    assert filters is not None
    made = tmp_path / "made.mkv"
    ffmpeg("-i", path, "-vf", filters[1], "-c:v", "ffv1", made)
    with open_film(made) as film:
        assert {frame.rgb.shape for frame in film.frames()} == {(64, 96, 3)}
