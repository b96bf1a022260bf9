"""TIFF of every depth, arrangement and compression is the picture that was written."""

from __future__ import annotations

import io
import itertools
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from stylize import PictureError
from stylize.pictures.codec import decode
from stylize.pictures.mask import read_mask

HEIGHT, WIDTH = 24, 40


def ramps(channels: int = 3) -> NDArray[np.float64]:
    """(H, W, C) in [0, 1]: each channel another ramp, so that no mix-up of planes goes unseen."""
    x, y = np.linspace(0, 1, WIDTH)[None], np.linspace(0, 1, HEIGHT)[:, None]
    every = [x + 0 * y, 1 - x + 0 * y, y + 0 * x, (x + y) / 2]
    return np.stack(every[:channels], -1)


def stored(values: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.astype(kind)
    return np.rint(values * np.iinfo(kind).max).astype(kind)


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(file, pixels, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def seen(data: bytes) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]."""
    return decode(data).rgb[0].permute(1, 2, 0).double().numpy()


DEPTHS = {
    "uint8": 0.5 / 255,
    "uint16": 0.5 / 65535,
    "uint32": 1e-7,
    "float16": 5e-4,
    "float32": 1e-7,
    "float64": 1e-7,
}
"""What is lost by writing with each depth."""


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("dtype", DEPTHS)
def test_every_depth_in_rows_tiles_and_planes(dtype: str, tile: Any, planes: str) -> None:
    data = tiff(stored(ramps(), dtype), tile=tile, planarconfig=planes)
    assert np.abs(seen(data) - ramps()).max() <= DEPTHS[dtype] + 1e-7


LOSSLESS = ["none", "lzw", "adobe_deflate", "packbits", "zstd", "lzma", "webp"]


@pytest.mark.parametrize(
    ("compression", "dtype", "predictor"),
    [
        case
        for case in itertools.product(LOSSLESS, ["uint8", "uint16", "float32"], [False, True])
        if not (case[0] in ("none", "packbits", "webp") and case[2])
        and not (case[0] == "webp" and case[1] != "uint8")
    ],
)
def test_every_compression(compression: str, dtype: str, predictor: bool) -> None:
    lossless = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    data = tiff(stored(ramps(), dtype), compression=compression, predictor=predictor, **lossless)
    assert np.abs(seen(data) - ramps()).max() <= DEPTHS[dtype] + 1e-7


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_both_byte_orders_and_bigtiff(dtype: str, big: bool, byteorder: Any) -> None:
    data = tiff(stored(ramps(), dtype), byteorder=byteorder, bigtiff=big)
    assert np.abs(seen(data) - ramps()).max() <= DEPTHS[dtype] + 1e-7


def test_jpeg_in_a_tiff_is_read_nearly() -> None:
    data = tiff(stored(ramps(), "uint8"), compression="jpeg", compressionargs={"level": 98})
    assert np.abs(seen(data) - ramps()).max() < 8 / 255


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_with_white_as_the_greatest_value_or_as_zero(
    photometric: str, dtype: str, byteorder: Any
) -> None:
    ramp = ramps(1)[..., 0]
    data = tiff(stored(ramp, dtype), photometric=photometric, byteorder=byteorder)
    expected = 1 - ramp if photometric == "miniswhite" else ramp
    assert np.abs(seen(data) - expected[..., None]).max() <= DEPTHS[dtype] + 1e-7
    assert np.abs(read_mask(data).weight - expected).max() <= DEPTHS[dtype] + 1e-7


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_apart_and_multiplied(grey: bool, kind: str, planes: str, dtype: str) -> None:
    """Half of a picture over white, however its alpha is stored."""
    colours = ramps(1) if grey else ramps()
    opacity = ramps(4)[..., 3:]
    written = colours * opacity if kind == "assocalpha" else colours
    data = tiff(
        stored(np.concatenate([written, opacity], 2), dtype),
        photometric="minisblack" if grey else "rgb",
        extrasamples=[kind],
        planarconfig=planes,
    )
    picture = decode(data)
    assert picture.alpha is not None
    assert np.abs(picture.alpha[0, 0].numpy() - opacity[..., 0]).max() <= DEPTHS[dtype] + 1e-7
    expected = colours * opacity + 1 - opacity
    assert np.abs(seen(data) - expected).max() <= 2 * DEPTHS[dtype] + 1e-6


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_cmyk_without_a_profile_is_the_complement_of_its_inks(dtype: str) -> None:
    inks = ramps(4)
    data = tiff(stored(inks, dtype), photometric="separated")
    expected = (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(seen(data) - expected).max() <= (2 if dtype == "uint8" else 1) / 255


def lab_picture() -> Image.Image:
    """8 bits per channel, as LittleCMS makes it from colours: a* and b* from 128 up."""
    rgb = Image.fromarray(stored(ramps(), "uint8"))
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    return ImageCms.applyTransform(rgb, to_lab) or rgb


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_lab_is_converted(kind: str, dtype: str) -> None:
    lightness, a, b = (np.asarray(band).astype(float) for band in lab_picture().split())
    signed = np.stack([a, b], -1) - 128
    if dtype == "uint8":
        ab = signed.astype(np.int8).view(np.uint8) if kind == "cielab" else signed + 128
        stored_l = lightness
    else:
        if kind == "cielab":
            ab = (signed * 256).astype(np.int16).view(np.uint16)
            stored_l = lightness * 257
        else:
            ab, stored_l = (signed + 128) * 256, lightness * 256
    pixels = np.concatenate([stored_l[..., None], ab], -1).astype(dtype)
    data = tiff(pixels, photometric=kind)
    lab = np.stack([lightness / 2.55, *np.moveaxis(signed, 2, 0)], -1)
    spaces = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
    profiles = (ImageCms.ImageCmsProfile(space).tobytes() for space in spaces)
    kinds = {"colorspace": "lab", "outcolorspace": "rgb", "outdtype": "float32"}
    expected = imagecodecs.cms_transform(lab.astype(np.float32), *profiles, **kinds)
    assert np.abs(seen(data) - expected.clip(0, 1)).max() <= 0.5 / 255


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_as_pillow_turns_8_bits(orientation: int, dtype: str) -> None:
    tag = [(274, "H", 1, orientation, True)]
    turned = seen(tiff(stored(ramps(), "uint8"), extratags=tag))
    assert np.abs(seen(tiff(stored(ramps(), dtype), extratags=tag)) - turned).max() < 1 / 255


def test_the_first_of_several_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for values in (ramps(), 1 - ramps()):
            writer.write(stored(values, "uint16"), photometric="rgb", metadata=None)
    assert np.abs(seen(file.getvalue()) - ramps()).max() < 1e-4


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_a_file_that_is_cut_short_is_refused_by_name(cut: float, planes: str) -> None:
    data = tiff(stored(ramps(), "uint16"), planarconfig=planes, compression="lzw")
    with pytest.raises(PictureError, match=r"^sky\.tif "):
        decode(data[: int(len(data) * cut)], "sky.tif")


@pytest.mark.parametrize(
    ("pixels", "options", "said"),
    [
        (np.zeros((8, 8), np.int16), {"photometric": "minisblack"}, "values with a sign"),
        (np.zeros((8, 8), np.complex64), {"photometric": "minisblack"}, "no picture has"),
    ],
)
def test_what_is_no_picture_is_said_by_name(
    pixels: NDArray[Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(PictureError, match=rf"^depth\.tif .*{said}"):
        decode(tiff(pixels, **options), "depth.tif")
