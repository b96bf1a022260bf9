"""Videos of films: made when all frames are there, once, and again when one of them is another."""

from __future__ import annotations

import json
import os
import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.events.events import Finished, TaskDone, VideoDoubtful
from cluster.submit.status import of_output, of_submission
from jobs.errors import ExitStatus
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import proofs_of
from stylize.video.film import open_film
from tests.stylize.video.support import stream_of
from tests.support.farm import ROOT, TINY_RECIPE, stylefarm
from tests.support.videos import (
    VideoRun,
    levels,
    video_record,
    videos_of,
    write_frame,
    write_video_job,
)

GREYS = [40 + 4 * k for k in range(6)]


def near(found: list[int], expected: list[int]) -> bool:
    return len(found) == len(expected) and all(
        abs(a - b) <= 2 for a, b in zip(found, expected, strict=True)
    )


def test_numbered_frames_become_a_video_once(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, {"container": "mp4", "rate": 25}, 6)

    run = VideoRun(job)

    (key,) = run.made
    assert run.result.exit_status == ExitStatus.DONE
    assert key.startswith("videos/a--wave-")
    assert videos_of(job) == [f"{key.removesuffix('mp4')}json", key]
    assert near(levels(tmp_path / "out" / key), GREYS)
    with open_film(tmp_path / "out" / key) as film:
        assert (film.rate, film.facts.width, film.facts.height) == (25, 32, 24)
    (finished,) = run.said(Finished)
    assert (finished.videos, finished.videos_failed) == (1, 0)
    record = video_record(job, key)
    assert (record.frames, record.numbers, record.rate) == (6, "1001-1006", "25")
    assert (record.bits, record.has_sound, record.seconds) == (8, False, 0.24)
    stream = stream_of(tmp_path / "out" / key)
    assert {stream[f"color_{what}"] for what in ("space", "primaries", "transfer")} == {"bt709"}
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["videos"] == [key]

    again = VideoRun(job)
    assert (again.painted, again.made, again.unmade) == (0, [], [])


def test_a_record_has_the_size_that_the_file_has(tmp_path: Path) -> None:
    """Of an odd size H.264 has one column and row more."""
    recipe = {**TINY_RECIPE, "weights": "tiny.safetensors", "size": 33}
    job = write_video_job(tmp_path, "mp4", job={"recipe": recipe})
    for number in (1001, 1002):
        write_frame(tmp_path, number, (33, 25))
    (key,) = VideoRun(job).made
    record, stream = video_record(job, key), stream_of(tmp_path / "out" / key)
    assert (record.width, record.height) == (stream["width"], stream["height"]) == (34, 26)


def test_a_video_that_is_gone_is_made_by_a_run_with_nothing_to_render(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3)
    (key,) = VideoRun(job).made
    (tmp_path / "out" / key).unlink()
    assert VideoRun(job).made == [key]
    (tmp_path / "out" / f"{key.removesuffix('mp4')}json").write_text("{")
    again = VideoRun(job)
    assert (again.painted, again.made) == (0, [key])
    assert (tmp_path / "out/summary.json").exists()


def test_a_damaged_video_is_found_and_made_again(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3)
    (key,) = VideoRun(job).made
    path = tmp_path / "out" / key
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + bytes(4 * [whole[-5] ^ 1]))

    assert stylefarm("report", job.file, "--no-gallery").returncode == 0
    looked = stylefarm("report", job.file, "--no-gallery", "--verify", "--json")
    assert looked.returncode == 1, looked.stderr
    assert json.loads(looked.stdout)["damaged"] == [key]
    assert VideoRun(job).made == []
    again = VideoRun(job, verify=True)
    assert (again.painted, again.made) == (0, [key])
    assert path.read_bytes() != whole[:-4] + bytes(4 * [whole[-5] ^ 1])
    path.unlink()
    missing = stylefarm("report", job.file, "--no-gallery", "--json")
    assert json.loads(missing.stdout)["missing"] == [key]


