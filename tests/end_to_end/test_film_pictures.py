"""A job with a film, really painted: the frames are those of ``stylize_film``, bit for bit."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.jobfile.job import open_output
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from stylize import Recipe, stylize_film
from stylize.film.structure import KEY_DISTANCE
from stylize.pictures.codec import encode
from stylize.video.film import open_film
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter
from tests.stylize.film.clips import ball, pan
from tests.support.farm import ROOT, TINY_RECIPE, stylefarm, write_job


def write_film(folder: Path, made: list[np.ndarray], **entry: object) -> Path:
    (folder / "shots").mkdir(parents=True)
    for number, frame in enumerate(made, 1001):
        Image.fromarray(frame).save(folder / f"shots/a.{number}.png")
    pairs = [{"film": "shots/a.####.png", "style": "styles/s0.png", **entry}]
    recipe = {"size": 48, "start_size": None, "steps": 3, "precision": "float32"}
    return write_job(folder, photos=0, styles=1, pairs=pairs, recipe=recipe)


def painted(job: Path) -> dict[int, np.ndarray]:
    """The pictures by the numbers of their frames."""
    storage = open_output(load_job(job))
    found = {}
    for record in Records(storage).all():
        assert record.output is not None, record.error
        with Image.open(job.parent / "out" / record.output.key) as image:
            found[record.film.number] = np.asarray(image.convert("RGB"))
    return found


@pytest.mark.parametrize("loop", [False, True])
def test_a_farm_paints_what_one_process_paints(tmp_path: Path, loop: bool):
    clip = ball(2 * KEY_DISTANCE + 10, 32, 48, speed=0.4)
    frames = [*clip.frames, *([] if loop else pan(3, 32, 48).frames)]
    job = write_film(tmp_path, frames, **({"loop": True} if loop else {}))
    ran = stylefarm("run", job, "--pool", "inline")
    assert ran.returncode == 0, ran.stderr
    found = painted(job)
    assert sorted(found) == list(range(1001, 1001 + len(frames)))

    spec = load_job(job).spec
    made = Recipe(**{**TINY_RECIPE, **spec.recipe, "weights": str(tmp_path / "tiny.safetensors")})
    style = tmp_path / "styles/s0.png"
    for frame in stylize_film(frames, style, made, loop=loop, device="cpu"):
        rgb = frame.picture.rgb[0].permute(1, 2, 0).numpy()
        assert np.array_equal((rgb * 255).round().astype(np.uint8), found[1001 + frame.index])


def test_a_film_file_is_painted_as_its_frames_are(tmp_path: Path):
    frames = ball(6, 32, 48, speed=0.8).frames
    job = write_film(tmp_path, frames, film="clip.mp4", cuts="none", frames="2-5")
    with FilmWriter(tmp_path / "clip.mp4", (48, 32), steady(Fraction(24), 6)) as writer:
        for frame in frames:
            writer.write(frame)
    ran = stylefarm("run", job, "--pool", "inline")
    assert ran.returncode == 0, ran.stderr
    found = painted(job)

    spec = load_job(job).spec
    made = Recipe(**{**TINY_RECIPE, **spec.recipe, "weights": str(tmp_path / "tiny.safetensors")})
    with open_film(tmp_path / "clip.mp4") as film:
        shown = (frame.rgb for frame in film.frames(1, 5))
        for frame in stylize_film(shown, tmp_path / "styles/s0.png", made, device="cpu"):
            rgb = frame.picture.rgb[0].permute(1, 2, 0).numpy()
            assert np.array_equal((rgb * 255).round().astype(np.uint8), found[2 + frame.index])
    names = sorted(path.name for path in (tmp_path / "out/images").iterdir())
    assert [name.partition("-")[0] for name in names] == ["clip"] * 4
    assert [name.split(".")[1][:6] for name in names] == ["000002", "000003", "000004", "000005"]


def test_alpha_goes_from_film_to_film(tmp_path: Path):
    """From ProRes by way of painted frames to ProRes; and one process keeps it as a farm does."""
    frames = ball(3, 32, 48, speed=0.8).frames
    how = {"codec": "prores", "quality": 100}
    job = write_film(tmp_path, frames, film="clip.mov", cuts="none", video=how)
    size, timing = (48, 32), steady(Fraction(24), 3)
    with FilmWriter(tmp_path / "clip.mov", size, timing, alpha=True, **how) as writer:
        for at, frame in enumerate(frames):
            alpha = np.full((32, 48, 1), 255, frame.dtype)
            alpha[:, : 8 * at] = 80  # the first is opaque
            alpha[:, : 8 * max(0, at - 1)] = 0  # and of the last, a part is clear
            writer.write(np.concatenate([frame, alpha], 2))
    ran = stylefarm("run", job, "--pool", "inline")
    assert ran.returncode == 0, ran.stderr

    kept = {}
    for record in Records(open_output(load_job(job))).all():
        with Image.open(tmp_path / "out" / record.output.key) as image:
            kept[record.film.number] = np.asarray(image)
    assert {number: picture.shape[2] for number, picture in kept.items()} == {1: 4, 2: 4, 3: 4}
    (made,) = (tmp_path / "out/videos").glob("*.mov")
    with open_film(tmp_path / "clip.mov") as film, open_film(made) as video:
        assert video.facts.has_alpha
        for at in range(3):
            given, got = (
                film.frame(at).values[..., 3] / 65535,
                video.frame(at).values[..., 3] / 65535,
            )
            assert np.abs(given - got).max() < 0.5 / 255 + 1.5 / 1023

    recipe = {**TINY_RECIPE, **load_job(job).spec.recipe}
    made_by = Recipe(**{**recipe, "weights": str(tmp_path / "tiny.safetensors")})
    for frame in stylize_film(
        tmp_path / "clip.mov", tmp_path / "styles/s0.png", made_by, cuts="none", device="cpu"
    ):
        with Image.open(io.BytesIO(encode(frame.picture))) as image:
            assert np.array_equal(np.asarray(image), kept[frame.index + 1])


def test_a_cut_is_found_and_kept(tmp_path: Path):
    frames = [*ball(5, 64, 96).frames, *pan(4, 64, 96).frames]
    job = write_film(tmp_path, frames)
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    records = {r.film.index: r for r in Records(open_output(load_job(job))).all()}
    assert [index for index, record in sorted(records.items()) if not record.film.needs] == [0, 5]
    assert records[5].steps == records[0].steps > records[1].steps
    again = stylefarm("run", job, "--pool", "inline")
    assert "9 done already" in again.stderr + again.stdout


def test_without_opencv_a_film_is_one_sentence(tmp_path: Path):
    job = write_film(tmp_path, ball(2, 32, 48).frames, cuts="none")
    (tmp_path / "absent" / "cv2").mkdir(parents=True)
    (tmp_path / "absent/cv2/__init__.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path / 'absent'}{os.pathsep}{ROOT}"
    ran = stylefarm("run", job, "--pool", "inline", PYTHONPATH=path)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].endswith(
        "pairs[0].film: films need OpenCV, which is not installed: pip install 'stylefarm[film]'"
    )
