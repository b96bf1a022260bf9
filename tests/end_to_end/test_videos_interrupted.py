"""Videos that are stopped, killed or stored elsewhere: never half, and nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cluster.events.events import NoVideo, VideoMade, VideoProgress
from cluster.run.videos import videos
from jobs.errors import ExitStatus, StorageFullError
from jobs.jobfile.job import open_output
from jobs.jobfile.load import load_job
from jobs.storage.folder import FolderStorage
from tests.support.farm import ROOT
from tests.support.rigs import Rig
from tests.support.videos import VideoRun, levels, video_record, videos_of, write_video_job


def test_a_run_that_is_asked_to_end_makes_the_video_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    job = write_video_job(tmp_path, "mp4", 8)
    written: list[int] = []
    monkeypatch.setattr(videos._Progress, "told", lambda _, count: written.append(count))

    stopped = VideoRun(job, lambda: "drain" if len(written) == 3 else "no")

    assert written == [1, 2, 3]
    assert stopped.painted == 8
    assert stopped.made == []
    (told,) = stopped.unmade
    assert told[1] == "the run was asked to end; the next one makes it"
    assert stopped.result.exit_status == ExitStatus.INTERRUPTED
    assert stopped.result.counts.reason == "interrupted"
    assert videos_of(job) == []
    assert list((tmp_path / "scratch").iterdir()) == []

    monkeypatch.undo()
    again = VideoRun(job)
    assert again.painted == 0
    assert len(again.made) == 1


@pytest.mark.parametrize("moment", ["encoding", "before storing", "between"])
def test_a_run_that_is_killed_makes_the_video_next_time(tmp_path: Path, moment: str) -> None:
    job = write_video_job(tmp_path, {"codec": "ffv1"}, 8)
    killed = drive(job.file, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list((tmp_path / "out/images").iterdir())) == 8
    assert (tmp_path / "out/index.html").exists()  # it does not wait for videos
    assert (tmp_path / "out/summary.json").exists()
    there = videos_of(job)
    assert [key.rpartition(".")[2] for key in there] == (["mkv"] if moment == "between" else [])

    # A machine of its own would wait for its lease; here it is free at once.
    again = VideoRun(load_job(job.file))
    assert again.painted == 0
    (key,) = again.made
    assert len(videos_of(job)) == 2
    assert len(levels(tmp_path / "out" / key)) == 8
    assert not [p for p in (tmp_path / "out/videos").iterdir() if p.name.startswith(".part")]
    assert VideoRun(load_job(job.file)).made == []


def test_ctrl_c_twice_ends_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    job = write_video_job(tmp_path, "mp4", 8)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.videos", job.file, "slowly"],
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "encoding\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert videos_of(job) == []
    assert list((tmp_path / "scratch").glob("stylefarm-*")) == []
    assert not psutil.pid_exists(process.pid)
    assert len(VideoRun(load_job(job.file)).made) == 1


def drive(job: str, moment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.videos", job, moment],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_video_that_cannot_be_made_does_not_keep_the_others_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = write_video_job(tmp_path, "mp4", 3, style=["wave.png", "deep.png"])
    (tmp_path / "deep.png").write_bytes((tmp_path / "wave.png").read_bytes())
    put = FolderStorage.put_file

    def full(self: FolderStorage, key: str, path: Path, **more: Any) -> str:
        if "wave" in key:
            raise StorageFullError("Cannot write it: no space left. Make room there.")
        return put(self, key, path, **more)

    monkeypatch.setattr(FolderStorage, "put_file", full)
    run = VideoRun(job)
    assert run.result.exit_status == ExitStatus.FAILED
    assert [key[: len("videos/a--deep")] for key in run.made] == ["videos/a--deep"]
    assert run.unmade == [("a--wave", "Cannot write it: no space left. Make room there.")]
    assert (run.result.videos, run.result.videos_failed) == (1, 1)
    assert len(videos_of(job)) == 2
    monkeypatch.undo()
    assert len(VideoRun(job).made) == 1


def test_a_picture_that_is_damaged_is_named(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, "mp4", 3, job={"output": "out"})
    VideoRun(job)
    (picture,) = (tmp_path / "out/images").glob("*001002*")
    picture.write_bytes(picture.read_bytes()[:-40])
    for key in videos_of(job):
        open_output(job).delete(key)
    run = VideoRun(job)
    assert run.unmade == [
        ("a--wave", f"images/{picture.name} is not as it was recorded; run again with --verify.")
    ]
    assert len(VideoRun(job, verify=True).made) == 1


def test_on_s3_as_in_a_folder(s3_rig: Rig, tmp_path: Path) -> None:
    """Frames, film file and video on S3: read in pieces, stored in parts."""
    from tests.stylize.video.support import X264, moving, packets_of

    film = moving(tmp_path / "shot.mp4", *X264, "-c:a", "aac", seconds=0.4, rate="25")
    bucket = s3_rig.url.removeprefix("s3://").partition("/")[0]
    rest = s3_rig.url.removeprefix(f"s3://{bucket}/")
    s3_rig.open("in").put("shot.mp4", film.read_bytes())
    options = s3_rig.options.model_dump(exclude_none=True)
    job = write_video_job(
        tmp_path,
        "mp4",
        film=f"s3://{bucket}/{rest}/in/shot.mp4",
        job={"output": f"{s3_rig.url}/made", "storage": options},
    )

    run = VideoRun(job)

    (key,) = run.made
    storage = s3_rig.open("made")
    (tmp_path / "back.mp4").write_bytes(storage.get(key))
    assert packets_of(tmp_path / "back.mp4", "a:0") == packets_of(film, "a:0")
    record = video_record(job, key)
    assert record.made_from.asked["source"] == f"s3://{bucket}/{rest}/in/shot.mp4"
    assert (VideoRun(job).made, VideoRun(job).unmade) == ([], [])
    # Another file under the same name has other times, or another sound.
    s3_rig.open("in").put("shot.mp4", film.read_bytes() + b"\0\0\0\x08free")
    assert VideoRun(job).made == [key]


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "PROGRESS_SECONDS", 0.0)
    job = write_video_job(tmp_path, "mp4", 4)
    run = VideoRun(job)
    said = [(event.frame, event.frames) for event in run.said(VideoProgress)]
    assert said == [(k, 4) for k in (1, 2, 3, 4)]
    (made,) = run.said(VideoMade)
    assert made.size == (tmp_path / "out" / made.video).stat().st_size
    assert run.said(NoVideo) == []


def test_the_command_says_where_videos_are(tmp_path: Path) -> None:
    from tests.support.farm import stylefarm

    job = write_video_job(tmp_path, "mp4", 2)
    ran = stylefarm("run", job.file, "--pool", "inline")
    assert ran.returncode == 0, ran.stderr
    assert "1 video made" in ran.stderr
    assert any(line.startswith("videos:") for line in ran.stdout.splitlines())
    assert yaml.safe_load((tmp_path / "job.yaml").read_text())["pairs"][0]["video"] == "mp4"
    found = json.loads((tmp_path / "out" / f"{videos_of(job)[0]}").read_text())
    assert found["frames"] == 2
    ended = stylefarm("run", job.file, "--pool", "inline", "--json")
    assert json.loads(ended.stdout.splitlines()[-1])["videos"] == 0
