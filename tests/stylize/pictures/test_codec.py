"""Any picture becomes upright sRGB or a PictureError; any render becomes the same tagged bytes."""

from __future__ import annotations

import io
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pillow_jxl  # noqa: F401 - for Pillow to open what is written
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image, ImageCms

from stylize import PictureError
from stylize.pictures import codec
from stylize.pictures.codec import (
    EXTENSIONS,
    BitDepth,
    Format,
    as_stored,
    decode,
    decode_painted,
    encode,
    read,
    to_pil,
)
from stylize.pictures.gamuts import profile_of
from stylize.pictures.picture import Picture, grounded, painted
from stylize.pictures.reading import open as files
from stylize.pictures.reading.colours import is_plain, to_rgb
from stylize.pictures.reading.open import PIXEL_LIMIT, open_raster
from tests.stylize.support import noise, photo

Pixels = NDArray[Any]


def saved(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def quarters(height: int = 32, width: int = 48) -> Image.Image:
    """Red, green / blue, white: no turn or mirroring leaves it as it was."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w], pixels[:h, w:] = (255, 0, 0), (0, 255, 0)
    pixels[h:, :w], pixels[h:, w:] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(pixels)


def pixels_of(picture: Picture) -> Pixels:
    """(H, W, 3), 0 to 255, not rounded."""
    return picture.rgb[0].permute(1, 2, 0).numpy() * 255


def colour(picture: Picture, x: int = 0, y: int = 0) -> list[float]:
    return [float(value) for value in pixels_of(picture)[y, x]]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, **more: bytes) -> bytes:
    """A PNG by hand, for what Pillow does not write. ``rows`` have their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    extra = b"".join(chunk(kind.encode(), data) for kind, data in more.items())
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def refusal(data: bytes, name: str = "wave.jpg") -> str:
    """The one sentence, beginning with the picture's name, with which it is refused."""
    with pytest.raises(PictureError) as caught:
        decode(data, name)
    text = str(caught.value)
    assert text.startswith(name)
    assert "\n" not in text
    return text


# -- formats -----------------------------------------------------------------------------------------

LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "TIFF": {},
    "BMP": {},
    "GIF": {},
    "WEBP": {"lossless": True},
}


@pytest.mark.parametrize("image_format", LOSSLESS)
def test_a_lossless_format_is_read_exactly(image_format: str) -> None:
    picture = decode(saved(quarters(), image_format, **LOSSLESS[image_format]))
    assert picture.alpha is None
    assert np.array_equal(pixels_of(picture), np.asarray(quarters()))


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_a_lossy_format_is_read_nearly(image_format: str) -> None:
    picture = decode(saved(quarters(), image_format, quality=95))
    assert colour(picture, 6, 6) == pytest.approx([255, 0, 0], abs=6)
    assert colour(picture, 40, 6) == pytest.approx([0, 255, 0], abs=6)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_tiff_may_be_compressed(compression: str) -> None:
    picture = decode(saved(quarters(), "TIFF", compression=compression))
    assert np.array_equal(pixels_of(picture), np.asarray(quarters()))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"quality": 30}])
def test_a_jpeg_may_be_of_any_kind(options: dict[str, Any]) -> None:
    assert decode(saved(quarters(), "JPEG", **options)).rgb.shape == (1, 3, 32, 48)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_many_is_taken(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    data = saved(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert colour(decode(data), 4, 4) == pytest.approx([255, 0, 0], abs=3)


def test_a_picture_has_the_promised_layout() -> None:
    rgb = decode(saved(quarters())).rgb
    assert (rgb.shape, rgb.dtype, rgb.device.type) == ((1, 3, 32, 48), torch.float32, "cpu")
    assert rgb.is_contiguous()
    assert (rgb.min(), rgb.max()) == (0, 1)


# -- turned pictures ---------------------------------------------------------------------------------

# How a camera held in each of the eight ways stores an upright picture. (EXIF 2.3: where the stored
# picture's first row and first column lie in the scene.)
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p[:, ::-1].swapaxes(0, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: p[::-1].swapaxes(0, 1),
}


def turned(orientation: int, image_format: str) -> bytes:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(quarters()))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, image_format, exif=exif, **LOSSLESS.get(image_format, {}))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_turned_upright(orientation: int, image_format: str) -> None:
    found = pixels_of(decode(turned(orientation, image_format)))
    assert found.shape == (32, 48, 3)
    # The middles of the quarters, where a JPEG is flat too.
    assert found[8::16, 12::24] == pytest.approx(np.asarray(quarters())[8::16, 12::24], abs=3)


