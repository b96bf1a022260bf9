"""A job whose output lies among its photos paints the same pictures every night."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.farm import picture, stylefarm, write_job


@pytest.mark.parametrize("output", ["photos/painted", "photos/{date}"])
def test_no_run_paints_what_an_earlier_one_has_painted(tmp_path: Path, output: str) -> None:
    job = write_job(
        tmp_path,
        photos=1,
        styles=1,
        output=output,
        pairs=[{"content": "photos/**/*.png", "style": "styles/"}],
    )
    for night in ("2026-11-24", "2026-11-25", "2026-11-26"):
        at = ("--at", night) if "{" in output else ()
        done = stylefarm("run", job, "--pool", "inline", *at)
        assert done.returncode == 0, done.stderr
    painted = sorted(tmp_path.glob("photos/*/images/*.png"))
    assert len(painted) == (3 if "{" in output else 1)

    planned = stylefarm("plan", job, "--json")
    plan = json.loads(planned.stdout)
    assert (plan["tasks"], plan["own_pictures"]) == (1, len(painted))
    said = stylefarm("plan", job).stdout
    assert f"left out: {len(painted)} picture" in said
    assert "that this job itself has made" in said


def test_a_new_photo_among_them_is_painted(tmp_path: Path) -> None:
    job = write_job(
        tmp_path,
        photos=1,
        styles=1,
        output="photos/painted",
        pairs=[{"content": "photos/**/*.png", "style": "styles/"}],
    )
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    picture(7).save(tmp_path / "photos" / "new.png")
    done = stylefarm("run", job, "--pool", "inline")
    assert "1 done, 0 failed, 0 left" in done.stderr


def test_an_earlier_output_is_not_painted_again(tmp_path: Path) -> None:
    """Another output, or a moved one, lies among the photos as any folder does."""
    job = write_job(
        tmp_path,
        photos=2,
        styles=1,
        output="photos/first",
        pairs=[{"content": "photos/**/*.png", "style": "styles/"}],
    )
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    job.write_text(job.read_text().replace("photos/first", "photos/second"))
    (tmp_path / "photos" / "first").rename(tmp_path / "photos" / "old")
    planned = stylefarm("plan", job).stdout
    assert "2 tasks: 0 done" in planned
    assert "left out: 2 pictures under photos/old that another job has made" in planned
    job.write_text(job.read_text().replace("photos/**/*.png", "photos/old/images/*.png"))
    assert "2 tasks: 0 done" in stylefarm("plan", job).stdout
    (tmp_path / "photos" / "old" / "job.json").unlink()
    job.write_text(job.read_text().replace("photos/old/images/*.png", "photos/**/*.png"))
    assert "4 tasks: 0 done" in stylefarm("plan", job).stdout
