"""Frames of film files as pictures, and films of them in jobs."""

from __future__ import annotations

import io
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.errors import InputError, InputNotFoundError, JobFileError
from jobs.inputs.reader import Inputs
from jobs.jobfile.parse import parse_job
from jobs.tasks.todo import Agenda
from stylize.video.film import open_film
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter
from tests.stylize.video.support import X264, damage, moving

COUNT = 40


def write_clip(path: Path, count: int = COUNT, **how: object) -> Path:
    """A grey square that moves over noise, one pixel a frame."""
    ground = np.random.default_rng(0).integers(60, 120, (48, 64, 3), dtype=np.uint8)
    with FilmWriter(path, (64, 48), steady(Fraction(24), count), **how) as writer:
        for k in range(count):
            frame = ground.copy()
            frame[10:26, k : k + 16] = 200
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("films") / "clip.mp4")


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def test_frames_are_pictures_in_any_order(clip: Path):
    inputs = Inputs(clip.parent)
    with open_film(clip) as film:
        frames = [frame.rgb for frame in film.frames()]
    assert inputs.frame_count("clip.mp4") == COUNT
    for number in (1, 2, 4, 3, 5, 40, 7, 6, 30, 30):
        read = inputs.read(f"clip.mp4::{number:06d}")
        assert np.array_equal(pixels(read.data), frames[number - 1])
        assert read.data == Inputs(clip.parent).read(f"clip.mp4::{number}").data
    there = inputs.stat("clip.mp4::000007")
    assert there is not None
    assert there.modified == clip.stat().st_mtime
    assert inputs.stat("clip.mp4::000041") is None
    assert inputs.expand("clip.mp4::00003*") == [f"clip.mp4::{n:06d}" for n in range(30, 40)]


def test_a_damaged_frame_is_no_fault_of_those_after_it(tmp_path: Path):
    path = moving(tmp_path / "a.mp4", "-an", *X264, "-g", "1", seconds=0.4)
    damage(path, 4)
    inputs = Inputs(tmp_path)
    read = []
    for number in range(1, 12):
        try:
            inputs.read(f"a.mp4::{number:06d}")
            read.append(number)
        except InputError as error:
            assert "a.mp4 is damaged: its frame at 0.100 s" in str(error)  # noqa: PT017
    assert read == [1, 2, 3, *range(5, 12)]


def test_deep_films_are_deep_pictures(tmp_path: Path):
    write_clip(tmp_path / "deep.mkv", 3, codec="ffv1", bits=16)
    data = Inputs(tmp_path).read("deep.mkv::000002").data
    assert data[24] == 16  # PNG's bits per channel
    with open_film(tmp_path / "deep.mkv") as film:
        expected = film.frame(1).rgb
    import imagecodecs

    assert np.array_equal(imagecodecs.png_decode(data), expected)


def test_films_with_alpha_are_pictures_with_alpha(tmp_path: Path):
    values = np.random.default_rng(1).integers(0, 255, (48, 64, 4), dtype=np.uint8)
    how = {"codec": "ffv1", "alpha": True}
    with FilmWriter(tmp_path / "clip.mkv", (64, 48), steady(Fraction(24), 2), **how) as writer:
        writer.write(values)
        writer.write(values[::-1])
    data = Inputs(tmp_path).read("clip.mkv::000002").data
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), values[::-1])


def test_what_cannot_be_read_is_one_sentence(clip: Path, tmp_path: Path):
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:2000])
    (tmp_path / "text.mp4").write_text("no film")
    inputs = Inputs(tmp_path)
    for name in ("cut.mp4", "text.mp4"):
        with pytest.raises(InputError, match=name):
            inputs.read(f"{name}::000001")
    with pytest.raises(InputError, match=r"There is no file gone\.mp4"):
        inputs.frame_count("gone.mp4")
    shutil.copy(clip, tmp_path / "clip.mp4")
    with pytest.raises(
        InputNotFoundError, match=r"There is no frame 000041 in clip.mp4, which has 40"
    ):
        inputs.read("clip.mp4::000041")


def test_a_film_that_is_replaced_is_read_anew(clip: Path, tmp_path: Path):
    shutil.copy(clip, tmp_path / "clip.mp4")
    inputs = Inputs(tmp_path)
    assert inputs.frame_count("clip.mp4") == COUNT
    write_clip(tmp_path / "clip.mp4", 7)
    assert inputs.frame_count("clip.mp4") == 7


def agenda(folder: Path, entry: str) -> Agenda:
    text = f"output: out\npairs:\n- {{style: w.jpg, cuts: none, {entry}}}\n"
    return Agenda(parse_job(text.encode(), "job.yaml", folder), lambda recipe: "digest")


def test_a_film_in_a_job(clip: Path):
    tasks = list(agenda(clip.parent, "film: clip.mp4").tasks())
    assert len(tasks) == COUNT
    assert tasks[0].content == "clip.mp4::000001"
    assert tasks[0].name == "clip--w.000001"
    some = list(agenda(clip.parent, "film: ./clip.mp4, frames: 3-9x2").tasks())
    assert sorted(task.content for task in some) == [f"clip.mp4::{n:06d}" for n in (3, 5, 7, 9)]
    # The same frames are the same tasks however many follow.
    shorter = {task.id for task in agenda(clip.parent, "film: clip.mp4, frames: 1-33").tasks()}
    assert shorter < {task.id for task in tasks}


def test_frames_that_a_film_does_not_have(clip: Path):
    with pytest.raises(
        JobFileError, match=r"frames: clip\.mp4 has the frames 1-40, by their order"
    ):
        agenda(clip.parent, "film: clip.mp4, frames: 30-50")