@pytest.mark.parametrize(
    "exif", [b"Exif\x00\x00rubbish", b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x09"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_is_ignored(exif: bytes) -> None:
    assert decode(saved(quarters(), "JPEG", exif=exif)).rgb.shape == (1, 3, 32, 48)


# -- colours -----------------------------------------------------------------------------------------


def test_cmyk_becomes_rgb() -> None:
    picture = decode(saved(quarters().convert("CMYK"), "JPEG", quality=95))
    assert colour(picture, 6, 6) == pytest.approx([255, 0, 0], abs=6)
    assert colour(picture, 40, 26) == pytest.approx([255, 255, 255], abs=6)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_becomes_rgb(mode: str) -> None:
    picture = decode(saved(Image.new(mode, (3, 2), 255)))
    assert picture.rgb.shape == (1, 3, 2, 3)
    assert picture.rgb.min() == 1


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_grey_of_16_bits_keeps_them(image_format: str) -> None:
    values = np.array([[0, 1, 255, 256, 257], [1000, 30000, 32768, 65534, 65535]], np.uint16)
    picture = decode(saved(Image.fromarray(values), image_format))
    for channel in picture.rgb[0]:
        assert torch.equal(
            (channel.double() * 65535).round().int(), torch.tensor(values.astype(int))
        )


def test_colour_of_16_bits_is_read() -> None:
    row = struct.pack(">6H", 1000, 30000, 65535, 0, 32768, 257)
    picture = decode(png(2, 1, 16, 2, b"\x00" + row))
    expected = np.array([[1000, 30000, 65535], [0, 32768, 257]]) / 257
    assert pixels_of(picture)[0] == pytest.approx(expected, abs=1)


def test_grey_floats_span_0_to_1() -> None:
    data = saved(Image.fromarray(np.array([[0, 0.25, 1]], np.float32)), "TIFF")
    assert decode(data).rgb[0, 0].tolist() == [[0, 0.25, 1]]


@pytest.mark.parametrize("bad", [-1.0, 255.0, np.nan, np.inf])
def test_grey_floats_of_another_range_are_refused(bad: float) -> None:
    with pytest.raises(PictureError, match=r"0 to 1|not numbers"):
        decode(saved(Image.fromarray(np.array([[0, bad]], np.float32)), "TIFF"))


def test_highlights_of_floats_are_clipped() -> None:
    data = saved(Image.fromarray(np.array([[0, 0.25, 0.5, 0.75, 1, 7]], np.float32)), "TIFF")
    assert decode(data).rgb[0, 0].tolist() == [[0, 0.25, 0.5, 0.75, 1, 1]]


# -- transparency ------------------------------------------------------------------------------------


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    picture = decode(saved(image, transparency=1))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[[[1, 0]]]]
    assert colour(picture) == [255, 0, 0]
    assert colour(picture, 1) == [255, 255, 255]  # white, not the hidden blue


def test_rgba_is_laid_over_white() -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 0, 51))  # a fifth
    picture = decode(saved(image))
    assert picture.alpha is not None
    assert picture.alpha.shape == (1, 1, 1, 1)
    assert picture.alpha.item() == pytest.approx(0.2)
    assert colour(picture) == pytest.approx([244, 224, 204])


def test_grey_with_alpha() -> None:
    picture = decode(saved(Image.new("LA", (2, 2), (100, 51))))
    assert picture.alpha is not None
    assert colour(picture) == pytest.approx([224] * 3)


@pytest.mark.parametrize(("bits", "colour_type", "samples"), [(8, 2, 3), (8, 0, 1), (16, 0, 1)])
def test_one_colour_may_be_declared_transparent(bits: int, colour_type: int, samples: int) -> None:
    """PNG's tRNS chunk on a picture without an alpha channel."""
    key = struct.pack(">H", 7) * samples
    sample = {8: ">B", 16: ">H"}[bits]
    row = b"\x00" + struct.pack(sample, 7) * samples + struct.pack(sample, 90) * samples
    picture = decode(png(2, 1, bits, colour_type, row, tRNS=key))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[[[0, 1]]]]
    assert colour(picture) == [255, 255, 255]


