"""A job whose ``image`` was changed says that its pictures stay as they were saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.records.commit import Records
from jobs.records.saved_before import saved_otherwise
from jobs.spec.output import ImageOptions
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from tests.support.farm import stylefarm, write_job


def test_plan_and_run_say_that_pictures_stay_as_they_were_saved(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=2, styles=1, image={"format": "png"})
    assert stylefarm("run", job, "--pool=inline", "--limit=1").returncode == 0
    assert "saved" not in stylefarm("plan", job).stdout
    write_job(tmp_path, photos=2, styles=1, image={"format": "jpeg", "quality": 80})
    note = (
        "1 picture that is done stays as it was saved, though under image format was png and is jpeg, "
        "quality was 92 and is 80: run --overwrite renders it again"
    )
    assert f"  note: {note}\n" in stylefarm("plan", job).stdout
    assert json.loads(stylefarm("plan", job, "--json").stdout)["saved_otherwise"] == [
        "format was png and is jpeg",
        "quality was 92 and is 80",
    ]
    ran = stylefarm("run", job, "--pool=inline", "--quiet")
    assert (ran.returncode, ran.stderr.splitlines()) == (0, [f"note {note}"])
    over = stylefarm("run", job, "--pool=inline", "--overwrite")
    assert "saved" not in over.stderr
    images = [path.name for path in (job.parent / "out/images").iterdir()]
    assert len(images) == 2
    assert all(name.endswith(".jpg") for name in images), "the old files are gone"


def test_a_picture_whose_name_is_listed_in_another_way_is_never_swept(tmp_path: Path) -> None:
    """Some file systems list names in another Unicode composition than they were written in."""
    job = write_job(tmp_path, photos=1, styles=1, image={"format": "png", "name": "\u00fc"})
    assert stylefarm("run", job, "--pool=inline").returncode == 0
    storage = FolderStorage(job.parent / "out")
    (stat,) = storage.list(keys.IMAGES)
    other = stat.key.replace("\u00fc", "u\u0308")
    (tmp_path / "out" / stat.key).rename(tmp_path / "out" / other)
    Records(storage).sweep_pictures()
    assert [found.key for found in storage.list(keys.IMAGES)] == [other]


@pytest.mark.parametrize(
    "written",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b'{"job": 1}',
        b'{"job": {"image": "png"}}',
        b'{"job": {"image": {}}}',
    ],
)
def test_what_cannot_be_read_says_nothing(tmp_path: Path, written: bytes | None) -> None:
    storage = FolderStorage(tmp_path)
    if written is not None:
        storage.put(keys.JOB, written)
    assert saved_otherwise(storage, ImageOptions()) == ()


def test_a_quality_that_changes_nothing_is_not_told(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    before = {"job": {"image": ImageOptions(format="png", quality=92).model_dump(mode="json")}}
    storage.put(keys.JOB, json.dumps(before).encode())
    assert saved_otherwise(storage, ImageOptions(format="png", quality=50)) == ()
    shown = ImageOptions(format="png", thumbnails=False, previews=30)
    assert saved_otherwise(storage, shown) == ()
    assert saved_otherwise(storage, ImageOptions(format="png", bit_depth=16)) == (
        "bit_depth was 8 and is 16",
    )
