"""A film file that goes through a run comes back as one, with its times, its sound, its tags and colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.events.events import NoVideo, PicturesMissing, TaskFailed
from jobs.errors import ExitStatus, JobFileError
from stylize.video.film import open_film
from tests.stylize.video.support import (
    LOSSLESS,
    PATCHES,
    WIDTH,
    X264,
    chart,
    damage,
    ffmpeg,
    film_of_chart,
    moving,
    packets_of,
    patch,
    rgb_by_ffmpeg,
    smooth,
    stream_of,
    times,
)
from tests.support.farm import stylefarm
from tests.support.videos import VideoRun, video_record, write_video_job

SIZE = {"recipe": {"size": WIDTH}}


def through(folder: Path, video: object = "mp4", **entry: Any) -> Path:
    """The video of a film file ``shot.*`` in a folder."""
    (film,) = folder.glob("shot.*")
    job = write_video_job(folder, video, film=film.name, **{**SIZE, **entry})
    run = VideoRun(job)
    assert run.result.exit_status == ExitStatus.DONE, run.unmade
    (key,) = run.made
    assert key.startswith("videos/shot--wave-")
    assert VideoRun(job).made == []
    return folder / "out" / key


def test_times_sound_and_tags_are_those_of_the_film(tmp_path: Path) -> None:
    film = moving(
        tmp_path / "shot.mp4",
        *(*X264, "-bf", 2, "-color_primaries", "bt709", "-color_trc", "bt709"),
        *("-colorspace", "bt709", "-c:a", "aac", "-timecode", "01:00:59;20"),
        seconds=0.7,
    )
    made = through(tmp_path)

    assert times(made) == times(film)
    assert packets_of(made, "a:0") == packets_of(film, "a:0")
    source, target = stream_of(film), stream_of(made)
    for tag in ("color_space", "color_primaries", "color_transfer", "time_base", "r_frame_rate"):
        assert target[tag] == source[tag], tag
    record = video_record_of(made)
    assert (record.has_sound, record.rate, record.bits) == (True, "30000/1001", 8)
    assert target["tags"]["timecode"] == record.timecode == "01:00:59;20"
    assert record.made_from.source is not None


def test_a_damaged_frame_is_told_before_it_fails(tmp_path: Path) -> None:
    damage(moving(tmp_path / "shot.mp4", "-an", *X264, "-g", "1", seconds=0.3), 6)
    job = write_video_job(tmp_path, film="shot.mp4", cuts="auto", **SIZE)
    sentence = (
        "pairs[0].film: frame 6 of shot.mp4 cannot be read, and what holds to it fails, too; to do without, "
        "write frames: 1-5,7-9 (shot.mp4 is damaged: its frame at 0.167 s cannot be decoded: Invalid data "
        "found when processing input)"
    )
    planned = stylefarm("plan", tmp_path / "job.yaml")
    assert planned.returncode == 0
    (warned,) = (line for line in planned.stdout.splitlines() if "will fail" in line)
    assert warned.endswith(sentence)

    run = VideoRun(job)

    (told,) = run.said(PicturesMissing)
    assert (told.pictures, told.looked_at, len(told.first)) == (1, 9, 1)
    assert warned == f"  will fail: {told.first[0]}"
    kinds = [type(event) for event in run.events]
    assert kinds.index(PicturesMissing) < kinds.index(TaskFailed)
    assert run.painted > 0


def video_record_of(made: Path):
    from jobs.jobfile.load import load_job

    return video_record(load_job(made.parents[2] / "job.yaml"), f"videos/{made.name}")


def test_variable_rate_is_kept(tmp_path: Path) -> None:
    film = tmp_path / "shot.mp4"
    moving(
        film,
        *("-vf", r"select='not(eq(mod(n\,5)\,3))'", "-fps_mode", "vfr", *X264, "-bf", 2, "-an"),
        seconds=0.6,
    )
    made = through(tmp_path)
    assert len({b - a for (a, _), (b, _) in zip(times(film), times(film)[1:], strict=False)}) == 2
    assert [pts for pts, _ in times(made)] == [pts for pts, _ in times(film)]


def test_a_part_has_its_part_of_the_sound(tmp_path: Path) -> None:
    heard = ("-c:a", "pcm_s16le", "-timecode", "10:00:00:23")
    moving(tmp_path / "shot.mkv", *X264, *heard, seconds=1, rate="25")
    made = through(tmp_path, {"container": "mkv"}, frames="6-15")
    with open_film(made) as film:
        assert (len(film), film.rate) == (10, 25)
        assert film.timing.pts.tolist() == list(range(0, 400, 40))
        assert film.facts.timecode == "10:00:01:03"
    samples = np.frombuffer(ffmpeg("-i", made, "-f", "s16le", "-"), "<i2")
    whole = np.frombuffer(ffmpeg("-i", tmp_path / "shot.mkv", "-f", "s16le", "-"), "<i2")
    first = int(0.2 * 48000)
    # Matroska begins with the first packet that begins within.
    assert 0.35 * 48000 < len(samples) <= 0.4 * 48000 + 1200
    assert any(
        np.array_equal(samples[:9000], whole[at : at + 9000]) for at in range(first, first + 1300)
    )


def test_sound_that_no_video_can_have_is_told_before_anything_is_painted(tmp_path: Path) -> None:
    channels = "pan=16c|" + "|".join(f"c{k}=c0" for k in range(16))
    moving(tmp_path / "shot.mov", *X264, "-af", channels, "-c:a", "pcm_s16le", seconds=0.2)
    with pytest.raises(
        JobFileError, match=r"pairs\[0\]\.video: the film's sound .* copied to mp4"
    ) as told:
        VideoRun(write_video_job(tmp_path, "mp4", film="shot.mov", **SIZE))
    assert str(told.value).endswith(
        "write the film to mkv, which takes it, or without it: sound: false"
    )
    made = through(tmp_path, "mkv")
    assert stream_of(made, "a:0")["channels"] == 16
    assert not video_record_of(through(tmp_path, {"sound": False})).has_sound


def test_every_second_frame_is_shown_twice_as_long_and_the_sound_stays(tmp_path: Path) -> None:
    film = moving(tmp_path / "shot.mp4", *X264, "-c:a", "aac", seconds=0.8, rate="25")
    made = through(tmp_path, {"codec": "ffv1", "container": "mp4"}, frames="1-20x2")
    with open_film(made) as shown, open_film(film) as source:
        assert len(shown) == 10
        assert shown.rate == source.rate / 2
        assert shown.timing.seconds(10) == source.timing.seconds(20) - source.timing.seconds(0)
        for index in (0, 4, 9):
            assert np.array_equal(shown.frame(index).rgb, source.frame(2 * index).rgb)
    sound = ffmpeg("-i", made, "-f", "s16le", "-"), ffmpeg("-i", film, "-f", "s16le", "-")
    assert abs(len(sound[0]) - 2 * 48000 * 0.8) < 2 * 2 * 1100
    assert sound[0][: 2 * 30000] == sound[1][: 2 * 30000]


def test_pieces_follow_each_other_without_sound(tmp_path: Path) -> None:
    moving(tmp_path / "shot.mp4", *X264, "-c:a", "aac", seconds=0.8, rate="25")
    made = through(tmp_path, frames="1-4,11-14")
    with open_film(made) as film:
        assert (len(film), film.rate, film.facts.has_sound) == (8, 25, False)


def test_a_film_that_is_gone_when_its_video_is_made_is_named(tmp_path: Path) -> None:
    film = moving(tmp_path / "shot.mp4", *X264, seconds=0.2)
    job = write_video_job(tmp_path, "mp4", film="shot.mp4", **SIZE)
    run: list[VideoRun] = []

    def asked() -> str:  # called after every picture
        if (tmp_path / "out/images").exists() and len(
            list((tmp_path / "out/images").iterdir())
        ) == 6:
            film.unlink(missing_ok=True)
        return "no"

    run.append(VideoRun(job, asked))
    assert run[0].painted == 6
    ((name, reason),) = run[0].unmade
    assert name == "shot--wave"
    assert reason == "shot.mp4, which the video has its times and its sound of, is gone."
    assert [event.failed for event in run[0].said(NoVideo)] == [True]
    assert run[0].result.exit_status == ExitStatus.FAILED
    assert (tmp_path / "out/summary.json").exists()


def test_a_film_that_was_replaced_gives_its_times_to_no_other_frames(tmp_path: Path) -> None:
    film = moving(tmp_path / "shot.mp4", *X264, "-c:a", "aac", seconds=0.2, rate="25")
    job = write_video_job(tmp_path, "mp4", film="shot.mp4", **SIZE)
    (key,) = VideoRun(job).made
    (tmp_path / "out" / key).unlink()
    ffmpeg(
        "-i", film, "-vf", "hflip,setpts=2*PTS", "-r", "25/2", "-an", *X264, tmp_path / "other.mp4"
    )
    (tmp_path / "other.mp4").replace(film)

    run = VideoRun(job)
    reason = "shot.mp4 is another film than the one that was painted; run with --if-changed."
    assert (run.made, run.unmade) == ([], [("shot--wave", reason)])
    assert run.result.exit_status == ExitStatus.FAILED

    assert VideoRun(job, if_changed=True).made == [key]
    with open_film(tmp_path / "out" / key) as made:
        assert (made.rate, made.facts.has_sound) == (Fraction(25, 2), False)


def test_a_film_with_another_sound_makes_its_video_anew(tmp_path: Path) -> None:
    film = moving(tmp_path / "shot.mp4", *X264, "-c:a", "aac", seconds=0.2, rate="25")
    job = write_video_job(tmp_path, "mp4", film="shot.mp4", **SIZE)
    (key,) = VideoRun(job).made
    ffmpeg("-i", film, "-c:v", "copy", "-an", tmp_path / "mute.mp4")
    (tmp_path / "mute.mp4").replace(film)

    run = VideoRun(job)
    assert (run.painted, run.made) == (0, [key])
    with open_film(tmp_path / "out" / key) as made:
        assert not made.facts.has_sound


# --- colours ------------------------------------------------------------------------------------

KINDS = {
    "bt601": ("170m", "smpte170m", "limited", "yuv420p"),
    "bt601 full": ("170m", "smpte170m", "full", "yuv420p"),
    "bt709": ("709", "bt709", "limited", "yuv420p"),
    "bt709 full": ("709", "bt709", "full", "yuv420p"),
    "bt709 10 bit": ("709", "bt709", "limited", "yuv420p10le"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lossless_video_shows_what_ffmpeg_shows_of_the_source(tmp_path: Path, kind: str) -> None:
    """The way of a frame through the farm alone: every pixel of a chart with hard edges, by ffmpeg's tools,
    which are a level off themselves when they make 16 bits of 8."""
    made = through(tmp_path, {"codec": "ffv1"}, **chart_film(tmp_path, kind, chart()))
    found = rgb_by_ffmpeg(made, "format=rgb48le")
    assert 255 * np.abs(found - shown(tmp_path / "shot.mp4", kind)).max() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_whole_chroma_shows_what_ffmpeg_shows_of_the_source(
    tmp_path: Path, kind: str
) -> None:
    """ProRes 4444, which has limited range only, and a sample of chroma for each pixel."""
    how = {"codec": "prores", "quality": 95}
    made = through(tmp_path, how, **chart_film(tmp_path, kind, smooth()))
    assert stream_of(made)["pix_fmt"].startswith("yuv444p")
    found = rgb_by_ffmpeg(
        made,
        f"zscale=matrixin={KINDS[kind][0]}:rangein=limited:matrix=gbr:range=full,"
        "format=gbrp16le,format=rgb48le",
    )
    assert 255 * np.abs(found - shown(tmp_path / "shot.mp4", kind)).max() <= 2


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_an_mp4_of_an_mp4_shows_what_ffmpeg_shows_of_the_source(
    tmp_path: Path, kind: str, bits: int
) -> None:
    """Where chroma has no edges, and its tags. Chroma is not halved twice."""
    how = {"bits": bits, "quality": 100}
    made = through(tmp_path, how, **chart_film(tmp_path, kind, smooth()))
    off = 255 * np.abs(shown(made, kind) - shown(tmp_path / "shot.mp4", kind))
    assert off.max() <= (2 if bits == 10 else 3)
    assert np.percentile(off, 99.5) <= 2
    assert off.mean() < 0.5
    assert stream_of(made)["color_range"] == {"limited": "tv", "full": "pc"}[KINDS[kind][2]]
    assert stream_of(made)["color_space"] == KINDS[kind][1]


@pytest.mark.parametrize("kind", ["bt601 full", "bt709", "bt709 10 bit"])
def test_patches_of_a_chart_keep_their_colours_from_mp4_to_mp4(tmp_path: Path, kind: str) -> None:
    made = through(tmp_path, {"quality": 100}, **chart_film(tmp_path, kind, chart()))
    off = 255 * np.abs(shown(made, kind) - shown(tmp_path / "shot.mp4", kind))
    for number in range(len(PATCHES)):
        assert off[patch(number)].max() <= 2


def chart_film(folder: Path, kind: str, picture: np.ndarray) -> dict[str, Any]:
    """Write a film of a picture; return what else a job of it needs."""
    zimg, tag, range_, pixels = KINDS[kind]
    film_of_chart(
        folder / "shot.mp4",
        f"zscale=matrixin=gbr:rangein=full:matrix={zimg}:range={range_}:chromal=left,format={pixels}",
        *LOSSLESS,
        *("-colorspace", tag, "-color_range", {"limited": "tv", "full": "pc"}[range_]),
        *("-color_primaries", "bt709", "-color_trc", "bt709"),
        picture=picture,
    )
    depth = {"bit_depth": 16} if pixels == "yuv420p10le" else {}
    return {"job": {"image": {"thumbnails": False, **depth}}}


def shown(path: Path, kind: str) -> np.ndarray:
    zimg, _, range_, _ = KINDS[kind]
    return rgb_by_ffmpeg(
        path,
        f"zscale=matrixin={zimg}:rangein={range_}:matrix=gbr:range=full:chromalin=left:f=bilinear,"
        "format=gbrp16le,format=rgb48le",
    )