@pytest.mark.parametrize("image_format", ["png", "tiff"])
def test_what_was_painted_where_a_picture_is_clear_is_kept(image_format: Format) -> None:
    """Frames hold to it: what is hidden there has its part in how the rest is painted."""
    rgb, alpha = noise(1, 24, 32), noise(2, 24, 32)[:, :1].clone()
    alpha[..., :8], alpha[..., 8:16] = 0, 1
    picture = painted(rgb, alpha)
    file = encode(picture, image_format)
    again, kept = decode_painted(file), as_stored(picture)
    assert again.alpha is not None
    assert kept.alpha is not None
    assert (again.rgb - rgb).abs().max() <= 0.5 / 255 + 1e-4
    assert torch.equal(kept.rgb, again.rgb)
    assert torch.equal(kept.alpha, again.alpha)
    over_white = rgb * alpha + (1 - alpha)
    assert (decode(file).rgb - over_white).abs().max() < 1.1 / 255


def test_a_format_without_alpha_shows_a_picture_over_white() -> None:
    alpha = torch.ones(1, 1, 32, 48)
    alpha[..., :24] = 0
    with Image.open(io.BytesIO(encode(painted(noise(1, 32, 48) * 0.1, alpha), "jpeg"))) as image:
        shown = np.asarray(image)
    assert shown[:, :16].min() > 240
    assert shown[:, 32:].max() < 90


# -- grounds -----------------------------------------------------------------------------------------


def test_a_ground_has_the_colours_around_it() -> None:
    """Blue on the left, red on the right, clear but for a stripe of each."""
    pixels = np.zeros((40, 64, 4), np.uint8)
    pixels[:, 10:14] = (20, 40, 200, 255)
    pixels[:, 50:54] = (200, 40, 20, 255)
    ground = grounded(read(Image.fromarray(pixels)))
    assert ground.alpha is not None
    rgb = ground.rgb[0] * 255
    assert (rgb[:, :, 10:14] - rgb.new_tensor([20, 40, 200])[:, None, None]).abs().max() < 1e-3
    assert (rgb[1] - 40).abs().max() < 1
    assert rgb[2, :, :10].min() > 180
    assert rgb[0, :, 54:].min() > 180
    assert 60 < rgb[0, 20, 32] < 160


@settings(max_examples=40)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_ground_adds_no_colour_and_changes_none(height: int, width: int, seed: int) -> None:
    rgb, alpha = noise(seed, height, width), noise(seed + 1, height, width)[:, :1]
    alpha = torch.where(alpha < 0.6, 0, alpha)
    ground = grounded(painted(rgb, alpha)).rgb
    seen = alpha > 0
    if not bool(seen.any()):
        assert bool((ground == 1).all())
        return
    shown = rgb[0][:, seen[0, 0]]
    assert (ground[0][:, seen[0, 0]] - shown).abs().max() < 1e-5
    for channel in range(3):
        assert ground[0, channel].min() >= shown[channel].min() - 1e-5
        assert ground[0, channel].max() <= shown[channel].max() + 1e-5


def test_an_opaque_picture_has_no_ground() -> None:
    picture = Picture(noise(1, 8, 8))
    assert grounded(picture) is picture
    opaque = Picture(picture.rgb, torch.ones(1, 1, 8, 8))
    assert torch.equal(grounded(opaque).rgb, picture.rgb)
    assert grounded(opaque).alpha is opaque.alpha


def test_an_opaque_alpha_channel_is_none_except_of_a_frame() -> None:
    data = saved(quarters().convert("RGBA"))
    assert decode(data).alpha is None
    kept = decode(data, keep_opaque=True)
    assert kept.alpha is not None
    assert bool((kept.alpha == 1).all())
    assert torch.equal(kept.rgb, decode(data).rgb)
    assert Image.open(io.BytesIO(encode(kept))).mode == "RGBA"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64, ">u2"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_an_array_is_what_its_values_say(shape: tuple[int, ...], dtype: Any) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape)
    given = levels / 255 if np.dtype(dtype).kind == "f" else levels * (np.iinfo(dtype).max // 255)
    picture = read(given.astype(dtype)[::-1])

    values = levels[::-1].reshape(5, 7, -1) / 255
    alpha = values[..., 3:] if values.shape[2] == 4 else np.ones((5, 7, 1))
    shown = np.broadcast_to(values[..., :3], (5, 7, 3)) * alpha + 1 - alpha
    assert np.abs(picture.rgb[0].permute(1, 2, 0).numpy() - shown).max() < 1e-3
    assert (picture.alpha is not None) == (values.shape[2] == 4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"the array is uint8 \(4, 4, 2\)"),
        (np.zeros((4, 4, 3), np.int64), "the array is int64"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.full((4, 4, 3), 128.0), "values from 128 to 128, and floats of a picture span 0 to 1"),
        (np.full((4, 4), np.nan), "not numbers"),
        (np.full((4, 4, 4), [0.5, 0.5, 0.5, 2]), "opacity that is not from 0 to 1"),
        (np.full((4, 4, 4), [0.5, 0.5, 0.5, np.nan]), "opacity that is not from 0 to 1"),
    ],
)
def test_an_array_that_is_no_picture_is_one_sentence(values: Any, says: str) -> None:
    with pytest.raises(PictureError, match=says):
        read(values)


