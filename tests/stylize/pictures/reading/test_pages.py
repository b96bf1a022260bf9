"""Files of several pages, frames or parts are told from those of one picture."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from stylize.pictures.reading import pages
from stylize.pictures.reading.pages import further_pages

FRAMES = [np.full((24, 32, 3), 60 * k, np.uint8) for k in range(3)]
IMAGES = [Image.fromarray(frame) for frame in FRAMES]


def saved(image_format: str, count: int) -> bytes:
    file = io.BytesIO()
    IMAGES[0].save(file, image_format, save_all=True, append_images=IMAGES[1:count])
    return file.getvalue()


def tiff(*kinds: int) -> bytes:
    """A TIFF with a page of each NewSubfileType."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for kind in kinds:
            # A mask has one bit for each pixel.
            pixels = np.ones((24, 32), bool) if kind == 4 else FRAMES[0]
            photometric = "minisblack" if kind == 4 else "rgb"
            writer.write(pixels, photometric=photometric, subfiletype=kind, metadata=None)
    return file.getvalue()


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_has_frames(image_format: str) -> None:
    assert further_pages(saved(image_format, 3)) == "has 3 frames, of which the first counts"
    assert further_pages(saved(image_format, 1)) is None


def test_a_tiff_has_pages() -> None:
    assert further_pages(saved("TIFF", 3)) == "has 3 pages, of which the first counts"
    assert further_pages(tiff(0, 0)) == "has 2 pages, of which the first counts"
    assert further_pages(tiff(0)) is None


def test_no_more_pages_are_counted_than_say_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of a damaged file may have no end."""
    monkeypatch.setattr(pages, "MOST_PAGES", 5)
    assert further_pages(tiff(*[0] * 4)) == "has 4 pages, of which the first counts"
    assert further_pages(tiff(*[0] * 7)) == "has 5 or more pages, of which the first counts"


def test_smaller_versions_and_masks_of_a_tiff_are_no_pages() -> None:
    assert further_pages(tiff(0, 1, 1, 4)) is None


def test_the_other_pictures_of_a_telephones_jpeg_are_no_pages() -> None:
    """They are its brightness, its depth, or the view of the other lens."""
    assert further_pages(saved("MPO", 2)) is None


def test_a_jxl_may_be_an_animation() -> None:
    assert (
        further_pages(imagecodecs.jpegxl_encode(np.stack(FRAMES)))
        == "is an animation, of which the first frame counts"
    )
    assert further_pages(imagecodecs.jpegxl_encode(FRAMES[0])) is None


def test_an_exr_has_parts(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    for count in (1, 3):
        parts = [
            exr.Part({}, {"RGB": frame.astype(np.float32)}, f"part {k}")
            for k, frame in enumerate(FRAMES[:count])
        ]
        exr.File(parts).write(str(tmp_path / "a.exr"))
        found = further_pages((tmp_path / "a.exr").read_bytes())
        assert found == (
            None if count == 1 else "has several parts, of which the first with colours counts"
        )


def test_a_heic_has_pictures() -> None:
    heif = pytest.importorskip("pillow_heif")
    for count in (1, 3):
        file = io.BytesIO()
        several = heif.from_pillow(IMAGES[0])
        for image in IMAGES[1:count]:
            several.add_from_pillow(image)
        several.save(file)
        found = further_pages(file.getvalue())
        assert found == (None if count == 1 else "has 3 pictures, of which the first counts")


@pytest.mark.parametrize("kept", [0, 8, 20, 40, 100])
@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_nothing_is_said_of_a_damaged_file(image_format: str, kept: int) -> None:
    assert further_pages(saved(image_format, 1)[:kept]) is None
