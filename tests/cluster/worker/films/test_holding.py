"""What a frame keeps of others: where they are among the frames around it, and the motion, found once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster.worker.films.motion import MotionFiles
from jobs.errors import InputError
from jobs.inputs.reader import Inputs
from jobs.storage.folder import FolderStorage
from jobs.tasks.films.frames import Numbered, named_frames
from jobs.tasks.films.part import FilmPart
from jobs.tasks.films.spots import spots
from jobs.tasks.films.stretch import given_between, place_of
from stylize.errors import PictureError, SizesDifferError
from stylize.film.structure import KEY_DISTANCE, KEYS_BACK, keys_of


def part_of(
    index: int,
    needs: tuple[int, ...],
    first: int,
    around: tuple[str, ...],
    joints: tuple[int, ...] = (),
) -> FilmPart:
    ids = tuple((need, "") for need in needs)
    joints = joints or (0, len(around) - 1)
    return FilmPart("0" * 16, index, index, ids, first, around, joints)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("length", [2, 3, 16, 17, 18, 40, 65])
def test_a_frame_finds_those_that_it_holds_to(length: int, loop: bool):
    frames = named_frames(Numbered("shots/a.", 4, ".png"), range(1001, 1001 + length))
    for spot in spots(frames, [(0, length)], loop=loop):
        part = part_of(spot.index, spot.needs, spot.first, spot.around)
        assert spot.around[spot.index - spot.first] == frames.uris[spot.index]
        for need in spot.needs:
            place = place_of(part, need)
            assert spot.around[place] == frames.uris[need]
            # The short way round.
            distance = abs(place - (spot.index - spot.first))
            assert distance <= 1.5 * KEY_DISTANCE * (max(KEYS_BACK) if spot.level == 0 else 1)


@pytest.mark.parametrize("loop", [False, True])
def test_whoever_paints_a_frame_asks_for_files_that_others_ask_for(loop: bool):
    frames = named_frames(Numbered("shots/a.", 4, ".png"), range(1001, 1101))
    files: dict[tuple[int, int], int] = {}
    for spot in spots(frames, [(0, 100)], loop=loop):
        assert spot.joints[0] == 0
        assert spot.joints[-1] == len(spot.around) - 1
        for low, high in pairwise(spot.joints):
            file = (spot.first + low, spot.first + high)
            files[file] = files.get(file, 0) + 1
    ends = [*keys_of(0, 100, loop=loop), *([100] if loop else [])]
    assert sorted(files) == list(pairwise(ends))
    assert min(files.values()) > 1


def test_a_key_gets_the_motion_of_all_stretches_to_the_farthest_that_it_holds_to(tmp_path: Path):
    house = House(tmp_path, "abcde")
    key = part_of(4, (2, 0), 0, tuple("abcde"), (0, 2, 4))
    assert house.motions().around(key) == ([b"abc", b"cde"], [])


def test_a_loop_of_one_interval_is_held_from_its_nearer_end():
    around = ("a", "b", "c", "d", "a")
    assert place_of(part_of(3, (0,), 0, around), 0) == 4
    assert place_of(part_of(1, (0,), 0, around), 0) == 0


class House:
    """Frames in a folder, and a worker's way to their motion."""

    def __init__(self, folder: Path, names: Iterable[str] = "abcd") -> None:
        self.folder = folder
        for name in names:
            (folder / name).write_text(name)
        self.storage = FolderStorage(folder / "out")
        self.made: list[list[str]] = []
        self.part = part_of(1, (0,), 0, tuple(names))

    def motions(self) -> MotionFiles:
        return MotionFiles(self.storage, Inputs(self.folder), self.decode, self)

    def decode(self, uri: str) -> str:
        text = (self.folder / uri).read_text()
        if text == "broken":
            raise InputError("broken")
        return text

    def find_motion(self, frames: Iterable[Any], way: str = "dis") -> bytes:
        self.made.append(list(frames))
        return "".join(self.made[-1]).encode()

    def pack_motion(self, frame: Any, files: Iterable[tuple[Any, Any]]) -> bytes:
        self.made.append([frame, *(name for both in files for name, _ in both)])
        return f"packed {len(self.made)}".encode()


def test_motion_is_found_once_for_all_workers(tmp_path: Path):
    house = House(tmp_path)
    one, other = house.motions(), house.motions()
    assert one.around(house.part) == one.around(house.part) == other.around(house.part)
    assert one.around(house.part) == ([b"abcd"], [])
    assert house.made == [list("abcd")]


def test_motion_is_found_again_when_a_frame_is_another(tmp_path: Path):
    house = House(tmp_path)
    house.motions().around(house.part)
    (tmp_path / "c").write_text("C")
    os.utime(tmp_path / "c", (1, 1))
    assert house.motions().around(house.part) == ([b"abCd"], [])
    assert len(house.made) == 2


@pytest.mark.parametrize(("broken", "found"), [("a", b"bbcd"), ("c", b"abbd"), ("d", b"abcc")])
def test_a_frame_that_cannot_be_read_stops_no_other(tmp_path: Path, broken: str, found: bytes):
    house = House(tmp_path)
    (tmp_path / broken).write_text("broken")
    assert house.motions().around(house.part) == ([found], [])


def test_a_frame_of_another_size_is_named(tmp_path: Path):
    house = House(tmp_path)

    def find(frames: Iterable[Any], way: str = "dis") -> bytes:
        list(frames)
        raise SizesDifferError(2, "is 32 x 48 px, and the one before 64 x 48 px")

    house.find_motion = find
    with pytest.raises(PictureError, match=r"^c is 32 x 48 px, and"):
        house.motions().around(house.part)


def test_given_motion_is_read_once_and_again_when_a_file_is_another(tmp_path: Path):
    house = House(tmp_path)
    found = house.motions().around(house.part)
    names = [(f"f{k}.flo", f"b{k}.flo") for k in range(3)]
    for name in (name for both in names for name in both):
        (tmp_path / name).write_text(name)
    house.part = replace(house.part, way="given", given=tuple(names))

    one = house.motions().around(house.part)
    assert one[0] == [b"packed 2"]
    assert one[0] != found[0]
    assert [read.uri for read in one[1]] == [name for both in names for name in both]
    assert house.made[-1] == ["a", *(f"motion {name}" for both in names for name in both)]
    # Another worker reads what the first has made, and what it was made from.
    assert house.motions().around(house.part) == one

    (tmp_path / "b1.flo").write_text("another")
    other = house.motions().around(house.part)
    assert other[0] == [b"packed 3"]
    assert {a.uri for a, b in zip(one[1], other[1], strict=True) if a != b} == {"b1.flo"}
    (tmp_path / "b1.flo").unlink()
    with pytest.raises(InputError, match=r"There is no file b1\.flo"):
        house.motions().around(house.part)


def test_a_frame_depends_on_the_motion_between_it_and_those_that_it_holds_to_alone():
    part = part_of(3, (2, 5), 0, tuple("abcdefg"))
    assert given_between(part) == []
    part = replace(part, given=tuple((f"f{k}", f"b{k + 1}") for k in range(6)))
    assert given_between(part) == ["f2", "b3", "f3", "b4", "f4", "b5"]
    # Round a loop.
    part = replace(part_of(5, (0, 4), 0, tuple("abcdefa")), given=part.given)
    assert given_between(part) == ["f4", "b5", "f5", "b6"]
