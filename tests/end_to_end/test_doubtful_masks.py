"""Masks that are read otherwise than they are meant are told by every command that sees them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.farm import LOOK_LONG, stylefarm, write_job

INLINE = ("--pool", "inline")

SAID = {
    "masks/p0.png has only the values 0 and 1, which is nearly black, since white is 255: multiply it "
    "by 255",
    "masks/p1.png is coloured, and only brightness counts in a mask: its #ff0000 counts 30%; paint it "
    "in black, white and grey",
    "masks/p2.png is black wherever it is not transparent, so its style applies nowhere: paint that "
    "part white if the style is to apply there, or fill the ground with white if it is to apply around it",
}


@pytest.fixture
def job(tmp_path):
    """Labels, red, black on transparency, and one as it should be; each is used by two styles."""
    masks = tmp_path / "masks"
    masks.mkdir()
    half = np.zeros((40, 48), np.uint8)
    half[:, :24] = 1
    none, full = np.zeros_like(half), half * 255
    Image.fromarray(half).save(masks / "p0.png")
    Image.fromarray(np.dstack([full, none, none])).save(masks / "p1.png")
    Image.fromarray(np.dstack([none, none, none, full])).save(masks / "p2.png")
    Image.fromarray(np.dstack([full, full, full, full])).save(masks / "p3.png")
    style = {"picture": "styles/", "mask": "masks/{content}.png"}
    return write_job(tmp_path, photos=4, styles=2, pairs=[{"content": "photos/", "style": style}])


def test_a_run_tells_each_mask_once_and_renders_with_it(job):
    ran = stylefarm("run", job, *INLINE, "--json")

    events = [json.loads(line) for line in ran.stdout.splitlines()]
    told = [one for event in events if event["event"] == "masks_doubtful" for one in event["first"]]
    assert ran.returncode == 0, ran.stderr
    assert (len(told), set(told)) == (3, SAID)
    shown = [line for line in ran.stderr.splitlines() if line.startswith("doubtful ")]
    assert {line.removeprefix("doubtful ") for line in shown} == SAID
    assert len(shown) == 3
    assert "doubtful" not in stylefarm("run", job, *INLINE).stderr


def test_plan_and_doctor_tell_it_before(job):
    planned = json.loads(stylefarm("plan", job, "--json", settings=LOOK_LONG).stdout)["preflight"]
    assert (planned["masks"], set(planned["doubtful_masks"])) == (4, SAID)
    lines = stylefarm("plan", job, settings=LOOK_LONG).stdout.splitlines()
    assert {line.removeprefix("  doubtful: ") for line in lines if "doubtful: " in line} == SAID

    seen = stylefarm("doctor", job, "--json", settings=LOOK_LONG)
    checks = {check["name"]: check for check in map(json.loads, seen.stdout.splitlines())}
    assert seen.returncode == 0
    first, *rest = checks["masks"]["text"].splitlines()
    assert first == "3 of 4 looked at are doubtful"
    assert set(rest) == SAID