# -- colour profiles ---------------------------------------------------------------------------------


def swapped_profile() -> bytes:
    """sRGB in which red and green have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_honoured(image_format: str) -> None:
    red = Image.new("RGB", (16, 16), "red")
    data = saved(red, image_format, icc_profile=swapped_profile())
    assert colour(decode(data), 8, 8) == pytest.approx([0, 255, 0], abs=3)


def test_a_profile_under_transparency_is_honoured() -> None:
    image = Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    picture = decode(saved(image, icc_profile=swapped_profile()))
    assert colour(picture) == pytest.approx([204, 255, 204], abs=1)


def test_a_palette_may_have_a_profile() -> None:
    image = Image.new("RGB", (4, 4), "red").quantize(4)
    assert colour(decode(saved(image, icc_profile=swapped_profile()))) == pytest.approx(
        [0, 255, 0], abs=1
    )


@pytest.mark.parametrize("name", ["LAB", "XYZ", "rubbish", "cut short"])
def test_a_profile_that_cannot_be_used_is_ignored(name: str) -> None:
    profile = {
        "rubbish": b"no profile at all",
        "cut short": swapped_profile()[:200],
    }.get(name)
    if profile is None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]
    picture = decode(saved(quarters(), icc_profile=profile))
    assert np.array_equal(pixels_of(picture), np.asarray(quarters()))


def test_the_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decode(saved(quarters(), icc_profile=profile))
    assert pixels_of(picture) == pytest.approx(np.asarray(quarters()), abs=1)


# -- what is no picture ------------------------------------------------------------------------------


def test_no_bytes_are_refused() -> None:
    assert "empty" in refusal(b"")


@pytest.mark.parametrize("data", [b"hello, I am a text", b"<svg/>", b"%PDF-1.7\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert "JPEG, PNG" in refusal(data)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_picture_cut_short_is_refused(image_format: str, kept: float) -> None:
    data = saved(to_pil(Picture(noise(1, 64, 64))), image_format)
    refusal(data[: int(len(data) * kept)])


@pytest.mark.parametrize("bits", [1, 8])
def test_a_gigantic_picture_is_refused_before_it_is_decoded(bits: int) -> None:
    data = png(40_000, 40_000, bits, 0, b"")
    began = time.process_time()
    assert "150 million pixels" in refusal(data)
    assert time.process_time() - began < 0.5


def test_the_limit_is_the_one_it_says() -> None:
    """149 million pixels are within 150 million: this file is refused because it is cut short."""
    assert 14_900 * 10_000 < PIXEL_LIMIT < 15_100 * 10_000
    assert "limit" not in refusal(png(14_900, 10_000, 1, 0, b""))
    assert "limit" in refusal(png(15_100, 10_000, 1, 0, b""))


def test_the_limit_is_on_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIXEL_LIMIT", 32 * 48 - 1)
    assert "48 x 32 px" in refusal(saved(quarters()))
    monkeypatch.setattr(files, "PIXEL_LIMIT", 32 * 48)
    decode(saved(quarters()))


def test_only_the_formats_promised_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to an interpreter: not for files from strangers."""
    started: list[object] = []
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **_: started.append(a))
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    assert "JPEG, PNG" in refusal(eps)
    assert started == []


# -- any bytes at all --------------------------------------------------------------------------------