def test_a_video_of_the_job_itself_is_no_film_of_it(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3, job={"output": "."})
    (key,) = VideoRun(job).made
    again = write_video_job(tmp_path, None, film=key, job={"output": "."})
    refused = stylefarm("plan", again.file)
    assert refused.returncode == 2
    assert f"{key} is a video that this job itself has made; use a copy" in refused.stderr


def test_a_frame_that_is_rendered_again_makes_the_video_anew(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 6)
    (key,) = VideoRun(job).made
    before = video_record(job, key)
    write_frame(tmp_path, 1001 + 40)
    (tmp_path / "shots/a.1041.png").rename(tmp_path / "shots/a.1003.png")

    run = VideoRun(job, if_changed=True)

    assert run.painted
    assert run.made == [key]
    assert near(levels(tmp_path / "out" / key), [*GREYS[:2], 200, *GREYS[3:]])
    after = video_record(job, key)
    assert after.made_from.frames_sha256 != before.made_from.frames_sha256
    assert after.sha256 != before.sha256
    # Rendered again to the same pictures, it is the same video.
    assert VideoRun(job, overwrite=True).made == []


def test_one_failed_frame_and_there_is_no_video_and_one_sentence_why(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 6)
    (tmp_path / "fail-a.1004").touch()

    run = VideoRun(job)

    assert run.result.exit_status == ExitStatus.FAILED
    assert run.made == []
    ((name, reason),) = run.unmade
    assert name == "a--wave"
    assert reason.startswith("frame 1004 has failed")
    assert reason.endswith(": the loss became nan")
    assert videos_of(job) == []

    (tmp_path / "fail-a.1004").unlink()
    assert len(VideoRun(job, retry_failed=True).made) == 1


def test_a_limit_makes_a_video_only_when_all_frames_are_there(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 6)
    first = VideoRun(job, limit=5)
    assert first.result.exit_status == ExitStatus.DONE
    ((name, reason),) = first.unmade
    assert (name, reason.partition(":")[0]) == ("a--wave", "a frame is not painted yet")
    assert len(VideoRun(job, limit=1).made) == 1


def test_each_style_and_recipe_has_a_video_and_a_knob_without_effect_none(tmp_path: Path) -> None:
    job = write_video_job(
        tmp_path,
        "mkv",
        3,
        style=["wave.png", "wave.png"],
        sweep={"style_weight": [1.0, 2.0], "init_noise": [0.1, 0.2]},
    )
    run = VideoRun(job)
    assert run.painted == 3 * 2
    assert len(run.made) == len(set(run.made)) == 2
    weights = [video_record(job, key).recipe["style_weight"] for key in run.made]
    assert sorted(weights) == [1.0, 2.0]


def test_proofs_of_a_film_are_a_small_film(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 4, recipe={"size": 64})

    proofs = VideoRun(job, proof=True, proof_size=32)

    (key,) = proofs.made
    assert videos_of(job) == []
    assert (tmp_path / "out/proofs" / key).exists()
    assert video_record(proofs_of(job), key).recipe["size"] == 32
    # What is chosen has a video when it is all of it.
    ids = [record.id for record in _records(proofs_of(job))]
    assert VideoRun(job, select=ids[0]).made == []
    assert VideoRun(job, select="all").made == [key]


def test_options_are_no_part_of_a_tasks_id_but_of_a_videos(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3)
    (first,) = VideoRun(job).made
    other = VideoRun(write_video_job(tmp_path, {"codec": "ffv1"}))
    assert other.painted == 0
    (second,) = other.made
    assert second.endswith(".mkv")
    assert VideoRun(write_video_job(tmp_path, {"codec": "h264", "quality": 75})).made == []
    assert len(videos_of(job)) == 4
    assert first in videos_of(job)


def test_a_range_with_a_step_keeps_its_time(tmp_path: Path) -> None:
    video = {"rate": "24000/1001"}
    job = write_video_job(tmp_path, video, 9, frames="1001-1009x2")
    (key,) = VideoRun(job).made
    with open_film(tmp_path / "out" / key) as film:
        assert film.timing.durations.tolist() == [2002] * 5
        assert film.timing.time_base == Fraction(1, 24000)


