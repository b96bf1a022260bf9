"""What a job has painted is never painted again by it, however its patterns reach it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from jobs.errors import JobFileError
from jobs.jobfile.dated_output import dated
from jobs.jobfile.job import Job
from jobs.jobfile.own_pictures import OwnPictures
from jobs.jobfile.parse import parse_job
from jobs.tasks.todo import Agenda
from tests.support.farm import picture

NIGHT = datetime(2026, 11, 25, 2, tzinfo=timezone.utc)


def a_job(base: Path, output: str, content: str = "photos/**/*.png", more: str = "") -> Job:
    text = f"output: {output}\npairs:\n  - content: {content}\n    style: style.png\n{more}"
    return parse_job(text.encode(), "job.yaml", base)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name in ("style.png", "photos/a.png", "photos/trip/b.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(path)
    return tmp_path


def paint(shop: Path, *names: str) -> None:
    for name in names:
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        picture(2).save(shop / name)


def contents(job: Job) -> tuple[list[str], int]:
    agenda = Agenda(job, lambda _: "digest")
    return [task.content for task in agenda.tasks()], agenda.own_pictures


PAINTED = [
    f"photos/painted/{name}"
    for name in ("images/a-1.png", "kept/b-2.png", "proofs/images/a-1.png", "gallery/x.png")
]


def test_pictures_under_the_output_are_no_input_and_are_counted(shop: Path) -> None:
    paint(shop, *PAINTED)
    found, left_out = contents(a_job(shop, "photos/painted"))
    assert found == ["photos/a.png", "photos/trip/b.png"]
    assert left_out == len(PAINTED)


def test_nor_are_those_of_any_other_night(shop: Path) -> None:
    paint(shop, "photos/2026-11-23/images/a-1.png", "photos/2026-11-24/images/a-1.png")
    paint(shop, "photos/holidays/images/c.png")  # somebody's folder of that name
    job = dated(a_job(shop, '"photos/{date}"'), NIGHT)
    assert job.spec.output == "photos/2026-11-25"
    found, left_out = contents(job)
    assert found == ["photos/a.png", "photos/holidays/images/c.png", "photos/trip/b.png"]
    assert left_out == 2


def test_what_lies_beside_the_output_s_own_folders_is_input(shop: Path) -> None:
    """Some render into the folder that has their photos."""
    paint(shop, "images/a-1.png")
    found, left_out = contents(a_job(shop, ".", content='"**/*.png"'))
    assert found == ["photos/a.png", "photos/trip/b.png", "style.png"]
    assert left_out == 1


@pytest.mark.parametrize("output", ["painted", "{base}/painted", "photos/../painted", "./painted/"])
def test_by_whatever_name_the_output_goes(shop: Path, output: str) -> None:
    paint(shop, "painted/images/a-1.png")
    found, left_out = contents(a_job(shop, output.format(base=shop), content="'**/*.png'"))
    assert (len(found), left_out) == (3, 1)


def test_by_whatever_link_it_is_reached(shop: Path) -> None:
    paint(shop, "painted/images/a-1.png")
    (shop / "latest").symlink_to(shop / "painted" / "images")
    with pytest.raises(JobFileError, match="latest/ matches only pictures that this job itself"):
        contents(a_job(shop, "painted", content="latest/"))


def test_a_folder_of_them_is_refused_with_its_line(shop: Path) -> None:
    paint(shop, "out/images/a-1.png")
    with pytest.raises(JobFileError, match=r"job.yaml:3: .*out/images/ matches only pictures that"):
        contents(a_job(shop, "out", content="out/images/"))


@pytest.mark.parametrize("where", ["content", "style"])
def test_one_by_its_own_name_is_refused_with_its_line(shop: Path, where: str) -> None:
    paint(shop, "out/images/a-1.png")
    pair = {"content": "photos/a.png", "style": "style.png", where: "out/images/a-1.png"}
    written = f"output: out\npairs:\n  - content: {pair['content']}\n    style: {pair['style']}\n"
    with pytest.raises(JobFileError, match=r"job.yaml:[34]: .*a-1.png is one of the pictures that"):
        contents(parse_job(written.encode(), "job.yaml", shop))


def test_a_render_may_start_from_one(shop: Path) -> None:
    """As from the last good picture of a render that failed."""
    paint(shop, "out/kept/a-1.png")
    job = a_job(shop, "out", more="    init: out/kept/a-1.png\n")
    assert contents(job)[0] == ["photos/a.png", "photos/trip/b.png"]


def test_a_row_that_names_one_is_a_bad_row(shop: Path) -> None:
    paint(shop, "out/images/a-1.png")
    rows = "content,style\nphotos/a.png,style.png\nout/images/a-1.png,style.png\n"
    (shop / "pairs.csv").write_text(rows)
    text = "output: out\npairs: [{manifest: pairs.csv}]\n"
    with pytest.raises(JobFileError, match=r"pairs.csv:3: content: out/images/a-1.png is one of"):
        contents(parse_job(text.encode(), "job.yaml", shop))


@pytest.mark.parametrize(
    ("output", "uri", "own"),
    [
        ("s3://pics/out", "s3://pics/out/images/a.png", True),
        ("s3://pics/out/", "s3://pics/out/proofs/images/a.png", True),
        ("s3://pics/out", "s3://pics/outside/images/a.png", False),
        ("s3://pics/out", "s3://pics/out/photos/a.png", False),
        ("s3://pics/{date}", "s3://pics/2026-11-24/images/a.png", True),
        ("s3://pics/{date}", "s3://pics/latest/images/a.png", False),
        ("s3://pics", "s3://pics/images/a.png", True),
        ("s3://pics/out", "out/images/a.png", False),
        ("out", "s3://pics/out/images/a.png", False),
        ("out", "https://example.org/out/images/a.png", False),
    ],
)
def test_on_s3_it_goes_by_the_key(tmp_path: Path, output: str, uri: str, own: bool) -> None:
    assert (uri in OwnPictures(a_job(tmp_path, f'"{output}"'))) is own
