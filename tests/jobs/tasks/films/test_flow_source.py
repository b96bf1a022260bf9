"""Where a film's motion comes from: which files are looked for, and what it does to the ids of frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.errors import JobFileError
from jobs.tasks.films.stretch import given_between
from jobs.tasks.task import Task
from jobs.tasks.todo import Agenda
from tests.jobs.support import read, touch
from tests.support.rigs import S3_RIGS, Rig

FIRST, LAST = 1001, 1020
FILES = "flow: {forward: flow/f.####.flo, backward: flow/b.####.flo}"
TWO = "flow: {forward: 'flow/forward_#_#.flo', backward: 'flow/backward_#_#.flo'}"


def write(path: Path) -> bytes:
    path.parent.mkdir(exist_ok=True)
    assert cv2.writeOpticalFlow(str(path), np.zeros((4, 6, 2), np.float32))
    return path.read_bytes()


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    touch(tmp_path, "w.jpg", *(f"shots/a.{n:04d}.png" for n in range(FIRST, LAST + 1)))
    for n in range(FIRST, LAST):
        for name in (f"f.{n}", f"b.{n + 1}", f"forward_{n}_{n + 1}", f"backward_{n + 1}_{n}"):
            write(tmp_path / "flow" / f"{name}.flo")
    return tmp_path


def tasks(base: Path, keys: str, cuts: str = "none", more: str = "") -> dict[int, Task]:
    """By the number of the frame."""
    text = f"output: out\npairs: [{{film: shots/, style: w.jpg, cuts: {cuts}, {keys}}}]\n{more}\n"
    found = Agenda(read(text, base), lambda recipe: "digest").tasks()
    return {task.part.number: task for task in found if task.part is not None}


def told(base: Path, keys: str, cuts: str = "none", more: str = "") -> list[str]:
    with pytest.raises(JobFileError) as caught:
        tasks(base, keys, cuts, more)
    return [str(problem).removeprefix("job.yaml:2: pairs[0].") for problem in caught.value.problems]


def part(task: Task) -> Any:
    assert task.part is not None
    return task.part


@pytest.mark.parametrize("keys", [FILES, TWO, FILES.replace("flow/", "./flow/")])
def test_each_frame_knows_the_files_between_the_frames_around_it(shots: Path, keys: str) -> None:
    for task in tasks(shots, keys).values():
        place = part(task)
        assert place.way == "given"
        assert len(place.given) == len(place.around) - 1
        for k, (forward, backward) in enumerate(place.given):
            number = FIRST + place.first + k
            if keys == TWO:
                names = (f"forward_{number}_{number + 1}", f"backward_{number + 1}_{number}")
            else:
                names = (f"f.{number}", f"b.{number + 1}")
            assert (forward, backward) == tuple(f"flow/{name}.flo" for name in names)
        if place.needs:
            assert given_between(place)
            assert set(given_between(place)) <= {uri for both in place.given for uri in both}


def test_the_way_is_part_of_the_id_unless_it_is_the_usual_one(shots: Path) -> None:
    usual = tasks(shots, "loop: false")
    assert {n: task.id for n, task in tasks(shots, "flow: dis").items()} == {
        n: task.id for n, task in usual.items()
    }
    ways = [usual, *(tasks(shots, keys) for keys in ("flow: raft", FILES, TWO))]
    assert len({way[1005].id for way in ways}) == len(ways)
    assert part(ways[1][1005]).way == "raft"
    # Golden: ids of films that are rendered already stay.
    assert usual[1005].id == GOLDEN


GOLDEN = "60c0086f95b32ec0"


def test_a_film_that_goes_on_keeps_its_ids(shots: Path) -> None:
    whole, part_ = tasks(shots, FILES), tasks(shots, f"{FILES}, frames: 1001-1018")
    kept = [n for n in part_ if n <= 1017]
    assert [part_[n].id for n in kept] == [whole[n].id for n in kept]


def test_missing_files_are_named_by_the_numbers_of_their_frames(shots: Path) -> None:
    for name in ("f.1004", "b.1011", "b.1012", "b.1013"):
        (shots / "flow" / f"{name}.flo").unlink()
    assert told(shots, FILES) == [
        "flow.forward: flow/f.####.flo lacks that of frame 1004",
        "flow.backward: flow/b.####.flo lacks those of 3 frames: 1011-1013",
    ]
    assert told(shots, FILES.replace("/f.", "/x.")) == [
        "flow.forward: flow/x.####.flo has the motion of no frame of the film: it lacks flow/x.1001.flo",
        "flow.backward: flow/b.####.flo lacks those of 3 frames: 1011-1013",
    ]


def test_at_a_cut_no_motion_is_needed(shots: Path) -> None:
    for name in ("f.1010", "b.1011"):
        (shots / "flow" / f"{name}.flo").unlink()
    assert len(told(shots, FILES)) == 2
    assert len(tasks(shots, FILES, cuts="[1011]")) == 20


def test_a_loop_needs_the_motion_from_its_last_frame_to_its_first(shots: Path) -> None:
    keys = FILES + ", loop: true"
    assert told(shots, keys) == [
        "flow.forward: flow/f.####.flo lacks that of frame 1020",
        "flow.backward: flow/b.####.flo lacks that of frame 1001",
    ]
    for name in ("f.1020", "b.1001"):
        write(shots / "flow" / f"{name}.flo")
    last = part(tasks(shots, keys)[1020])
    assert last.given[-1] == ("flow/f.1020.flo", "flow/b.1001.flo")


def test_frames_that_are_left_out_need_names_that_say_where_motion_leads(shots: Path) -> None:
    steps = "frames: 1001-1019x2"
    assert told(shots, f"{FILES}, {steps}")[0] == (
        "flow.forward: flow/f.####.flo does not say whether the motion of frame 1001 leads to 1002 or to "
        "1003, since frames: 1001-1019x2 leaves frames out: write #### a second time, for the frame to which "
        "it leads"
    )
    assert told(shots, f"{TWO}, {steps}")[0] == (
        "flow.forward: flow/forward_#_#.flo has the motion of no frame of the film: it lacks "
        "flow/forward_1001_1003.flo"
    )
    for n in range(1001, 1019, 2):
        write(shots / "flow" / f"forward_{n}_{n + 2}.flo")
        write(shots / "flow" / f"backward_{n + 2}_{n}.flo")
    assert len(tasks(shots, f"{TWO}, {steps}")) == 10
    # Of two runs of frames with a cut between them, none is left out.
    assert len(tasks(shots, f"{FILES}, frames: '1001-1005,1010-1014'", cuts="[1010]")) == 10


def test_a_sequence_of_every_second_number_has_the_motion_of_its_own_neighbours(
    shots: Path,
) -> None:
    for n in range(1002, 1021, 2):
        (shots / "shots" / f"a.{n}.png").unlink()
    found = tasks(shots, FILES)
    assert part(found[1003]).given[0] == ("flow/f.1001.flo", "flow/b.1003.flo")


def test_files_of_the_wrong_kind_are_told_before_any_frame_is_painted(shots: Path) -> None:
    (shots / "flow" / "f.1001.flo").write_bytes(b"P6 no motion")
    (shots / "flow" / "b.1002.flo").write_bytes(b"")
    assert told(shots, FILES) == [
        "flow.forward: flow/f.1001.flo is no Middlebury motion: it does not begin with PIEH",
        "flow.backward: flow/b.1002.flo is empty (0 bytes).",
    ]


@pytest.mark.parametrize("s3_rig", S3_RIGS[:1], indirect=True)
def test_motion_may_be_in_a_bucket(s3_rig: Rig, tmp_path: Path) -> None:
    touch(tmp_path, "w.jpg", *(f"shots/a.{n}.png" for n in (1, 2, 3)))
    data = write(tmp_path / "flow" / "f.flo")
    for name in ("f.1", "f.2", "b.2", "b.3"):
        s3_rig.open().put(f"flow/{name}.flo", data)
    at = f"{s3_rig.url}/flow"
    keys = f"flow: {{forward: '{at}/f.#.flo', backward: '{at}/b.#.flo'}}"
    storage = f"storage: {json.dumps(s3_rig.options.model_dump(exclude_none=True))}"

    found = tasks(tmp_path, keys, more=storage)

    assert part(found[3]).given[-1] == (f"{at}/f.2.flo", f"{at}/b.3.flo")
    s3_rig.open().delete("flow/b.3.flo")
    assert told(tmp_path, keys, more=storage) == [
        f"flow.backward: {at}/b.#.flo lacks that of frame 3"
    ]