@pytest.mark.parametrize(("rate", "exact"), [("12.5", "25/2"), ("23.976", "24000/1001"), (7, "7")])
def test_a_rate_is_kept_exactly(tmp_path: Path, rate: object, exact: str) -> None:
    job = write_video_job(tmp_path, {"rate": rate}, 3)
    (key,) = VideoRun(job).made
    assert video_record(job, key).rate == exact
    assert stream_of(tmp_path / "out" / key)["avg_frame_rate"] in (exact, f"{exact}/1")


def test_light_of_openexr_goes_all_the_way(tmp_path: Path) -> None:
    """Frames of light, as from a renderer: 0.18 is sRGB's 118, and what is brighter than white is white."""
    openexr = pytest.importorskip("OpenEXR")
    (tmp_path / "shots").mkdir()
    for number in range(1001, 1004):
        light = np.full((24, 32, 3), 0.18, np.float16)
        light[:, 20:] = number - 1000 + 0.5
        header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
        path = tmp_path / f"shots/shot.{number}.exr"
        openexr.File(header, {"RGB": light}).write(str(path))
    image = {"thumbnails": False, "bit_depth": 16}
    job = write_video_job(
        tmp_path, {"codec": "ffv1"}, film="shots/shot.####.exr", job={"image": image}
    )
    (key,) = VideoRun(job).made
    assert key.startswith("videos/shot--wave-")
    with open_film(tmp_path / "out" / key) as film:
        assert (len(film), film.facts.bits) == (3, 16)
        rgb = film.frame(2).rgb
    assert abs(rgb[5, 5] / 257 - 117.7).max() < 0.5
    assert rgb[5, 25].tolist() == [65535] * 3


