"""Bad pictures fail by name and the others are rendered; bad job files are refused in sentences."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stylize.pictures.reading.formats import NAMES
from tests.support.farm import ROOT, picture, records_of, stylefarm, write_job


def as_bytes(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def rotated() -> bytes:
    """A photo taken upright: stored 48 x 40, to be shown 40 x 48."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return as_bytes(picture(1), "JPEG", exif=exif.tobytes())


def deep_grey() -> bytes:
    ramp = np.linspace(0, 65535, 48 * 40).reshape(40, 48).astype(np.uint16)
    return as_bytes(Image.fromarray(ramp), "PNG")


def see_through() -> bytes:
    image = picture(2).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return as_bytes(image, "PNG")


BAD = {
    "empty.jpg": (b"", "empty.jpg is empty"),
    "text.jpg": (b"this is a shopping list", "text.jpg is not a picture"),
    "truncated.jpg": (as_bytes(picture(3), "JPEG")[:400], "truncated.jpg is damaged or cut short"),
    "huge.png": (png_header(40_000, 40_000), "huge.png has"),
    "sliver.png": (as_bytes(picture(4, 5, 200), "PNG"), "5 x 200 px"),
}
GOOD = {
    "cmyk.jpg": (as_bytes(picture(5).convert("CMYK"), "JPEG"), (32, 27)),
    "deep.png": (deep_grey(), (32, 27)),
    "rgba.png": (see_through(), (32, 27)),
    "rotated.jpg": (rotated(), (27, 32)),
    "photo.webp": (as_bytes(picture(6), "WEBP"), (32, 27)),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """One job with every picture, good and bad, and one that is not there."""
    folder = tmp_path_factory.mktemp("bad")
    names = [*BAD, *GOOD, "missing.jpg"]
    pairs = [{"content": names, "style": "styles/s0.png"}]
    job = write_job(folder, styles=1, pairs=pairs)
    for name, (data, _) in {**BAD, **GOOD}.items():
        (folder / name).write_bytes(data)
    ran = stylefarm("run", job, "--pool", "inline")
    records = {key.split("|")[0]: record for key, record in records_of(job).items()}
    return folder, ran, records


def test_the_run_ends_with_status_1_and_no_traceback(rendered):
    _, ran, records = rendered
    assert ran.returncode == 1
    assert "Traceback" not in ran.stdout + ran.stderr
    assert len(records) == len(BAD) + len(GOOD) + 1


@pytest.mark.parametrize("name", [*BAD, "missing.jpg"])
def test_a_bad_picture_fails_with_one_clear_sentence(rendered, name):
    _, ran, records = rendered
    sentence = BAD[name][1] if name in BAD else "missing.jpg"
    record = records[name]

    assert record.status == "failed"
    assert sentence in record.error
    assert "\n" not in record.error
    assert len(record.attempts) == 1
    assert record.error in ran.stderr


@pytest.mark.parametrize("name", GOOD)
def test_an_unusual_picture_is_rendered_upright_and_whole(rendered, name):
    folder, _, records = rendered
    record = records[name]

    assert record.status == "done", record.error
    image = Image.open(folder / "out" / record.output.key)
    assert image.size == GOOD[name][1]
    assert image.mode == ("RGBA" if name == "rgba.png" else "RGB")


def test_a_bad_mask_fails_its_photo_with_one_clear_sentence(tmp_path):
    style = {"picture": "styles/s0.png", "mask": "masks/{content}.png"}
    job = write_job(tmp_path, photos=4, pairs=[{"content": "photos/", "style": style}])
    (tmp_path / "masks").mkdir()
    Image.linear_gradient("L").resize((24, 20)).save(tmp_path / "masks" / "p0.png")
    Image.linear_gradient("L").save(tmp_path / "masks" / "p1.png")
    (tmp_path / "masks" / "p2.png").write_text("no picture")

    ran = stylefarm("run", job, "--pool", "inline")

    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    errors = {key.split("|")[0]: record.error for key, record in records_of(job).items()}
    assert errors == {
        "p0.png": None,
        "p1.png": "mask masks/p1.png is 256 x 256 px and the content 48 x 40 px: a mask has the content's "
        "proportions",
        "p2.png": f"mask masks/p2.png is not a picture that can be read ({NAMES})",
        "p3.png": f"There is no file masks/p3.png (looked for {tmp_path}/masks/p3.png).",
    }


BAD_JOBS = {
    "unknown key": ({"recipe": {"sise": 64}}, r"job\.yaml:\d+: recipe\.sise: .*did you mean size"),
    "wrong type": (
        {"workers": {"max": "many"}},
        r"job\.yaml:\d+: workers\.max: 'many' is neither a whole number nor 'auto'",
    ),
    "too small": ({"recipe": {"size": 8}}, r"job\.yaml:\d+: recipe\.size: 8 is below 32"),
    "16 bits of jpeg": (
        {"image": {"format": "jpeg", "bit_depth": 16}},
        r"job\.yaml:\d+: image\.bit_depth: 16 is for png and tiff; jpeg has 8 bits per channel\n",
    ),
    "no pairs": ({"pairs": []}, r"job\.yaml:\d+: pairs: is empty"),
    "glob that matches nothing": (
        {"pairs": [{"content": "nowhere/*.jpg", "style": "styles/"}]},
        r"job\.yaml:\d+: pairs\[0\]\.content.*: nowhere/\*\.jpg matches no picture",
    ),
    "a mask with other braces": (
        {"pairs": [{"content": "photos/", "style": {"picture": "styles/", "mask": "{style}.png"}}]},
        r"job\.yaml:\d+: pairs\[0\]\.style\.mask: '\{style\}\.png' has other braces than \{content\}",
    ),
    "weights that are not there": (
        {"recipe": {"weights": "no.pth", "weights_input": "caffe"}},
        r"job\.yaml:\d+: recipe\.weights: no weights at .*no\.pth",
    ),
}


@pytest.mark.parametrize("name", BAD_JOBS)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_bad_job_file_is_refused_with_its_line(tmp_path, name, command):
    changes, sentence = BAD_JOBS[name]
    job = write_job(tmp_path, **changes)

    refused = stylefarm(command, job)

    assert refused.returncode == 2
    assert re.search(sentence, refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out").exists()


RAW_JOBS = {
    "duplicate key": ("output: a\noutput: b\npairs: []\n", r"x\.yaml:2: output: is given twice"),
    "alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n"
            for p, c in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        r"x\.yaml: expands to more than",
    ),
    "not YAML": (
        "output: [\n",
        r"x\.yaml:1: ends before a list or mapping",
    ),
    "not there": (None, r"x\.yaml: cannot be read \(No such file"),
}


@pytest.mark.parametrize("name", RAW_JOBS)
def test_a_file_that_is_no_job_is_refused(tmp_path, name):
    text, sentence = RAW_JOBS[name]
    if text is not None:
        (tmp_path / "x.yaml").write_text(text)

    refused = stylefarm("run", tmp_path / "x.yaml")

    assert refused.returncode == 2
    assert re.search(sentence, refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr


def test_all_problems_are_told_at_once(tmp_path):
    job = write_job(tmp_path, recipe={"size": 8, "seed": -1}, workers={"max": 0})

    refused = stylefarm("run", job)

    assert len(refused.stderr.splitlines()) == 3


def test_output_that_cannot_be_written_is_status_3(tmp_path):
    (tmp_path / "file").write_text("in the way")
    job = write_job(tmp_path, output="file/out")

    refused = stylefarm("run", job)

    assert refused.returncode == 3
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "Traceback" not in refused.stderr


def test_a_wrong_command_line_is_status_2(tmp_path):
    assert stylefarm("run").returncode == 2
    assert stylefarm("run", write_job(tmp_path), "--pool", "cloud").returncode == 2
    assert stylefarm("paint").returncode == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("report", "nope://x"), "nope:// is not a storage that stylefarm supports"),
        (("report", ""), "An empty address names no folder"),
        (("report", "s3:/renders/o"), "s3:/renders/o lacks //: write s3://renders/o"),
        (("report", "s3://b$d/o"), "must read s3://bucket/prefix"),
        (("report", "file://nas/o"), "names another machine"),
        (("report", "~nobody-at-all/o"), "there is no user nobody-at-all"),
        (("promote", "gs://renders/o", "--select", "all"), "gs:// is not a storage"),
        (
            ("plan", "s3://renders/job.yaml"),
            "s3://renders/job.yaml is an address, and a path of this",
        ),
        (
            ("init", "s3://renders/o"),
            "s3://renders/o is an address, and a path of this machine is needed",
        ),
        (("init", "C:\\harbour"), "C:\\harbour is a path of Windows"),
        (("schedule", "--history", "--state=s3://b/state"), "s3://b/state is an address"),
        (("schedule", "--history", "--state=~nobody-at-all/x"), "there is no user nobody-at-all"),
        (("schedule", "job.yaml", "--export=systemd", "--to=gs://b"), "gs://b is an address"),
        (("run", "."), "is a folder: name the job file in it, such as job.yaml"),
        (("status", "s3://renders/o"), "is neither a job file nor the id that submit printed"),
        (("status", "."), "is neither a job file nor the id"),
        (("cancel", ""), "is neither a job file nor the id"),
        (("logs", "out/o"), "is neither a job file nor the id"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_mistake_of_the_command_line(
    tmp_path, monkeypatch, words, sentence
):
    monkeypatch.chdir(tmp_path)
    refused = stylefarm(*words, PYTHONPATH=str(ROOT))

    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_job_that_was_refused_is_valid_but_for_that(tmp_path: Path):
    # Otherwise the tests above could pass for the wrong reason.
    job = write_job(tmp_path)
    assert yaml.safe_load(job.read_text())["pairs"]
    assert stylefarm("plan", job).returncode == 0
