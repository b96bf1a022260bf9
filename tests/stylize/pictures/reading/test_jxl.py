"""JPEG XL: every depth, alpha and colour space, compared with what djxl and the values themselves say."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from stylize.errors import PictureError
from stylize.pictures.reading import open as opening
from stylize.pictures.reading.colours import to_rgb
from stylize.pictures.reading.decoders.jxl import size_of
from stylize.pictures.reading.open import open_raster

pillow_jxl = pytest.importorskip("pillow_jxl")
RNG = np.random.default_rng(3)


def ramp(shape: tuple[int, ...], kind: Any) -> Any:
    values = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    white = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1
    return (values * white).astype(kind)


def by_pillow(pixels: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JXL", **how)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_value_is_read(channels: int, kind: Any) -> None:
    pixels = ramp((40, 60, channels), kind)
    raster = open_raster(imagecodecs.jpegxl_encode(pixels.squeeze(), lossless=True), "a.jxl")
    colours = channels - (channels in (2, 4))
    assert raster.model == ("grey" if colours == 1 else "rgb")
    assert raster.values.dtype == kind
    assert (raster.values == pixels[..., :colours]).all()
    if colours < channels:
        assert raster.opacity is not None
        assert np.allclose(raster.opacity * np.iinfo(kind).max, pixels[..., -1], atol=0.01)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_floats_are_read_in_full(kind: Any) -> None:
    pixels = ramp((40, 60, 3), kind)
    raster = open_raster(imagecodecs.jpegxl_encode(pixels, lossless=True), "a.jxl")
    assert np.array_equal(raster.values, pixels.astype(np.float32))


needs_cjxl = pytest.mark.skipif(shutil.which("cjxl") is None, reason="needs Debian's libjxl-tools")


@needs_cjxl
@pytest.mark.parametrize(("distance", "most"), [("0", 1 / 255), ("0.1", 4 / 255)])
def test_a_profile_counts(tmp_path: Path, distance: str, most: float) -> None:
    """Adobe RGB; the lossy one is decoded to linear light by libjxl, with a profile that says so."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16], pixels[16:] = (180, 90, 60), (60, 140, 200)
    Image.fromarray(pixels).save(
        tmp_path / "a.png", icc_profile=imagecodecs.cms_profile("adobergb")
    )
    expected = to_rgb(open_raster(tmp_path / "a.png"))
    assert np.abs(expected - pixels / 255).max() > 0.05
    words = ["cjxl", "a.png", "a.jxl", "-d", distance]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    found = to_rgb(open_raster(tmp_path / "a.jxl"))
    assert np.abs(found - expected)[4:12].max() < most
    assert np.abs(found - expected)[20:28].max() < most


@pytest.mark.parametrize("width", [1, 8, 40, 64, 300, 9000])
@pytest.mark.parametrize("height", [1, 8, 30, 48, 257])
def test_the_size_is_known_before_decoding(width: int, height: int) -> None:
    pixels = np.zeros((height, width), np.uint8)
    for data in (
        imagecodecs.jpegxl_encode(pixels, lossless=True),
        imagecodecs.jpegxl_encode(pixels.astype(np.uint16), lossless=True),  # in a container
        imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True),
    ):
        assert size_of(data) == (width, height)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = imagecodecs.jpegxl_encode(np.zeros((400, 400), np.uint8), lossless=True)
    monkeypatch.setattr(opening, "PIXEL_LIMIT", 100_000)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", None)
    with pytest.raises(PictureError, match=r"^a\.jxl has 400 x 400 px"):
        open_raster(data, "a.jxl")


def test_the_first_frame_counts() -> None:
    frames = RNG.integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    raster = open_raster(imagecodecs.jpegxl_encode(frames, lossless=True), "a.jxl")
    assert (raster.values == frames[0]).all()


@pytest.mark.parametrize("cut", [2, 11, 20, 60])
def test_one_that_is_cut_short_is_said_to_be(cut: int) -> None:
    data = by_pillow(RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8), lossless=True)
    with pytest.raises(PictureError, match=r"^a\.jxl (is damaged or cut short|is not a picture)"):
        open_raster(data[:cut], "a.jxl")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl.JpegXLImagePlugin", None)
    data = imagecodecs.jpegxl_encode(np.zeros((8, 8), np.uint8))
    with pytest.raises(PictureError, match=r"pip install 'stylefarm\[jxl\]'"):
        open_raster(data, "a.jxl")


@needs_cjxl
@pytest.mark.parametrize("options", [["-d", "0"], ["-d", "1"], ["-d", "0", "--container=1"]])
def test_what_cjxl_writes_is_what_djxl_reads(tmp_path: Path, options: list[str]) -> None:
    pixels = np.stack(np.meshgrid(ramp((64,), np.uint8), ramp((48,), np.uint8)), axis=2)
    image = Image.fromarray(np.dstack([pixels, pixels[..., :1] // 2]))
    image.save(tmp_path / "a.png")
    for words in (["cjxl", "a.png", "a.jxl", *options], ["djxl", "a.jxl", "b.png"]):
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    found = to_rgb(open_raster(tmp_path / "a.jxl"))
    expected = to_rgb(open_raster(tmp_path / "b.png"))
    assert np.abs(found - expected).max() <= 1.5 / 255


def test_half_floats_are_read_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    """pillow-jxl-plugin, which is asked for the profile alone, warns that it makes them longer."""
    open_raster(imagecodecs.jpegxl_encode(ramp((40, 60), np.float16), lossless=True), "a.jxl")
    assert not recwarn.list
