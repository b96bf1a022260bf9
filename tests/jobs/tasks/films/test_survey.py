"""Cuts are looked for once, kept in the output, and looked for again when a frame is another."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.errors import JobFileError
from jobs.inputs.reader import Inputs
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from jobs.tasks.films.frames import Frames, Numbered, named_frames
from jobs.tasks.films.survey import LOOKED_AT, Survey, unreadable_text
from jobs.tasks.todo import Agenda
from stylize.film import cv
from tests.jobs.support import read
from tests.support.rigs import missing

FRAMES = named_frames(Numbered("a.", 4, ".png"), range(1, 9))


class Seen:
    """Finds a cut where the brightness jumps, and remembers what it has seen."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.means: list[float] = []
        self.calls = 0

    def __call__(self, frames: Iterator[Any]) -> list[int]:
        self.calls += 1
        found, before = [], None
        for index, frame in enumerate(frames):
            assert frame.dtype == np.uint8
            self.shapes.append(frame.shape)
            self.means.append(float(frame.mean()))
            if before is not None and abs(frame.mean() - before) > 50:
                found.append(index)
            before = frame.mean()
        return found


def write(base: Path, number: int, grey: int, size: tuple[int, int] = (64, 48)) -> Path:
    path = base / f"a.{number:04}.png"
    Image.new("RGB", size, (grey, grey, grey)).save(path)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    for number in range(1, 9):
        write(tmp_path, number, 30 if number < 4 else 200)
    return tmp_path


def starts(base: Path, seen: Seen, frames: Frames = FRAMES) -> list[int]:
    return Survey(Inputs(base), FolderStorage(base / "out"), seen).look(frames).starts


def test_cuts_are_found_and_kept(film: Path) -> None:
    seen, again = Seen(), Seen()

    assert starts(film, seen) == [0, 3]
    assert seen.means == pytest.approx([30] * 3 + [200] * 5)
    assert starts(film, again) == [0, 3]
    assert again.calls == 0
    assert (film / "out" / keys.film_cuts(FRAMES.id)).is_file()


def test_another_frame_or_a_longer_film_is_looked_at_again(film: Path) -> None:
    starts(film, Seen())

    path = write(film, 7, 30)
    os.utime(path, (1, 1))
    seen = Seen()
    assert starts(film, seen) == [0, 3, 6, 7]
    assert len(seen.shapes) == 8
    longer = named_frames(Numbered("a.", 4, ".png"), range(1, 10))
    write(film, 9, 30)
    assert longer.id == FRAMES.id
    assert starts(film, Seen(), longer) == [0, 3, 6, 7, 8]


def test_what_was_kept_and_is_damaged_is_looked_for_again(film: Path) -> None:
    starts(film, Seen())
    for data in (b"", b"{}", b'{"version": 9, "frames": "", "starts": [0]}', b"[]"):
        FolderStorage(film / "out").put(keys.film_cuts(FRAMES.id), data)
        assert starts(film, Seen()) == [0, 3]


def test_frames_of_another_shape_begin_a_shot(film: Path) -> None:
    for number in (6, 7):
        write(film, number, 200, (48, 64))

    seen = Seen()
    assert starts(film, seen) == [0, 3, 5, 7]
    assert seen.calls == 3


def test_a_frame_that_cannot_be_read_counts_as_the_one_before(film: Path) -> None:
    (film / "a.0002.png").write_bytes(b"no picture")
    (film / "a.0006.png").unlink()

    assert starts(film, Seen()) == [0, 3]


def test_frames_that_cannot_be_read_are_named_also_later(film: Path) -> None:
    for number in (2, 3, 7):
        (film / f"a.{number:04}.png").write_bytes(b"no picture")
    (film / "a.0005.png").write_bytes(b"")  # which shows without reading it
    for _ in range(2):
        seen = Seen()
        found = Survey(Inputs(film), FolderStorage(film / "out"), seen).look(FRAMES)
        assert found.unreadable == [1, 2, 6]
        assert "a.0002.png" in found.why
        text = unreadable_text("a.####.png", FRAMES.numbers, found)
        assert text.startswith(
            "frames 2-3,7 of a.####.png cannot be read, and what holds to them fails, too; "
            "to do without, write frames: 1,4-6,8 (a.0002.png "
        )
    assert seen.calls == 0


def test_what_can_be_read_by_now_is_not_named(film: Path) -> None:
    path, status = film / "a.0002.png", (film / "a.0002.png").stat()
    whole = path.read_bytes()
    path.write_bytes(b"no picture".ljust(len(whole)))
    os.utime(path, (status.st_atime, status.st_mtime))
    assert Survey(Inputs(film), FolderStorage(film / "out"), Seen()).look(FRAMES).unreadable == [1]
    path.write_bytes(whole)  # as when what reads it is installed: the file is no other
    os.utime(path, (status.st_atime, status.st_mtime))
    assert Survey(Inputs(film), FolderStorage(film / "out"), Seen()).look(FRAMES).unreadable == []


def test_a_finder_that_stops_early_loses_no_frame(film: Path) -> None:
    write(film, 8, 200, (48, 64))

    survey = Survey(Inputs(film), FolderStorage(film / "out"), lambda frames: [])

    assert survey.look(FRAMES).starts == [0, 7]


def test_frames_are_looked_at_small_and_in_their_colours(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.0001.png")
    Image.new("L", (4000, 3), 90).save(tmp_path / "a.0002.png")
    deep = (np.full((40, 40), 0.5) * 65535).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.0003.png")
    seen: list[Any] = []

    def look(frames: Iterator[Any]) -> list[int]:
        seen.extend(frames)
        return []

    frames = named_frames(Numbered("a.", 4, ".png"), range(1, 4))
    Survey(Inputs(tmp_path), FolderStorage(tmp_path / "out"), look).look(frames)

    expected = noise.reshape(180, 4, 320, 4, 3).mean((1, 3))
    assert seen[0].shape == (180, 320, 3)
    assert max(seen[0].shape) <= LOOKED_AT
    assert np.abs(seen[0] - expected).max() <= 0.5
    assert seen[1].shape[2] == 3
    assert (seen[1] == 90).all()
    assert np.abs(seen[2].astype(int) - 128).max() <= 1


def scene(seed: int) -> Image.Image:
    patches = np.random.default_rng(seed).integers(0, 255, (45, 80, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((640, 360), Image.Resampling.BICUBIC)


def agenda(base: Path) -> Agenda:
    text = "output: out\npairs: [{film: a.####.png, style: w.jpg}]"
    return Agenda(read(text, base), lambda recipe: "digest")


def test_a_film_is_cut_where_another_scene_begins(tmp_path: Path) -> None:
    try:
        import cv2  # noqa: F401
    except ImportError:
        missing("OpenCV is not installed")
    for number in range(1, 13):
        scene(number > 7).crop((2 * number, 0, 2 * number + 320, 180)).save(
            tmp_path / f"a.{number:04}.png"
        )

    found = agenda(tmp_path)

    assert not (tmp_path / "out").exists()  # only who asks for tasks has them looked for
    assert found.films[0].shots == [(0, 7), (7, 12)]
    assert [
        task.part.needs for task in found.tasks() if task.part and task.part.index in (0, 7)
    ] == [
        (),
        (),
    ]


def test_without_opencv_it_is_told_what_to_write(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    cv.opencv.cache_clear()

    with pytest.raises(JobFileError) as caught:
        list(agenda(film).tasks())

    assert str(caught.value) == (
        "job.yaml:2: pairs[0].film: films need OpenCV, which is not installed: pip install 'stylefarm[film]'"
    )
