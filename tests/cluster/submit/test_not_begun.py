"""What a job says before its pictures are rendered: how much waits, and what became of its proofs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.open_job import open_agenda
from cluster.submit.not_begun import tasks_waiting
from cluster.submit.status import of_job
from jobs.jobfile.job import Job
from jobs.records.statuses import Ledger
from tests.jobs.support import read, touch
from tests.support.farm import stylefarm, write_weights
from tests.support.videos import VideoRun, write_video_job

FILM = "film: shots/a.####.png, style: [w.jpg, v.jpg]"


def job_of(folder: Path, *pairs: str) -> Job:
    touch(folder, "w.jpg", "v.jpg", "b.jpg", *(f"shots/a.{n:04d}.png" for n in range(1, 9)))
    write_weights(folder / "tiny.safetensors")
    entries = "".join(f"- {{{pair}}}\n" for pair in pairs)
    weights = "weights: tiny.safetensors, weights_input: torchvision"
    text = f"output: out\nrecipe: {{{weights}}}\npairs:\n{entries}"
    return read(text, folder)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([FILM], "16 tasks wait, all of them frames of films"),
        (["content: b.jpg, style: w.jpg"], "1 task waits"),
        (
            [FILM, "content: [b.jpg, b.jpg], style: w.jpg", "content: b.jpg, style: w.jpg"],
            "17 tasks wait, 16 of them frames of films",
        ),
        (
            [FILM, f"{FILM}, video: mp4", f"{FILM}, video: webm, sweep: {{seed: [0, 1]}}"],
            "16 tasks wait, all of them frames of films",
        ),
        (
            [FILM, "film: shots/a.####.png, style: b.jpg, recipe: {size: 96}"],
            "24 tasks wait, all of them frames of films",
        ),
    ],
)
def test_a_job_says_how_much_waits(tmp_path: Path, pairs: list[str], told: str) -> None:
    job = job_of(tmp_path, *pairs)
    waiting = tasks_waiting(job)
    assert waiting is not None
    assert waiting.text == told
    # The same that a run counts, when the shots are known.
    known = job_of(tmp_path, *(f"{p}, cuts: none" if "film" in p else p for p in pairs))
    assert waiting.tasks == open_agenda(known).census(Ledger.of({})).tasks


@pytest.mark.parametrize(
    "pairs",
    [
        ["manifest: nowhere.csv"],  # which is not even opened
        ["film: s3://bucket/shot.mp4, style: w.jpg"],
        [FILM, f"{FILM}, frames: 3-8"],
        [FILM, f"{FILM}, cuts: [4]"],
        ["film: nowhere/, style: w.jpg"],
    ],
)
def test_what_cannot_be_told_at_once_is_not_told(tmp_path: Path, pairs: list[str]) -> None:
    assert tasks_waiting(job_of(tmp_path, *pairs)) is None


def test_proofs_that_are_there_are_told_and_what_comes_next(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, there=3)
    before = stylefarm("status", job.file)
    assert before.returncode == 2
    assert before.stderr.strip() == (
        f"{job.file} has not rendered anything yet: 3 tasks wait, all of them frames of films; "
        f"stylefarm run {job.file} begins"
    )

    VideoRun(job, proof=True, limit=2)
    part = stylefarm("status", job.file)
    assert part.returncode == 0
    assert "  2 of 3 proofs done, 0 failed, 1 left" in part.stdout.splitlines()
    assert "  no picture is rendered yet: stylefarm run JOB renders all" in part.stdout
    assert json.loads(stylefarm("status", job.file, "--json").stdout)["proof"] is True

    VideoRun(job, limit=1)
    after = stylefarm("status", job.file)
    assert "  1 done, 0 failed, 2 left" in after.stdout.splitlines()
    assert "picture is rendered yet" not in after.stdout


def test_a_status_looks_for_no_cuts(tmp_path: Path) -> None:
    job = write_video_job(tmp_path, there=3, cuts="auto")
    VideoRun(job, limit=1)
    (kept,) = (tmp_path / "out/films").glob("*/cuts.json")
    kept.unlink()  # as when the run was ended while it looked

    status = of_job(job)

    assert status is not None
    assert (status.done, status.left, status.videos) == (1, 2, ())
    assert not kept.exists()