def test_without_pyav_that_is_said_before_anything_is_rendered(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 2)
    (tmp_path / "absent/av").mkdir(parents=True)
    (tmp_path / "absent/av/__init__.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path / 'absent'}{os.pathsep}{ROOT}"
    for command in ("run", "plan"):
        ran = stylefarm(command, job.file, PYTHONPATH=path)
        assert ran.returncode == 2
        last = ran.stderr.splitlines()[-1]
        assert last.endswith("pairs[0].video: films need PyAV: pip install 'stylefarm[film]'")
        assert "job.yaml:" in last
    assert not (tmp_path / "out").exists()


def test_frames_of_several_sizes_are_told(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3)
    write_frame(tmp_path, 1002, (24, 32))
    run = VideoRun(job)
    assert run.result.exit_status == ExitStatus.FAILED
    assert run.unmade == [
        (
            "a--wave",
            "its frames have several sizes: frame 1001 has 32 x 24 px, frame 1002 24 x 32 px",
        )
    ]
    assert open_output(job).stat("summary.json") is not None
    # It is told once, when the second size is seen, and rendering goes on.
    kinds = [event for event in run.events if isinstance(event, TaskDone | VideoDoubtful)]
    (told,) = run.said(VideoDoubtful)
    assert (told.film, told.reason) == ("shots/a.####.png", run.unmade[0][1])
    assert 2 <= kinds.index(told) < len(kinds)
    assert run.painted == 3


def test_sizes_are_compared_within_a_video_alone(tmp_path: Path) -> None:
    """Frames at two sizes, each with the same proportions, are two videos."""
    job = write_video_job(tmp_path, "mp4", 3, sweep={"size": [32, 64]})
    run = VideoRun(job)
    assert (len(run.made), run.said(VideoDoubtful)) == (2, [])
    write_frame(tmp_path, 1002, (24, 32))
    without = VideoRun(write_video_job(tmp_path, None), overwrite=True)
    assert (without.painted, without.said(VideoDoubtful)) == (3, [])


def test_status_tells_which_videos_are_there_and_why_others_are_not(tmp_path: Path) -> None:
    def status() -> tuple[int, dict[str, Any], list[str]]:
        text = stylefarm("status", job.file).stdout.splitlines()
        looked = stylefarm("status", job.file, "--json")
        return (
            looked.returncode,
            json.loads(looked.stdout),
            [t for t in text if re.match("  (no |video: )videos/", t)],
        )

    job = write_video_job(tmp_path, "mp4", 3)
    VideoRun(job, limit=1)
    code, told, lines = status()
    (missing,) = told["videos_missing"]
    assert (code, told["videos"], missing["failed"]) == (0, [], False)
    assert lines == [f"  no {missing['video']}: {missing['reason']}"]
    assert missing["reason"].startswith("2 frames are not painted yet: ")

    (key,) = VideoRun(job).made
    assert missing["video"] == key
    code, told, lines = status()
    assert (code, told["videos"], told["videos_missing"]) == (0, [key], [])
    assert lines == [f"  video: {key}"]


def states(job: Job) -> list[tuple[str, str | None, bool]]:
    """The videos, why they are not there, and whether that has failed."""
    status = of_output(job, open_output(job))
    assert status is not None
    assert status.videos is not None
    assert status.videos_missing is not None
    there = [(key, None, False) for key in status.videos]
    return [*there, *((v.video, v.reason, v.failed) for v in status.videos_missing)]


def test_a_status_says_what_a_run_would_do(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3)
    (key,) = VideoRun(job).made
    path = tmp_path / "out" / key
    path.rename(tmp_path / "elsewhere")
    assert states(job) == [(key, "all its frames are painted; the next run makes it", False)]
    (frame,) = (tmp_path / "out/images").glob("a--wave.001002-*.png")
    frame.rename(tmp_path / "frame")
    gone = f"images/{frame.name} is gone; run again with --verify"
    assert states(job) == [(key, gone, True)]
    assert VideoRun(job).unmade[0][1].rstrip(".") == gone
    (tmp_path / "frame").rename(frame)
    (tmp_path / "elsewhere").rename(path)
    assert states(job) == [(key, None, False)]
    record = path.with_suffix(".json")
    record.rename(tmp_path / "record")
    assert states(job) == [(key, "it has no record; the next run makes it anew", False)]
    (tmp_path / "record").rename(record)
    write_frame(tmp_path, 1041)
    (tmp_path / "shots/a.1041.png").rename(tmp_path / "shots/a.1003.png")
    video = VideoRun(write_video_job(tmp_path, None), if_changed=True)
    assert (video.painted, video.made) == (2, [])
    job = write_video_job(tmp_path, "mp4")
    assert states(job) == [
        (key, "its frames or its film file are others now; the next run makes it anew", False)
    ]
    write_frame(tmp_path, 1002, (24, 32))
    job = write_video_job(tmp_path, "mp4")
    run = VideoRun(job, if_changed=True)
    assert states(job) == [(key, run.unmade[0][1], True)]
    assert of_output(job, open_output(job)).exit_status == 1
    assert states(write_video_job(tmp_path, None)) == []


def test_a_submission_that_has_ended_has_videos_too(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 2)
    storage = open_output(job)
    head: Any = SimpleNamespace(last_lines=lambda *_: ())
    about = {"id": "a-1", "job": "a", "output": storage.url, "storage": job.spec.storage}
    times = {"started": 1.0, "ended": 2.0, "exit_code": 0}
    submission: Any = SimpleNamespace(**about, **times, state="succeeded")
    (key,) = VideoRun(job).made
    assert of_submission(head, submission).videos == (key,)
    assert of_submission(head, submission).videos_missing is None
    (tmp_path / "out" / key).unlink()
    known = of_submission(head, submission, storage, job)
    assert known.videos == ()
    assert [video.video for video in known.videos_missing or ()] == [key]
    submission.state = "running"
    assert of_submission(head, submission, storage, job).videos is None


def _records(job):
    from jobs.records.commit import Records

    return sorted(Records(open_output(job)).all(), key=lambda record: record.film.index)
