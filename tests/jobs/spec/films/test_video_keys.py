"""``video``: what is right, what a wrong one is told, and that ids do not depend on it."""

from __future__ import annotations

from fractions import Fraction

import jsonschema
import pytest

from jobs.jobfile.yaml_source import read_yaml
from jobs.spec.films.video import VideoOptions
from jobs.spec.json_schema import json_schema
from tests.jobs.support import FILE, read, refusal

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def job(video: str, entry: str = "film: shots/, style: b.jpg") -> str:
    return f"output: out\npairs:\n- {{{entry},\n   video: {video}}}\n"


def accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(read_yaml(text.encode(), FILE).values))


def options(video: str) -> VideoOptions:
    found = read(job(video)).spec.pairs[0].video
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("video", "container", "codec"),
    [
        ("mp4", "mp4", "h264"),
        ("mov", "mov", "h264"),
        ("mkv", "mkv", "h264"),
        ("webm", "webm", "av1"),
        ("{}", "mp4", "h264"),
        ("{codec: prores}", "mov", "prores"),
        ("{codec: ffv1, bits: 16}", "mkv", "ffv1"),
        ("{codec: ffv1, container: mp4, bits: 12}", "mp4", "ffv1"),
        ("{codec: av1, container: webm, quality: 60.0, bits: 10.0}", "webm", "av1"),
        ("{container: ~, codec: ~, quality: ~, bits: 10, sound: ~, rate: ~}", "mp4", "h264"),
    ],
)
def test_right_for_loader_and_schema(video: str, container: str, codec: str) -> None:
    assert accepts(job(video))
    found = options(video)
    assert (found.written_container, found.written_codec) == (container, codec)


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("~", Fraction(24)),
        ("25", Fraction(25)),
        ("12.5", Fraction(25, 2)),
        ("30000/1001", Fraction(30000, 1001)),
        ("'24000 / 1001'", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("23.97", Fraction(24000, 1001)),
        ("'23.98'", Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("1e2", Fraction(100)),
    ],
)
def test_a_rate_is_what_people_mean_by_it(written: str, rate: Fraction) -> None:
    assert accepts(job(f"{{rate: {written}}}"))
    assert options(f"{{rate: {written}}}").per_second == rate


@pytest.mark.parametrize(
    ("video", "told"),
    [
        ("avi", "video.container: 'avi' is not one of 'mp4', 'mov', 'mkv', 'webm'"),
        ("true", "video: "),
        ("[mp4]", "video: "),
        ("{format: mp4}", "video.format: is not a key"),
        ("{codec: vp9}", "video.codec: "),
        (
            "{codec: h264, container: webm}",
            "video.container: h264 is not written to webm but to mp4 or mov or mkv",
        ),
        (
            "{codec: prores, container: mp4}",
            "video.container: prores is not written to mp4 but to mov",
        ),
        ("{bits: 12}", "video.bits: h264 is not written with 12 bits but with 8 or 10"),
        ("{codec: prores, bits: 8}", "video.bits: prores is not written with 8 bits but with 10"),
        ("{container: webm, bits: 16}", "video.bits: av1 is not written with 16 bits"),
        ("{quality: 0}", "video.quality: 0 is below 1"),
        ("{quality: 101}", "video.quality: 101 is above 100"),
        ("{codec: ffv1, quality: 75}", "video.quality: ffv1 is lossless and has no quality"),
        ("{sound: aac}", "video.sound: "),
        ("{rate: 0}", "video.rate: 0 is no frame rate: write 25, 23.976 or 30000/1001"),
        ("{rate: fast}", "video.rate: 'fast' is no frame rate"),
        ("{rate: 24/0}", "video.rate: '24/0' is no frame rate"),
        ("{rate: -25}", "video.rate: -25 is no frame rate"),
        ("{rate: 1001}", "video.rate: 1001 is no frame rate"),
        ("{rate: true}", "video.rate: true is no frame rate"),
    ],
)
def test_wrong_for_loader_and_schema(video: str, told: str) -> None:
    (problem,) = refusal(job(video))
    assert f":4: pairs[0].{told}" in problem, problem
    assert not accepts(job(video))


@pytest.mark.parametrize(
    "entry", ["content: a.jpg, style: b.jpg", "manifest: p.csv", "film: ~, content: a, style: b"]
)
def test_only_films_become_videos(entry: str) -> None:
    assert refusal(job("mp4", entry))[0].endswith("pairs[0].video: needs film:, which is not given")
    assert not accepts(job("mp4", entry))
    assert read(job("~", entry)).spec.pairs[0].video is None
    assert accepts(job("~", entry))


def test_the_faults_of_all_videos_are_told_at_once() -> None:
    text = """\
output: out
pairs:
- {film: shots/, style: b.jpg, video: {codec: vp9, rate: fast}}
- film: harbour.mp4
  style: b.jpg
  video:
    container: webm
    codec: ffv1
    quality: 50
    bits: 9
    rate: 25
"""
    told = [problem.removeprefix(f"{FILE}:")[:45] for problem in refusal(text)]
    assert told == [
        "3: pairs[0].video.codec: 'vp9' is not one of ",
        "3: pairs[0].video.rate: 'fast' is no frame ra",
        "7: pairs[1].video.container: ffv1 is not writ",
        "9: pairs[1].video.quality: ffv1 is lossless a",
        "10: pairs[1].video.bits: ffv1 is not written ",
        "11: pairs[1].video.rate: harbour.mp4 has time",
    ]
