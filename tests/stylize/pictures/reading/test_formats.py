"""Each format is recognised by its content, and comes in upright, in its colours and its depth."""

from __future__ import annotations

import io
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import OpenEXR
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from stylize import PictureError
from stylize.pictures.codec import decode
from stylize.pictures.reading import open as opening
from stylize.pictures.reading.formats import FORMATS, HEAD_BYTES, recognise
from tests.stylize.pictures.reading.test_colours import light_of, srgb_of

HEIGHT, WIDTH = 32, 64


def ramps() -> NDArray[np.float64]:
    """(H, W, 3): red to the right, green downwards, blue even."""
    x, y = np.linspace(0, 1, WIDTH)[None], np.linspace(0, 1, HEIGHT)[:, None]
    return np.stack([x + 0 * y, y + 0 * x, 0.5 + 0 * (x + y)], -1)


def levels(bits: int, values: NDArray[np.float64] | None = None) -> NDArray[Any]:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.rint((ramps() if values is None else values) * (2**bits - 1)).astype(kind)


def seen(data: bytes) -> NDArray[np.float64]:
    return decode(data).rgb[0].permute(1, 2, 0).double().numpy()


def by_pillow(image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels(8)).save(file, image_format, **options)
    return file.getvalue()


def heic(bits: int) -> bytes:
    if bits == 8:
        image = pillow_heif.from_pillow(Image.fromarray(levels(8)))
    else:
        shifted = (levels(10).astype(np.uint16) << 6).tobytes()
        image = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=shifted)
    file = io.BytesIO()
    image.save(file, quality=-1, chroma=444)  # lossless, but for the conversion to YCbCr
    return file.getvalue()


def psd(pixels: NDArray[np.uint8]) -> bytes:
    """A document of one layer, as its flattened picture (Adobe Photoshop File Formats, 2019)."""
    height, width, channels = pixels.shape
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, 8, 3)
    return header + bytes(12) + b"\0\0" + np.moveaxis(pixels, 2, 0).tobytes()


