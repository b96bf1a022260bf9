"""What the tests of videos share: jobs whose frames come back as they were read, and their runs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from cluster.events.events import Event, NoVideo, TaskDone, VideoMade
from cluster.run.options import RunOptions, RunResult
from cluster.run.run_job import run_job
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.storage.folder import FolderStorage
from jobs.videos.record import VideoRecord
from tests.support.farm import ECHO, TINY_RECIPE, write_weights


def write_video_job(folder: Path, video: Any = "mp4", there: int = 0, **changes: Any) -> Job:
    """A job of one film with a video, of so many numbered frames or of ``film=``; ``changes`` replace keys
    of its entry, and with ``job`` those of the job."""
    (folder / "shots").mkdir(parents=True, exist_ok=True)
    for number in range(1001, 1001 + there):
        write_frame(folder, number)
    Image.new("RGB", (16, 16), "red").save(folder / "wave.png")
    write_weights(folder / "tiny.safetensors")
    film = {"film": "shots/a.####.png", "style": "wave.png", "cuts": "none"}
    spec = {
        "output": "out",
        "recipe": {**TINY_RECIPE, "weights": "tiny.safetensors"},
        "image": {"thumbnails": False},
        **changes.pop("job", {}),
        "pairs": [{**film, "video": video, **changes}],
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return load_job(folder / "job.yaml")


def write_frame(folder: Path, number: int, size: tuple[int, int] = (32, 24)) -> None:
    """A numbered frame: grey, of a level that says its number."""
    level = 40 + 4 * ((number - 1001) % 50)
    Image.new("RGB", size, (level, level, level)).save(folder / f"shots/a.{number}.png")


class VideoRun:
    """A run in this process, and what it said."""

    def __init__(self, job: Job, asked: Any = None, **options: Any) -> None:
        self.events: list[Event] = []
        given = RunOptions(pool="inline", renderer=ECHO, **options)
        self.result: RunResult = run_job(job, given, self.events.append, asked or (lambda: "no"))

    def said(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def made(self) -> list[str]:
        return [event.video for event in self.said(VideoMade)]

    @property
    def unmade(self) -> list[tuple[str, str]]:
        return [(event.name, event.reason) for event in self.said(NoVideo)]

    @property
    def painted(self) -> int:
        return len(self.said(TaskDone))


def videos_of(job: Job) -> list[str]:
    return [found.key for found in open_output(job).list("videos/")]


def video_record(job: Job, key: str) -> VideoRecord:
    data = open_output(job).get(f"{key.rpartition('.')[0]}.json")
    return VideoRecord.model_validate(json.loads(data))


def levels(path: Path) -> list[int]:
    """The grey of each frame of a video."""
    from stylize.video.film import open_film

    with open_film(path) as film:
        return [
            int(np.rint(frame.rgb.mean() / (1 if frame.rgb.dtype == np.uint8 else 257)))
            for frame in film.frames()
        ]


def main(job: str, moment: str) -> int:
    """Run a job, and die at a moment of its video; or ``slowly``, so that it can be interrupted twice."""
    from cluster.run.videos import videos
    from cluster.signals import Interrupts

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    interrupts = Interrupts()
    progress, store = videos._Progress.told, FolderStorage.put_file

    def told(self: Any, count: int) -> None:
        progress(self, count)
        if moment == "encoding" and count == 4:
            die()
        if moment == "slowly":
            print("encoding", flush=True)
            while interrupts.asked == "no":
                time.sleep(0.05)
            print("asked", flush=True)
            time.sleep(600)

    def put_file(self: FolderStorage, key: str, path: Path, **more: Any) -> str:
        if moment == "before storing":
            die()
        etag = store(self, key, path, **more)
        if moment == "between":
            die()
        return etag

    videos._Progress.told = told  # type: ignore[method-assign]
    FolderStorage.put_file = put_file  # type: ignore[method-assign]
    with interrupts:
        try:
            return VideoRun(load_job(job), interrupts.what).result.exit_status
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