def small_files() -> list[bytes]:
    image = to_pil(Picture(photo(1, 9, 13)))
    see_through = image.convert("RGBA")
    see_through.putalpha(90)
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(np.arange(90, dtype=np.uint16).reshape(9, 10) * 700)
    return [
        saved(image, "JPEG", exif=exif),
        saved(image, "JPEG", progressive=True, icc_profile=swapped_profile()),
        saved(image.convert("CMYK"), "JPEG"),
        saved(see_through),
        saved(image.quantize(5), transparency=2, exif=exif),
        saved(grey),
        saved(grey, "TIFF"),
        saved(see_through, "TIFF", compression="tiff_lzw"),
        saved(image, "TIFF", icc_profile=swapped_profile()),
        saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        saved(image, "BMP"),
        saved(see_through, "WEBP"),
        saved(image, "WEBP", lossless=True, exif=exif),
    ]


FILES = small_files()


def is_picture_or_error(data: bytes) -> None:
    picture, problem = None, ""
    # A flipped bit may ask for any size; what lies below the limit is not worth waiting for.
    with mock.patch.object(files, "PIXEL_LIMIT", 1_000_000):
        try:
            picture = decode(data)
        except PictureError as error:
            problem = str(error)
    if picture is None:
        assert problem
        assert "\n" not in problem
        return
    assert picture.rgb.shape[:2] == (1, 3)
    assert 0 <= picture.rgb.min() <= picture.rgb.max() <= 1


fuzzed = settings(max_examples=150)
silent = pytest.mark.filterwarnings("ignore")  # Pillow warns about much that it survives


@silent
@fuzzed
@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_an_error(data: bytes) -> None:
    is_picture_or_error(data)


@silent
@fuzzed
@given(st.sampled_from(FILES), st.data())
def test_a_file_of_flipped_bytes_is_a_picture_or_an_error(file: bytes, data: st.DataObject) -> None:
    damaged = bytearray(file)
    places = st.integers(0, len(file) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    is_picture_or_error(bytes(damaged))


@silent
@fuzzed
@given(st.sampled_from(FILES), st.data())
def test_a_file_cut_and_patched_is_a_picture_or_an_error(file: bytes, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(file))] * 2)))
    is_picture_or_error(file[:start] + data.draw(st.binary(max_size=8)) + file[end:])


# -- out ---------------------------------------------------------------------------------------------

FORMATS: list[Format] = ["png", "jpeg", "webp", "tiff", "avif", "jxl"]


def with_alpha() -> Picture:
    return Picture(photo(1, 24, 32), noise(2, 24, 32)[:, :1])


def test_every_format_can_be_written() -> None:
    assert set(FORMATS) == set(EXTENSIONS) == set(codec.CONTENT_TYPES)


@pytest.mark.parametrize("image_format", FORMATS)
def test_what_is_written_is_tagged_srgb(image_format: Format) -> None:
    with Image.open(io.BytesIO(encode(with_alpha(), image_format))) as image:
        assert image.format == image_format.upper()
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)


@pytest.mark.parametrize("image_format", FORMATS)
def test_equal_pixels_give_equal_bytes(image_format: Format) -> None:
    once, again = (encode(with_alpha(), image_format) for _ in range(2))
    assert once == again
    # A profile made by this computer would say when, and tomorrow's bytes would be others.
    with Image.open(io.BytesIO(once)) as image:
        if image_format != "jxl":  # which has no profile, but says that it is sRGB
            assert image.info["icc_profile"][24:36] == bytes(12)


@pytest.mark.parametrize("image_format", ["png", "tiff"])
def test_a_lossless_file_comes_back_to_the_nearest_level(image_format: Format) -> None:
    picture = Picture(noise(3, 24, 32))
    back = decode(encode(picture, image_format))
    assert (back.rgb - picture.rgb).abs().max() <= 0.5001 / 255