def exr(
    values: NDArray[np.float64], dtype: Any = np.float32, alpha: Any = None, **header: Any
) -> bytes:
    """Channels of a scanline file; values are light, multiplied by the alpha."""
    names = ["R", "G", "B"] if values.ndim == 3 else ["Y"]
    planes = np.moveaxis(np.atleast_3d(values), 2, 0)
    channels = {name: c.astype(dtype) for name, c in zip(names, planes, strict=True)}
    if alpha is not None:
        channels = {name: (c * alpha).astype(dtype) for name, c in channels.items()}
        channels["A"] = np.full(values.shape[:2], alpha, dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.exr"
        kind = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File({**kind, **header}, channels).write(str(path))
        return path.read_bytes()


FILES = {
    "OpenEXR": (lambda: exr(light_of(ramps())), 1e-6),
    "OpenEXR of 16 bits": (lambda: exr(light_of(ramps()), np.float16), 1e-3),
    "JPEG": (lambda: by_pillow("JPEG", quality=100, subsampling=0), 6 / 255),
    "MPO": (lambda: by_pillow("MPO", quality=100, subsampling=0), 6 / 255),
    "PNG": (lambda: by_pillow("PNG"), 0.51 / 255),
    "WebP": (lambda: by_pillow("WEBP", lossless=True), 0.51 / 255),
    "TIFF": (lambda: by_pillow("TIFF"), 0.51 / 255),
    "BMP": (lambda: by_pillow("BMP"), 0.51 / 255),
    "AVIF": (lambda: bytes(imagecodecs.avif_encode(levels(8), level=100)), 0.51 / 255),
    "AVIF of 10 bits": (
        lambda: bytes(imagecodecs.avif_encode(levels(10), level=100, bitspersample=10)),
        0.51 / 1023,
    ),
    "AVIF of 12 bits": (
        lambda: bytes(imagecodecs.avif_encode(levels(12), level=100, bitspersample=12)),
        0.51 / 4095,
    ),
    "HEIC": (lambda: heic(8), 2.5 / 255),
    "HEIC of 10 bits": (lambda: heic(10), 2.5 / 1023),
    "JPEG 2000": (lambda: bytes(imagecodecs.jpeg2k_encode(levels(8), level=0)), 0.51 / 255),
    "Netpbm": (lambda: by_pillow("PPM"), 0.51 / 255),
    "PSD": (lambda: psd(levels(8)), 0.51 / 255),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_picture_of_each_format(kind: str) -> None:
    make, lost = FILES[kind]
    data = make()
    known = recognise(data[:HEAD_BYTES])
    assert known is not None
    assert known.name == kind.split(" of ")[0].replace("MPO", "JPEG")
    assert np.abs(seen(data) - ramps()).max() <= lost


def test_every_format_is_tried() -> None:
    elsewhere = {"GIF", "JPEG XL", "camera raw"}  # the latter two have tests of their own
    assert {known.name for known in FORMATS} - elsewhere <= {
        kind.split(" of ")[0] for kind in FILES
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation: int) -> None:
    """Its boxes say what EXIF says, and both are there."""
    exif = Image.Exif()
    exif[274] = orientation
    expected = seen(by_pillow("PNG", exif=exif))
    assert np.abs(seen(by_pillow("AVIF", quality=100, exif=exif)) - expected).max() < 12 / 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    turned = by_pillow("PNG", exif=exif)
    file = io.BytesIO()
    heif = pillow_heif.from_pillow(Image.fromarray(levels(8)))
    heif.save(file, quality=-1, chroma=444, exif=exif.tobytes())
    assert np.abs(seen(file.getvalue()) - seen(turned)).max() < 3 / 255


def test_display_p3_of_a_phone_by_its_codes() -> None:
    """AVIF with nclx: P3's primaries, sRGB's curve."""
    values = levels(10, 0.3 + 0.4 * ramps()) / 1023
    encoded = imagecodecs.avif_encode(levels(10, values), level=100, bitspersample=10)
    data = bytearray(encoded)
    at = data.find(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 12, 13)
    to_srgb = np.array(  # CSS Color 4, section 17
        [
            [1.2249401762805598, -0.22494017628055996, 0.0],
            [-0.042056954709688163, 1.0420569547096881, 0.0],
            [-0.019637554590334432, -0.078636045550631889, 1.0982736001409663],
        ]
    )
    expected = srgb_of((light_of(values) @ to_srgb.T).clip(0, 1))
    assert np.abs(seen(bytes(data)) - expected).max() < 1e-5


def test_alpha_of_avif() -> None:
    pixels = np.dstack([levels(8), np.full((HEIGHT, WIDTH), 51, np.uint8)])
    picture = decode(bytes(imagecodecs.avif_encode(pixels, level=100)))
    assert picture.alpha is not None
    assert float(picture.alpha.mean()) == pytest.approx(0.2)
    expected = ramps() * 0.2 + 0.8
    assert np.abs(picture.rgb[0].permute(1, 2, 0).numpy() - expected).max() < 0.6 / 255


def test_light_of_exr_is_encoded_and_clipped() -> None:
    ramp = np.repeat(np.linspace(0, 1, 4096)[None, :, None], 3, 2)
    found = seen(exr(ramp))
    assert np.abs(found - srgb_of(ramp)).max() < 1e-6
    assert len(np.unique(np.rint(found[0, :, 0] * 65535))) >= 4000
    bright = seen(exr(np.full((4, 4, 3), 7.5)))
    assert float(bright.min()) == pytest.approx(1)  # a bright sky is no reason to refuse a picture


@pytest.mark.parametrize(
    ("display", "place"),
    [
        # What was rendered is a part of the frame, or more than it, or both, or nothing of it.
        pytest.param(((0, 0), (39, 29)), (slice(4, 20), slice(6, 30)), id="part"),
        pytest.param(((8, 6), (19, 15)), (slice(-2, 14), slice(-2, 22)), id="overscan"),
        pytest.param(((10, 0), (60, 9)), (slice(4, 20), slice(-4, 20)), id="both"),
        pytest.param(((100, 100), (109, 109)), (slice(-96, -80), slice(-94, -70)), id="outside"),
    ],
)
def test_exr_is_shown_as_its_display_window(display: Any, place: Any) -> None:
    values = light_of(np.random.default_rng(1).uniform(0.1, 1, (16, 24, 3)))
    found = seen(exr(values, dataWindow=((6, 4), (29, 19)), displayWindow=display))
    (left, top), (right, bottom) = display
    expected = np.zeros((bottom - top + 1, right - left + 1, 3))
    for y in range(16):
        for x in range(24):
            row, column = place[0].start + y, place[1].start + x
            if 0 <= row < expected.shape[0] and 0 <= column < expected.shape[1]:
                expected[row, column] = srgb_of(values[y, x])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


def test_tiff_whose_pixels_were_never_written_is_refused() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.full((8, 12, 3), 90, np.uint8), photometric="rgb")
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tag = tiff.pages.first.tags["StripByteCounts"]
    data[tag.valueoffset : tag.valueoffset + 4] = bytes(4)
    with pytest.raises(PictureError, match=r"^a\.tif is damaged: a part of its pixels is missing"):
        decode(bytes(data), "a.tif")


def test_exr_of_luminance_and_chroma_is_refused(tmp_path: Path) -> None:
    half = np.ones((8, 12), np.float16)
    OpenEXR.File({}, {"Y": half, "RY": half, "BY": half}).write(str(tmp_path / "a.exr"))
    with pytest.raises(PictureError, match=r"has luminance and chroma .*: save it as RGB"):
        decode((tmp_path / "a.exr").read_bytes())


def layered(*layers: str) -> dict[str, NDArray[np.float32]]:
    """Channels of layers that all have the ramps, the first as they are and others darker, and of depth."""
    light = light_of(ramps()).astype(np.float32)
    return {
        f"{layer}.{name}": np.ascontiguousarray(light[..., k] / (1 + place))
        for place, layer in enumerate(layers)
        for k, name in enumerate("RGB")
    } | {"ViewLayer.Depth.Z": np.full(light.shape[:2], 7, np.float32)}


@pytest.mark.parametrize(
    "layers",
    [("beauty",), ("ViewLayer.Combined", "ViewLayer.DiffCol"), ("Composite.Combined", "Fog.A")],
)
def test_the_picture_of_a_file_of_layers_is_read(tmp_path: Path, layers: tuple[str, ...]) -> None:
    OpenEXR.File({}, layered(*layers)).write(str(tmp_path / "a.exr"))
    assert np.abs(seen((tmp_path / "a.exr").read_bytes()) - ramps()).max() < 1e-6


def test_layers_of_which_none_is_the_picture_are_named(tmp_path: Path) -> None:
    for layers in (("Left", "Right"), ("A.Combined", "B.Combined")):
        OpenEXR.File({}, layered(*layers)).write(str(tmp_path / "a.exr"))
        with pytest.raises(
            PictureError, match=rf"no channels R, G and B, nor Y; it has {layers[0]}\.B"
        ):
            decode((tmp_path / "a.exr").read_bytes())


def test_of_several_parts_the_first_with_colours_is_read(tmp_path: Path) -> None:
    kind = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    light = light_of(ramps()).astype(np.float32)
    parts = [
        OpenEXR.Part({**kind}, {"Z": light[..., 0].copy()}, "depth"),
        OpenEXR.Part({**kind}, {"RGB": light}, "beauty"),
        OpenEXR.Part({**kind}, {"RGB": light / 2}, "fog"),
    ]
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))
    assert np.abs(seen((tmp_path / "a.exr").read_bytes()) - ramps()).max() < 1e-6


