"""What a misspelt name probably means."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.inputs.near import MOST_NAMES, why_no_match
from jobs.inputs.near import near_picture as near_among
from jobs.inputs.reader import Inputs
from jobs.inputs.similar import nearest
from tests.support.rigs import Rig


def touch(base: Path, *names: str) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"picture")


def near_picture(inputs: Inputs, uri: str) -> str | None:
    return near_among(inputs, uri, inputs.beside(uri, MOST_NAMES))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("wavee.jpg", "wave.jpg"),
        ("Wave.JPG", "wave.jpg"),
        ("wave.jpeg", "wave.jpg"),
        ("wave.png", "wave.jpg"),
        ("screem.jpg", "scream.jpg"),
        ("IMG_0003.jpg", None),  # one more is missing, and none is misspelt
        ("img_0001.jpg", "IMG_0001.jpg"),
        ("nothing.jpg", None),
    ],
)
def test_the_nearest_name(wrong: str, right: str | None) -> None:
    names = ["wave.jpg", "scream.jpg", "IMG_0001.jpg", "IMG_0002.jpg", "notes.txt"]
    assert nearest(wrong, names) == right
    assert nearest(wrong, []) is None


def test_a_picture_or_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "styles/wave.jpg", "styles/wavee.txt", "styles/deep/scream.jpg")
    inputs = Inputs(tmp_path)
    assert near_picture(inputs, "styles/wavee.jpg") == "styles/wave.jpg"
    assert near_picture(inputs, str(tmp_path / "styles/wavee.jpg")) == "styles/wave.jpg"
    assert near_picture(inputs, "style/wave.jpg") == "styles/wave.jpg"
    assert near_picture(inputs, "style/wawe.jpg") == "styles/"
    assert near_picture(inputs, "styles/deeep/scream.jpg") == "styles/deep/scream.jpg"
    assert near_picture(inputs, "style/deep/scream.jpg") == "styles/deep/scream.jpg"
    assert near_picture(inputs, "nowhere/at/all.jpg") is None
    # The folder is there, and has nothing like it.
    assert near_picture(inputs, "styles/nothing.jpg") is None


def test_a_link_to_nothing_means_no_other_picture(tmp_path: Path) -> None:
    touch(tmp_path, "wave.jpg")
    (tmp_path / "wavee.jpg").symlink_to("gone.jpg")
    assert near_picture(Inputs(tmp_path), "wavee.jpg") is None


def test_near_on_s3(s3_rig: Rig, tmp_path: Path) -> None:
    storage, url = s3_rig.open(), s3_rig.url
    for key in ("styles/wave.jpg", "styles/more/wavee.jpg", "top.jpg"):
        storage.put(key, b"picture")
    inputs = Inputs(tmp_path, s3_rig.options)
    assert near_picture(inputs, f"{url}/styles/wavee.jpg") == f"{url}/styles/wave.jpg"
    assert near_picture(inputs, f"{url}/topp.jpg") == f"{url}/top.jpg"
    assert near_picture(inputs, f"{url}/nowhere/wave.jpg") is None
    assert inputs.beside(f"{url}/styles/x.jpg", 10) == [f"{url}/styles/wave.jpg"]


def test_why_a_pattern_matches_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg", "notes.txt")
    (tmp_path / "nas").symlink_to("/mnt/nas-that-is-not-there")
    assert why_no_match(tmp_path, "photos/*.png") is None
    assert why_no_match(tmp_path, "*.png") is None
    assert why_no_match(tmp_path, "photo/*.jpg") == (
        f"there is no folder {tmp_path}/photo; is photos/ meant?"
    )
    assert why_no_match(tmp_path, "photo/") == (
        f"there is no folder {tmp_path}/photo; is photos/ meant?"
    )
    assert why_no_match(tmp_path, "nowhere/**/*.jpg") == f"there is no folder {tmp_path}/nowhere"
    assert why_no_match(tmp_path, "nas/*.jpg") == (
        f"{tmp_path}/nas is a link to /mnt/nas-that-is-not-there, which is not there"
    )
    assert why_no_match(tmp_path, f"{tmp_path}/photo/*.jpg") == (
        f"there is no folder {tmp_path}/photo; is {tmp_path}/photos/ meant?"
    )
    (tmp_path / "photos" / "2024").mkdir()
    assert why_no_match(tmp_path, "photo/2024/*.jpg") == (
        f"there is no folder {tmp_path}/photo/2024; is photos/2024/ meant?"
    )
    assert why_no_match(tmp_path, "*/photo/*.jpg") is None