@pytest.mark.parametrize("image_format", FORMATS)
def test_alpha_is_kept_where_the_format_has_it(image_format: Format) -> None:
    picture = with_alpha()
    assert picture.alpha is not None
    back = decode(encode(picture, image_format))
    if image_format == "jpeg":
        assert back.alpha is None
    else:
        assert back.alpha is not None
        most = (
            12 if image_format == "avif" else 0.5001
        )  # whose quality is that of the alpha channel, too
        assert (back.alpha - picture.alpha).abs().max() <= most / 255


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_a_cutout_looks_as_it_did(bit_depth: BitDepth) -> None:
    """Colours are laid over white to be painted, and must not be lightened by it again."""
    black = np.zeros((24, 32, 4), np.uint8)
    black[..., 3] = np.linspace(0, 255, 32, dtype=np.uint8)
    black[:, :, 0] = 90
    data = saved(Image.fromarray(black))
    with Image.open(io.BytesIO(encode(decode(data), bit_depth=8))) as image:
        again = np.asarray(image)
    shown = again[..., 3] > 0
    assert np.array_equal(again[..., 3], black[..., 3])
    # What is almost clear has few levels left.
    lost = np.abs(again[..., :3].astype(int) - black[..., :3]) * (again[..., 3:] / 255)
    assert lost[shown].max() <= 1
    there = decode(data)
    back = decode(encode(there, bit_depth=bit_depth))
    assert (back.rgb - there.rgb).abs().max() <= 1.01 / 255


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif", "jxl"])
def test_a_lossy_file_is_the_same_picture(image_format: Format) -> None:
    """A wrong curve or a lost profile would be seen; noise is the hardest that there is."""
    picture = Picture(photo(1, 64, 96))
    for quality, most in ((60, 24), (92, 10)):
        back = decode(encode(picture, image_format, quality))
        assert (back.rgb - picture.rgb).abs().mean() <= most / 4 / 255
        assert (back.rgb - picture.rgb).mean().abs() <= 1 / 255


def test_a_jxl_of_quality_100_is_without_loss() -> None:
    picture = Picture(noise(3, 24, 32))
    back = decode(encode(picture, "jxl", 100))
    assert (back.rgb - picture.rgb).abs().max() <= 0.5001 / 255


def test_what_cannot_be_shown_is_clipped() -> None:
    wild = torch.tensor([-3.0, 0.5, 7.0]).view(1, 3, 1, 1)
    assert colour(decode(encode(Picture(wild)))) == [0, 128, 255]


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif", "jxl"])
def test_quality_buys_bytes(image_format: Format) -> None:
    low, high = (len(encode(Picture(noise(1, 64, 64)), image_format, q)) for q in (20, 95))
    assert low < high


# -- whatever a notebook has -------------------------------------------------------------------------


def test_every_kind_of_source_is_the_same_picture(tmp_path: Path) -> None:
    data = saved(quarters())
    file = tmp_path / "quarters.png"
    file.write_bytes(data)
    rgb = decode(data).rgb
    sources = [data, file, str(file), quarters(), rgb, rgb[0], rgb.double(), Picture(rgb)]
    assert all(torch.equal(read(source).rgb, rgb) for source in sources)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(4, 5),
        torch.zeros(1, 4, 5),
        torch.zeros(4, 5, 3),
        torch.zeros(2, 3, 4, 5),
        torch.zeros(3, 4, 5, dtype=torch.uint8),
    ],
    ids=lambda t: f"{tuple(t.shape)} {t.dtype}",
)
def test_a_tensor_of_another_layout_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(PictureError, match=r"\(3, H, W\)"):
        read(tensor)


@pytest.mark.parametrize("name", ["gone.png", ".", "nul\0.png"])
def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match="cannot be"):
        read(tmp_path / name)


def test_a_pillow_image_that_cannot_be_read_is_refused() -> None:
    """Pillow decodes late: a truncated file is noticed here only."""
    data = saved(to_pil(Picture(noise(1, 64, 64))))
    with pytest.raises(PictureError):
        read(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_a_pillow_image_given_is_left_as_it_was() -> None:
    image = quarters().convert("RGBA")
    before = image.tobytes()
    read(image)
    assert image.tobytes() == before


def test_a_shown_picture_has_its_pixels() -> None:
    assert np.array_equal(np.asarray(to_pil(decode(saved(quarters())))), np.asarray(quarters()))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("profile", [None, profile_of("srgb")])
def test_the_quick_way_of_most_photos_gives_the_same_values(
    kind: type, profile: bytes | None
) -> None:
    white = np.iinfo(kind).max
    values = np.random.default_rng(1).integers(0, white, (30, 40, 3), dtype=kind, endpoint=True)
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", iccprofile=profile)
    raster = open_raster(file.getvalue(), "a.tif")
    assert is_plain(raster)
    expected = torch.from_numpy(to_rgb(raster)).permute(2, 0, 1)[None]
    assert torch.equal(decode(file.getvalue()).rgb, expected)