@pytest.mark.parametrize("image_format", ["TIFF", "AVIF", "PNG", "GIF", "JPEG2000"])
def test_a_file_cut_short_is_not_called_no_picture(image_format: str) -> None:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(file, image_format)
    for kept in (0.3, 0.9):
        cut = file.getvalue()[: int(kept * len(file.getvalue()))]
        with pytest.raises(PictureError, match=r"^a is damaged or cut short"):
            decode(cut, "a")


def test_tiff_of_very_many_channels_is_refused_before_it_is_decoded() -> None:
    for channels in (64, 65):
        file = io.BytesIO()
        levels = np.zeros((8, 12, channels), np.uint8)
        tifffile.imwrite(file, levels, photometric="minisblack", planarconfig="contig")
        if channels == 64:
            assert seen(file.getvalue()).shape == (8, 12, 3)
        else:
            with pytest.raises(PictureError, match="has 65 channels; the limit is 64"):
                decode(file.getvalue())


@pytest.mark.parametrize(("photometric", "channels"), [("rgb", 3), ("minisblack", 1)])
@pytest.mark.parametrize("bits", [2, 4])
def test_tiff_of_a_few_bits_is_read(photometric: Any, channels: int, bits: int) -> None:
    levels = np.random.default_rng(2).integers(0, 2**bits, (8, 12, channels), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(file, levels.squeeze(), photometric=photometric, bitspersample=bits)
    assert np.abs(seen(file.getvalue()) - levels / (2**bits - 1)).max() < 1e-6


def test_exr_of_one_channel_of_alpha_and_of_other_primaries() -> None:
    assert np.abs(seen(exr(light_of(ramps()[..., 0]))) - ramps()[..., :1]).max() < 1e-6
    picture = decode(exr(light_of(ramps()), alpha=0.25))
    assert picture.alpha is not None
    expected = ramps() * 0.25 + 0.75
    assert np.abs(picture.rgb[0].permute(1, 2, 0).numpy() - expected).max() < 1e-5
    bt709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
    wide = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
    grey = np.full((2, 2, 3), 0.5)
    assert np.abs(seen(exr(grey, chromaticities=wide)) - seen(exr(grey))).max() < 1e-4
    assert np.abs(seen(exr(ramps(), chromaticities=bt709)) - seen(exr(ramps()))).max() < 1e-6
    assert np.abs(seen(exr(ramps(), chromaticities=wide)) - seen(exr(ramps()))).max() > 0.05


def test_broken_pixels_of_a_renderer_are_black_or_white() -> None:
    light = np.full((2, 2, 3), 0.5)
    light[0, 0], light[1, 1] = np.nan, np.inf
    found = seen(exr(light))
    assert (found[0, 0].max(), found[1, 1].min()) == pytest.approx((0, 1))


def test_exr_without_colours_is_refused_by_its_channels() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.exr"
        depth = {"Z": np.zeros((4, 4), np.float32)}
        OpenEXR.File({"type": OpenEXR.scanlineimage}, depth).write(str(path))
        with pytest.raises(
            PictureError, match=r"^depth\.exr has no channels R, G and B, nor Y; it has Z"
        ):
            decode(path.read_bytes(), "depth.exr")


@pytest.mark.parametrize(("module", "kind"), [("OpenEXR", "OpenEXR")])
def test_exr_without_its_extra_says_what_to_install(
    module: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FILES[kind][0]()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PictureError, match=r"^sky\.exr .* pip install 'stylefarm\[exr\]'$"):
        decode(data, "sky.exr")


def test_heic_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"^IMG_1\.HEIC .* pip install 'stylefarm\[heif\]'$"):
        decode(heic(8), "IMG_1.HEIC")


@pytest.mark.parametrize("kind", ["AVIF", "AVIF of 10 bits", "HEIC", "JPEG 2000", "PSD", "OpenEXR"])
@pytest.mark.parametrize("cut", [0.05, 0.3, 0.6, 0.9])
def test_a_file_cut_short_is_refused_by_name(kind: str, cut: float) -> None:
    data = FILES[kind][0]()
    with pytest.raises(PictureError, match=r"^sky\.x ") as caught:
        decode(data[: int(len(data) * cut)], "sky.x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["AVIF", "AVIF of 10 bits", "HEIC", "JPEG 2000", "PSD", "OpenEXR"])
def test_the_limit_holds_before_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PIXEL_LIMIT", HEIGHT * WIDTH - 1)
    with pytest.raises(PictureError, match=r"sky\.x has 64 x 32 px; the limit is"):
        decode(FILES[kind][0](), "sky.x")
