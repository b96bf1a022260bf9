"""A starter job: a folder with photos, paintings and a commented job file."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from jobs.errors import UsageError
from jobs.examples.paintings import NAMES, draw

JOB_FILE = "job.yaml"

SAMPLE_PHOTOS = ("astronaut.png", "coffee.png")
"""Files of scikit-image's wheel: NASA's portrait of Eileen Collins, and a cup of coffee."""

PAINTING_WIDTH = 768
"""Pixels."""


def _be_quiet(_: str) -> None:
    pass


def write_starter(
    folder: Path, photos: Sequence[Path] = (), say: Callable[[str], None] = _be_quiet
) -> Path:
    """Write a starter job: a job file, photos and paintings.

    Args:
        folder: Created where it does not exist; nothing in it is overwritten.
        photos: Copied into the folder; none: those of scikit-image.
        say: Takes a line before the paintings are drawn, which takes seconds; by default, nothing is said.

    Returns:
        The path of the job file. It is written last, so a folder with a job file is complete.

    Raises:
        UsageError: The folder has a job file, or another photo of the same name; a photo does not exist; or
            the folder cannot be written.
    """
    job_file = folder / JOB_FILE
    sources = list(photos) or _sample_photos()
    try:
        if job_file.exists():
            raise UsageError(
                f"{job_file} already exists; choose another folder, or remove it first"
            )
        copies = _copies(sources, folder / "photos")
        for name in ("photos", "paintings"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for target, source in copies.items():
            shutil.copyfile(source, target)
        paintings = {name: folder / "paintings" / f"{name}.png" for name in NAMES}
        missing = {name: path for name, path in paintings.items() if not path.exists()}
        if missing:
            say("drawing paintings ...")
        for name, path in missing.items():
            draw(name, PAINTING_WIDTH).save(path)
        # The last file, so that a folder with a job file is complete.
        job_file.write_text(files(__package__).joinpath("starter.yaml").read_text("utf-8"), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error.strerror or error})") from error
    return job_file


def _copies(sources: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the source of each photo by its target; raise UsageError where one would overwrite another."""
    copies: dict[Path, Path] = {}
    for source in sources:
        target = folder / source.name
        if not source.is_file():
            raise UsageError(f"there is no photo {source}")
        if target in copies:
            raise UsageError(f"{copies[target]} and {source} have the same name; rename one")
        if target.exists():
            if target.samefile(source):
                continue  # the photo is there already
            raise UsageError(f"{target} already exists; rename {source}, or choose another folder")
        copies[target] = source
    return copies


def _sample_photos() -> list[Path]:
    # find_spec runs no code of scikit-image, which would import SciPy.
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        photos = [Path(folder) / "data" / name for name in SAMPLE_PHOTOS]
        if all(photo.is_file() for photo in photos):
            return photos
    raise UsageError(
        "the sample photos come with scikit-image: pip install 'stylefarm[demo]', or give photos of "
        "your own: stylefarm init DIR --photo a.jpg --photo b.jpg"
    )
