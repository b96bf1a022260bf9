"""What a folder has is taken, or named: no picture is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import InputError, JobFileError
from jobs.inputs.formats import is_picture
from jobs.inputs.reader import Inputs
from jobs.tasks.todo import Agenda
from tests.jobs.support import read
from tests.support.farm import stylefarm, write_job
from tests.support.rigs import Rig

TAKEN = ["a.JPG", "b.avif", "c.HEIC", "d.psd", "e.mpo", "f.jp2", "g.exr", "h.ppm", "h.tif"]
TAKEN += ["m.jxl", "n.NEF"]
UNREAD = {"i.qoi": "QOI", "j.XCF": "GIMP", "k.svg": "SVG"}
OTHER = ["notes.txt", ".hidden.qoi", "Thumbs.db", "l.jpg.bak"]


def folder(base: Path) -> Path:
    (base / "photos").mkdir()
    for name in (*TAKEN, *UNREAD, *OTHER):
        (base / "photos" / name).write_bytes(b"x")
    return base


@pytest.mark.parametrize("pattern", ["photos", "photos/", "photos/*", "**/*"])
def test_a_folder_is_taken_or_named(pattern: str, tmp_path: Path) -> None:
    inputs = Inputs(folder(tmp_path))
    assert [Path(name).name for name in inputs.expand(pattern)] == TAKEN
    assert inputs.unread.count == 3
    named = sorted(Path(text).name for text in inputs.unread.first)
    assert named == [f"{name} ({kind})" for name, kind in UNREAD.items()]


def test_a_bucket_is_taken_or_named(s3_rig: Rig, tmp_path: Path) -> None:
    storage = s3_rig.open("photos")
    for name in (*TAKEN, *UNREAD, *OTHER):
        storage.put(name, b"x")
    inputs = Inputs(tmp_path, s3_rig.options)
    assert len(inputs.expand(f"{s3_rig.url}/photos/")) == len(TAKEN)
    assert inputs.unread.count == 3


def test_of_many_the_first_are_named(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}.hdr").touch()
    inputs = Inputs(tmp_path)
    assert inputs.expand("*") == []
    assert (inputs.unread.count, len(inputs.unread.first)) == (50, 50)
    assert str(inputs.unread).endswith(" and 45 more")


@pytest.mark.parametrize("name", ["sky.qoi", "s3://pics/sky.XCF", "/x/sky.eps"])
def test_one_that_is_named_by_itself_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which is not read: convert it to PNG or TIFF"):
        Inputs(tmp_path).expand(name)


def test_a_web_address_may_end_as_it_likes(tmp_path: Path) -> None:
    assert Inputs(tmp_path).expand("https://x.org/a.dng") == ["https://x.org/a.dng"]


def test_a_job_names_the_field_and_a_manifest_the_row(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.hdr").touch()
    (tmp_path / "p.csv").write_text("content,style\na.jpg,s.jpg\nb.xcf,s.jpg\n")
    text = (
        "output: out\npairs:\n- {content: sky.qoi, style: s.jpg}\n- {content: raw, style: s.jpg}\n"
    )
    with pytest.raises(JobFileError) as caught:
        Agenda(read(text, tmp_path), lambda _: "d")
    assert str(caught.value).splitlines() == [
        "job.yaml:3: pairs[0].content: sky.qoi is QOI, which is not read: convert it to PNG or TIFF",
        "job.yaml:4: pairs[1].content: raw matches only pictures that are not read: a.hdr (Radiance HDR); "
        "convert them to PNG or TIFF",
    ]
    agenda = Agenda(read("output: out\npairs: [{manifest: p.csv}]\n", tmp_path), lambda _: "d")
    with pytest.raises(JobFileError, match=r"p\.csv:3: content: b\.xcf is GIMP"):
        list(agenda.tasks())


def test_plan_and_run_name_them(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=1, styles=1)
    (tmp_path / "photos" / "sky.qoi").write_bytes(b"x")
    said = "not read: 1 file that patterns match: sky.qoi (QOI)"
    assert said in stylefarm("plan", job).stdout
    named = json.loads(stylefarm("plan", job, "--json").stdout)
    assert (named["unread_pictures"], named["first_unread"]) == (1, ["sky.qoi (QOI)"])
    ran = stylefarm("run", job, "--pool", "inline", "--json")
    assert ran.returncode == 0
    assert said in ran.stderr
    assert '"event": "pictures_unread"' in ran.stdout.replace('"event":"', '"event": "')


def test_a_name_is_judged_by_its_extension() -> None:
    assert is_picture("a/B.Heic")
    assert not is_picture("a/b.qoi")
    assert not is_picture("jpg")


def test_lists_that_are_not_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    for name in ("1.csv", "2.xlsx", "3.txt", "_SUCCESS", ".crc"):
        (tmp_path / "lists" / name).write_text("content,style\na.jpg,s.jpg\n")
    for pattern in ("lists", "lists/*"):
        text = f"output: out\npairs: [{{manifest: '{pattern}'}}]\n"
        agenda = Agenda(read(text, tmp_path), lambda _: "d")
        assert len(list(agenda.tasks())) == 1
        named = sorted(Path(name).name for name in agenda.unread.first)
        assert named == ["2.xlsx (no manifest)", "3.txt (no manifest)"]
