"""A mask is its luminance times its opacity, whatever file it is in; one that cannot be meant is told."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw

from stylize import PictureError
from stylize.pictures.codec import decode
from stylize.pictures.inputs import read_inputs
from stylize.pictures.mask import Mask, read_mask
from stylize.pictures.picture import Picture
from tests.stylize.support import noise, photo, recipe

CLEAR, WHITE, BLACK = (0, 0, 0, 0), (255, 255, 255, 255), (0, 0, 0, 255)


def saved(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def png(width: int, bits: int, colour_type: int, row: bytes, **chunks: bytes) -> bytes:
    """A PNG of one row by hand, for what Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    extra = b"".join(chunk(kind.encode(), data) for kind, data in chunks.items())
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def values(mask: Mask) -> list[float]:
    """The weights of the first row, in 255ths."""
    return [round(float(weight) * 255, 3) for weight in mask.weight[0]]


def greys(*levels: int) -> NDArray[np.uint8]:
    return np.array([levels], np.uint8)


def figure(ground: tuple[int, ...], paint: tuple[int, ...]) -> Image.Image:
    """A layer as painting programs export it: a disc of paint on a ground."""
    image = Image.new("RGBA", (64, 48), ground)
    ImageDraw.Draw(image).ellipse((16, 8, 47, 39), fill=paint)
    return image


# -- values, computed by hand ------------------------------------------------------------------------

