"""The keys of a film: what is right, and what a wrong one is told."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.jobfile.yaml_source import read_yaml
from jobs.spec.films.frame_numbers import as_text, numbers_of
from jobs.spec.json_schema import json_schema
from tests.jobs.support import FILE, read, refusal

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def job(pair: str, more: str = "") -> str:
    return f"output: out\npairs: [{{{pair}}}]\n{more}"


def accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(read_yaml(text.encode(), FILE).values))


@pytest.mark.parametrize(
    "pair",
    [
        "film: shots/a.####.png, style: b.jpg",
        "film: 's3://b/shots/a.%04d.exr', style: [b.jpg, paintings/], frames: 1001-1100x2, cuts: none",
        "film: shots/, style: {picture: b.jpg, mask: masks/a.####.png}, cuts: [1040, 1.1e3]",
        "film: shots/, style: b.jpg, loop: true, sweep: {size: [64, 128]}, recipe: {steps: 3}",
        "film: shots/, style: b.jpg, loop: true, cuts: auto",
        "film: shots/, style: b.jpg, frames: ~, cuts: ~, loop: ~, content: ~, init: ~, combine: ~",
        "film: ~, content: a.jpg, style: b.jpg, frames: ~, cuts: ~, loop: ~",
        "film: shots/, style: b.jpg, frames: '1-10, 20-30 x 5'",
        "film: shots/, style: b.jpg, flow: raft, loop: true",
        "film: shots/, style: b.jpg, flow: ~",
        "film: shots/, style: b.jpg, flow: {forward: f/a.####.flo, backward: 's3://b/a_%04d_%04d.EXR'}",
        "film: shots/, style: b.jpg, flow: {forward: 'f#/a#.png', backward: 'f%/a_%d.png'}",
    ],
)
def test_right_for_loader_and_schema(pair: str) -> None:
    assert accepts(job(pair))
    assert read(job(pair))


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("film: s/", "style: is required"),
        (
            "film: s/, style: b.jpg, content: c.jpg",
            "content: cannot be combined with film:, whose frames are the contents",
        ),
        (
            "film: s/, style: b.jpg, init: c.jpg",
            "init: cannot be combined with film:, whose frames are the contents",
        ),
        (
            "film: s/, style: b.jpg, combine: zip",
            "combine: cannot be combined with film:, whose frames are the contents",
        ),
        (
            "film: s/, style: b.jpg, manifest: m.csv",
            "film: cannot be combined with manifest:, whose rows name pictures",
        ),
        (
            "film: s/, style: b.jpg, on_bad_row: skip",
            "on_bad_row: needs manifest:, which is not given",
        ),
        ("content: a.jpg, style: b.jpg, frames: 1-2", "frames: needs film:, which is not given"),
        ("content: a.jpg, style: b.jpg, cuts: none", "cuts: needs film:, which is not given"),
        ("content: a.jpg, style: b.jpg, loop: true", "loop: needs film:, which is not given"),
        ("manifest: m.csv, loop: false", "loop: needs film:, which is not given"),
        ("film: s/, style: b.jpg, frames: 7", "frames: 7 is not text: write it in quotes, '7'"),
        (
            "film: s/, style: b.jpg, frames: 7-",
            "frames: '7-' names no frames: write 1001-1100, 1001-1100x2 or 1-10,20",
        ),
        (
            "film: s/, style: b.jpg, cuts: []",
            "cuts: [] is neither auto, none nor a list of the frames that begin a shot, such as [1040, 1093]",
        ),
        (
            "film: s/, style: b.jpg, cuts: never",
            "cuts: 'never' is neither auto, none nor a list of the frames that begin a shot, such as "
            "[1040, 1093]",
        ),
        (
            "film: s/, style: b.jpg, cuts: [-4]",
            "cuts: [-4] is neither auto, none nor a list of the frames that begin a shot, such as "
            "[1040, 1093]",
        ),
        (
            "film: s/, style: b.jpg, cuts: [4], loop: true",
            "loop: makes the film one shot, which has no cuts: leave cuts out",
        ),
        ("content: a.jpg, style: b.jpg, flow: dis", "flow: needs film:, which is not given"),
        (
            "film: s/, style: b.jpg, flow: farneback",
            "flow: 'farneback' is neither dis, raft nor the files forward: and backward:",
        ),
        (
            "film: s/, style: b.jpg, flow: a.#.flo",
            "flow: 'a.#.flo' is neither dis, raft nor the files forward: and backward:",
        ),
        ("film: s/, style: b.jpg, flow: {forward: a.#.flo}", "flow.backward: is required"),
        (
            "film: s/, style: b.jpg, flow: {forward: a.#.flo, backward: 3}",
            "flow.backward: 3 is not text: write it in quotes, '3'",
        ),
        (
            "film: s/, style: b.jpg, flow: {forward: a.#.flo, backward: a.#.flo, both: a.#.flo}",
            "flow.both: is not a key; known here: forward, backward",
        ),
        (
            "film: s/, style: b.jpg, flow: {forward: a.flo, backward: a.#.flo}",
            "flow.forward: a.flo has no place for the number of a frame: write #### or %04d in its name, "
            "once, or twice where the number of the frame to which it leads follows",
        ),
        (
            "film: s/, style: b.jpg, flow: {forward: a.#.tif, backward: a.#.flo}",
            "flow.forward: a.#.tif is no motion that is read: .flo, .png as KITTI has it, and .exr are",
        ),
        (
            "film: s/, style: b.jpg, flow: {forward: 'https://e.org/a.#.flo', backward: a.#.flo}",
            "flow.forward: https://e.org/a.#.flo is on the web: copy the files to a folder or to s3://",
        ),
        ("film: s/, style: b.jpg, loop: 1", "loop: 1 is not true or false"),
        ("film: '', style: b.jpg", "film: is empty"),
        ("film: [s/], style: b.jpg", "film: is a list: write an entry of pairs for each film"),
        (
            "film: 'https://e.org/a.%d.png', style: b.jpg",
            "film: https://e.org/a.%d.png is on the web: copy the frames to a folder or to s3://",
        ),
        (
            "film: s/, style: b.jpg, recipe: {init: image}",
            "recipe.init: image is not for a film, whose frames have no first picture of their own",
        ),
        ("film: s/, style: b.jpg, frame: 1-2", "frame: is not a key; did you mean frames?"),
    ],
)
def test_wrong_for_loader_and_schema(pair: str, told: str) -> None:
    assert refusal(job(pair)) == [f"job.yaml:2: pairs[0].{told}"]
    assert not accepts(job(pair)) or "init: image" in pair  # which no schema can say


def test_names_of_frames_are_for_films_alone() -> None:
    assert read(job("film: s/, style: b.jpg", "image: {name: '{film}_{number}'}"))
    assert refusal(job("content: a.jpg, style: b.jpg", "image: {name: '{film}_{number}'}")) == [
        "job.yaml:3: image: name has {film}, which only the frames of films have: each entry of pairs needs "
        "film: then"
    ]


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("7", [7]),
        ("0007", [7]),
        ("1-4", [1, 2, 3, 4]),
        ("1001-1009x4", [1001, 1005, 1009]),
        ("1-3,7, 10 - 20 x 5", [1, 2, 3, 7, 10, 15, 20]),
    ],
)
def test_numbers(written: str, numbers: list[int]) -> None:
    assert list(numbers_of(written)) == numbers


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("9-3", "runs backwards: write 3-9"),
        ("1-5,3", "does not ascend: each number comes once, after those below it"),
        ("1-5,5", "does not ascend: each number comes once, after those below it"),
        ("1-3x0", "names no frames: write 1001-1100, 1001-1100x2 or 1-10,20"),
        ("-3", "names no frames: write 1001-1100, 1001-1100x2 or 1-10,20"),
        ("1-99999999", "names more than 10,000,000 frames"),
    ],
)
def test_no_numbers(written: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told.replace('.', '[.]')}$"):
        numbers_of(written)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_text_and_numbers_are_each_others_inverse(numbers: set[int]) -> None:
    assert list(numbers_of(as_text(sorted(numbers)))) == sorted(numbers)


def test_long_text_is_cut() -> None:
    assert as_text(range(0, 100, 2), most=3) == "0,2,4 and more"
    assert as_text([1, 2, 3], most=3) == "1-3"