# 0.299 of red, 0.587 of green, 0.114 of blue, times the opacity.
GOLDEN: dict[str, tuple[bytes, Sequence[float]]] = {
    "grey": (saved(Image.fromarray(greys(0, 1, 128, 255))), [0, 1, 128, 255]),
    "one bit": (saved(Image.fromarray(greys(0, 255, 0, 255)).convert("1")), [0, 255, 0, 255]),
    "one bit in a TIFF": (
        saved(Image.fromarray(greys(0, 255)).convert("1"), "TIFF", compression="group4"),
        [0, 255],
    ),
    "16 bits": (saved(Image.fromarray(np.array([[0, 13107, 65535]], np.uint16))), [0, 51, 255]),
    "16 bits in a TIFF": (tiff(np.array([[0, 13107, 65535]], np.uint16)), [0, 51, 255]),
    "floats": (tiff(np.array([[0.0, 0.25, 1.0]], np.float32)), [0, 63.75, 255]),
    "colours": (
        saved(Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))),
        [76.245, 149.685, 29.07],
    ),
    "colours of 16 bits": (
        png(2, 16, 2, struct.pack(">6H", 65535, 65535, 65535, 257, 257, 257)),
        [255, 1],
    ),
    "grey with alpha": (
        saved(Image.fromarray(np.array([[[255, 255], [255, 51], [100, 51], [255, 0]]], np.uint8))),
        [255, 51, 20, 0],
    ),
    "colours with alpha": (
        saved(Image.fromarray(np.array([[[*WHITE], [255, 0, 0, 51], [9, 9, 9, 0]]], np.uint8))),
        [255, 15.249, 0],
    ),
    "colours with alpha in WebP": (
        saved(figure(CLEAR, WHITE).crop((15, 23, 18, 24)), "WEBP", lossless=True),
        [0, 255, 255],
    ),
    "colours with alpha of 16 bits": (
        png(2, 16, 6, struct.pack(">8H", *[65535] * 4, *[65535] * 3, 51 * 257)),
        [255, 51],
    ),
    "palette": (
        png(4, 2, 3, bytes([0b00011011]), PLTE=bytes([0] * 3 + [255] * 3 + [51] * 3 + [102] * 3)),
        [0, 255, 51, 102],
    ),
    "palette with an opacity for each colour": (
        png(
            4,
            2,
            3,
            bytes([0b00011011]),
            PLTE=bytes([0] * 3 + [255] * 3 + [255] * 3 + [100] * 3),
            tRNS=bytes([255, 51, 0]),
        ),
        [0, 51, 0, 100],
    ),
    "palette with a transparent colour in a GIF": (
        saved(Image.fromarray(greys(0, 1)).convert("P"), "GIF", transparency=0),
        [0, 1],
    ),
    "a transparent grey": (
        png(3, 8, 0, bytes([200, 51, 255]), tRNS=struct.pack(">H", 200)),
        [0, 51, 255],
    ),
    "a transparent grey of 16 bits": (
        png(2, 16, 0, struct.pack(">2H", 51400, 65535), tRNS=struct.pack(">H", 51400)),
        [0, 255],
    ),
    "a transparent grey of 4 bits": (
        png(2, 4, 0, bytes([0xAF]), tRNS=struct.pack(">H", 10)),
        [0, 255],
    ),
    "a transparent grey of 2 bits": (
        png(4, 2, 0, bytes([0b11100100]), tRNS=struct.pack(">H", 2)),
        [255, 0, 85, 0],
    ),
    "a transparent white of 1 bit": (
        png(8, 1, 0, bytes([0b10100000]), tRNS=struct.pack(">H", 1)),
        [0] * 8,
    ),
    "a transparent colour": (
        png(2, 8, 2, bytes([255, 255, 0, 255, 255, 255]), tRNS=struct.pack(">3H", 255, 255, 0)),
        [0, 255],
    ),
    "grey multiplied by its alpha": (
        tiff(
            np.array([[[100, 128], [255, 255], [0, 0]]], np.uint8),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["assocalpha"],
        ),
        [100, 255, 0],
    ),
    "grey with alpha in a TIFF": (
        tiff(
            np.array([[[255, 51], [100, 255]]], np.uint8),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        [51, 100],
    ),
    "CMYK": (
        saved(
            Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "CMYK"), "TIFF"
        ),
        [255, 0],
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_mask_is_its_luminance_times_its_opacity(case: str) -> None:
    data, expected = GOLDEN[case]
    assert values(read_mask(data)) == pytest.approx(expected, abs=2e-3)


def test_colours_multiplied_by_their_alpha_weigh_what_the_file_says() -> None:
    """Pillow divides them by the alpha, with the rounding of 8 bits."""
    pixels = np.array([[[100, 100, 100, 128], [51, 51, 51, 51], [0, 0, 0, 0]]], np.uint8)
    data = tiff(pixels, photometric="rgb", extrasamples=["assocalpha"])
    assert values(read_mask(data)) == pytest.approx([100, 51, 0], abs=0.5)


def test_grey_weighs_exactly_its_value_however_it_is_stored() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    exactly = levels.astype(np.float32) / np.float32(255)
    grey = Image.fromarray(levels)
    for image in (grey, grey.convert("RGB"), grey.convert("P"), grey.convert("LA")):
        assert np.array_equal(read_mask(saved(image)).weight, exactly), image.mode
    wide = Image.fromarray(levels.astype(np.uint16) * 257)
    assert np.array_equal(read_mask(saved(wide)).weight, exactly)


@settings(max_examples=60)
@given(st.binary(min_size=4, max_size=64), st.sampled_from(["PNG", "TIFF", "WEBP", "pillow"]))
@example(b"\x00\x00\x01\x01", "PNG")
def test_any_colours_and_any_alpha(pixels: bytes, image_format: str) -> None:
    count = len(pixels) // 4
    image = Image.frombytes("RGBA", (count, 1), pixels[: 4 * count])
    # WebP may change the colour of what is transparent.
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    source = image if image_format == "pillow" else saved(image, image_format, **options)
    expected = [
        (0.299 * r + 0.587 * g + 0.114 * b) * a / 255
        for r, g, b, a in zip(*[iter(pixels[: 4 * count])] * 4, strict=True)
    ]
    assert values(read_mask(source)) == pytest.approx(expected, abs=2e-3)  # type: ignore[arg-type]


def test_a_profile_changes_no_weight() -> None:
    """It says how the colours look; a weight is a number."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    image = Image.fromarray(np.array([[[255, 0, 0], [128, 128, 128]]], np.uint8))
    data = saved(image, icc_profile=swapped)
    assert float(decode(data).rgb[0, 0, 0, 0]) < 0.1  # in a picture the profile counts
    assert values(read_mask(data)) == pytest.approx([76.245, 128], abs=2e-3)


def test_a_mask_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    data = saved(Image.fromarray(greys(0, 128, 255)), "PNG", exif=exif)
    assert read_mask(data).weight[:, 0].tolist() == pytest.approx([0, 128 / 255, 1])


# -- layers, as painting programs export them --------------------------------------------------------


def test_white_on_transparency_is_the_figure() -> None:
    mask = read_mask(saved(figure(CLEAR, WHITE)))
    assert (mask.weight[24, 32], mask.weight[0, 0]) == (1, 0)
    assert mask.doubt is None
    # What is transparent has a colour, too, which does not count.
    other = read_mask(saved(figure((255, 255, 255, 0), WHITE)))
    assert np.array_equal(mask.weight, other.weight)


def test_black_on_transparency_is_empty_and_told() -> None:
    mask = read_mask(saved(figure(CLEAR, BLACK)))
    assert not mask.weight.any()
    assert mask.doubt is not None
    assert "is black wherever it is not transparent" in mask.doubt
    assert "paint that part white" in mask.doubt
    assert "fill the ground with white" in mask.doubt


def test_black_on_white_is_the_ground() -> None:
    mask = read_mask(saved(figure(WHITE, BLACK)))
    assert (mask.weight[24, 32], mask.weight[0, 0], mask.doubt) == (0, 1, None)


# -- what a render is given --------------------------------------------------------------------------


def given_as(tmp_path: Path, kind: str, image: Image.Image) -> Any:
    data = saved(image)
    path = tmp_path / "mask.png"
    path.write_bytes(data)
    return {
        "bytes": data,
        "path": path,
        "name": str(path),
        "image": image,
        "decoded": decode(data),
        "mask": read_mask(data),
    }[kind]


@pytest.mark.parametrize("kind", ["bytes", "path", "name", "image", "decoded", "mask"])
def test_a_render_takes_a_mask_in_every_form(tmp_path: Path, kind: str) -> None:
    image = figure((90, 90, 90, 130), (255, 255, 255, 200))
    content = photo(1, 48, 64)
    mask = given_as(tmp_path, kind, image)
    (((_, _, found, _),),) = read_inputs(
        content, [(noise(2, 40, 40), 1.0, mask)], None, recipe()
    ).styles
    assert found is not None
    assert found.shape == (1, 1, 48, 64)
    assert float(found[0, 0, 24, 32]) == pytest.approx(200 / 255, abs=1e-6)
    assert float(found[0, 0, 0, 0]) == pytest.approx(90 * 130 / 255**2, abs=1e-6)


def test_a_tensor_is_a_mask_by_its_luminance() -> None:
    content = photo(1, 48, 64)
    red = torch.zeros(1, 3, 48, 64)
    red[:, 0] = 1
    with pytest.warns(UserWarning, match="a mask is coloured"):
        styles = read_inputs(content, [(noise(2, 40, 40), 1.0, red)], None, recipe()).styles
    assert styles[0][0].mask is not None
    assert float(styles[0][0].mask.mean()) == pytest.approx(0.299)


def test_a_doubtful_file_is_told_by_its_name_once(tmp_path: Path) -> None:
    path = tmp_path / "sky.png"
    path.write_bytes(saved(Image.new("L", (64, 48))))
    blend = [(noise(2, 40, 40), 1.0, path), (noise(3, 40, 40), 1.0, path)]
    with pytest.warns(UserWarning, match="sky") as heard:
        read_inputs(photo(1, 48, 64), blend, None, recipe())
    assert [str(warning.message).split(",")[0] for warning in heard] == [
        f"{path} is black everywhere"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_inputs(photo(1, 48, 64), [(noise(2, 40, 40), 1.0, read_mask(path))], None, recipe())


def test_a_file_that_is_no_picture_is_refused_by_its_name() -> None:
    with pytest.raises(PictureError, match=r"^mask sky\.png is not a picture"):
        read_mask(b"no picture", "mask sky.png")
    with pytest.raises(PictureError, match=r"sky\.png cannot be read"):
        read_mask("sky.png")
    with pytest.raises(PictureError, match="has values from 0 to 5, and floats"):
        read_mask(tiff(np.array([[0.0, 5.0]], np.float32)))


# -- doubts ------------------------------------------------------------------------------------------


def doubt(pixels: NDArray[Any] | Image.Image, image_format: str = "PNG", **options: Any) -> str:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    return read_mask(saved(image, image_format, **options)).doubt or ""


def test_labels_are_told() -> None:
    found = doubt(greys(0, 1, 1))
    assert found.startswith("has only the values 0 and 1,")
    assert "white is 255" in found
    assert found.endswith("multiply it by 255")
    assert "the values 0, 3 and 5" in doubt(greys(0, 3, 5))
    assert doubt(greys(0, 3, 5)).endswith("a mask for each label, white there and black elsewhere")
    assert "the values 0, 1, 2, ... and 20" in doubt(greys(*range(21)))
    assert "the value 1," in doubt(greys(1, 1))
    wide = doubt(np.array([[0, 255]], np.uint16))
    assert "the values 0 and 255," in wide
    assert "white is 65,535" in wide
    assert wide.endswith("multiply it by 257")
    assert "brightest value is 59" in doubt(greys(*range(60)))
    data = tiff(np.array([[0.0, 0.004]], np.float32))
    assert "brightest value is 0.004, and white is 1" in str(read_mask(data).doubt)


@pytest.mark.parametrize("colour", ["red", "lime", "blue", "orange"])
def test_a_coloured_mask_is_told(colour: str) -> None:
    image = Image.new("RGB", (64, 48))
    ImageDraw.Draw(image).ellipse((16, 8, 47, 39), fill=colour)
    found = doubt(image)
    assert found.startswith("is coloured")
    if colour == "red":
        assert "its #ff0000 counts 30%" in found
    assert doubt(image, "JPEG").startswith("is coloured")
    assert doubt(image.quantize(4)).startswith("is coloured")


def test_a_colour_that_is_transparent_does_not_count() -> None:
    assert doubt(figure((255, 0, 0, 0), WHITE)) == ""


@pytest.mark.parametrize("quality", [10, 50, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_noise_of_a_jpeg_is_no_colour(quality: int, subsampling: int) -> None:
    """The second time around, the chroma that the first has left is compressed as well."""
    for white in ("#ffffff", "#fffaf0"):  # pure, and warm as paper
        image = Image.new("RGB", (64, 48))
        ImageDraw.Draw(image).ellipse((16, 8, 47, 39), fill=white)
        once = saved(image, "JPEG", quality=quality, subsampling=subsampling)
        twice = Image.open(io.BytesIO(once))
        assert doubt(twice, "JPEG", quality=quality, subsampling=subsampling) == ""


def test_an_empty_mask_and_a_full_one_are_told() -> None:
    assert doubt(greys(0, 0)).startswith("is black everywhere")
    assert doubt(Image.new("RGBA", (4, 4), (*WHITE[:3], 0))).startswith("is transparent everywhere")
    assert doubt(greys(255, 254)).startswith("is white everywhere")
    assert doubt(Image.new("RGBA", (4, 4), WHITE)).startswith("is white everywhere")
    assert doubt(Image.new("1", (4, 4), 1)).startswith("is white everywhere")
    assert doubt(Image.new("RGB", (16, 16), "white"), "JPEG").startswith("is white everywhere")
    assert doubt(Image.new("RGB", (16, 16)), "JPEG").startswith("is black everywhere")


@pytest.mark.parametrize(
    "pixels",
    [greys(0, 255), greys(128, 128), greys(0, 64), greys(*range(256)), greys(0, 1, 255)],
    ids=["two values", "half everywhere", "a quarter", "a gradient", "one white pixel"],
)
def test_what_may_well_be_meant_is_not_told(pixels: NDArray[np.uint8]) -> None:
    assert doubt(pixels) == ""


def test_a_decoded_picture_is_doubted_as_its_file_is() -> None:
    for image in (figure(CLEAR, BLACK), figure(CLEAR, (255, 0, 0, 255)), figure(CLEAR, WHITE)):
        picture: Picture = decode(saved(image))
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            read_inputs(photo(1, 48, 64), [(noise(2, 40, 40), 1.0, picture)], None, recipe())
        said = [str(warning.message).removeprefix("a mask ") for warning in heard]
        assert said == [text for text in [doubt(image)] if text]


def test_a_mask_of_other_proportions_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.png"
    Image.new("L", (64, 64), 255).save(path)
    style = [(noise(2, 40, 40), 1.0, read_mask(path.read_bytes(), "masks/wrong.png"))]
    with pytest.raises(
        PictureError, match=r"^masks/wrong\.png is 64 x 64 px and the content 64 x 48"
    ):
        read_inputs(photo(1, 48, 64), style, None, recipe())
    with pytest.raises(PictureError, match=r"wrong\.png is 64 x 64 px"):
        read_inputs(photo(1, 48, 64), [(noise(2, 40, 40), 1.0, path)], None, recipe())
