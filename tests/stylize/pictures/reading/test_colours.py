"""Colours come in as they look, by profile or by formula, and in full depth."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from stylize.pictures.codec import decode, encode
from stylize.pictures.picture import Picture
from tests.stylize.pictures.test_codec import png, saved

RAMP = np.linspace(0, 1, 4096)
SRGB_COLOURS = (0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1)
P3_COLOURS = (0.680, 0.320, 1, 0.265, 0.690, 1, 0.150, 0.060, 1)
D65 = (0.3127, 0.3290, 1.0)


def srgb_of(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1."""
    return np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
    )


def light_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def seen(data: bytes) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]."""
    return decode(data).rgb[0].permute(1, 2, 0).double().numpy()


def deep(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint(values * 65535).astype(np.uint16)


def deep_png(pixels: NDArray[np.uint16], **chunks: bytes) -> bytes:
    """A PNG with 16 bits, by hand."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows, **chunks)


def deep_tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def iccp(profile: bytes) -> bytes:
    return b"x\0\0" + zlib.compress(profile)


# -- depth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["png", "tiff"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_what_is_written_in_16_bits_is_read_back(image_format: Any, has_alpha: bool) -> None:
    import torch

    torch.manual_seed(0)
    rgb, alpha = torch.rand(1, 3, 40, 60), torch.rand(1, 1, 40, 60)
    laid = rgb * alpha + 1 - alpha if has_alpha else rgb
    data = encode(Picture(laid, alpha if has_alpha else None), image_format, bit_depth=16)
    again = decode(data)
    assert float((again.rgb - laid).abs().max()) <= (1.1 if has_alpha else 0.6) / 65535


WRITERS = {
    "png": lambda ramp: deep_png(deep(ramp)),
    "tiff": lambda ramp: deep_tiff(deep(ramp), photometric="rgb"),
    "float tiff": lambda ramp: deep_tiff(ramp.astype(np.float32), photometric="rgb"),
    "grey png": lambda ramp: deep_png(deep(ramp[..., :1])),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_ramp_of_4096_levels_keeps_them(writer: str) -> None:
    ramp = np.repeat(RAMP[None, :, None], 3, 2)
    found = seen(WRITERS[writer](ramp))
    assert np.abs(found - ramp).max() <= 0.51 / 65535
    assert len(np.unique(found[0, :, 0])) == 4096


# -- profiles ----------------------------------------------------------------------------------------


def rgb_profile(colours: tuple[float, ...], gamma: float) -> bytes:
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=colours, gamma=gamma))


GREY_LINEAR = bytes(imagecodecs.cms_profile("gray", gamma=1.0))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_linear_profile(bits: int) -> None:
    levels = 255 if bits == 8 else 65535
    values = np.rint(np.repeat(RAMP[None, :, None], 3, 2) * levels) / levels
    profile = rgb_profile(SRGB_COLOURS, 1.0)
    if bits == 8:
        data = saved(Image.fromarray((values * 255).astype(np.uint8)), icc_profile=profile)
    else:
        data = deep_png(deep(values), iCCP=iccp(profile))
    assert np.abs(seen(data) - srgb_of(values)).max() <= 0.05 / 255


GREYS = {
    "8 bits": lambda v: saved(
        Image.fromarray(np.rint(v * 255).astype(np.uint8)), icc_profile=GREY_LINEAR
    ),
    "8 bits, alpha": lambda v: saved(
        Image.merge(
            "LA",
            [Image.fromarray(np.rint(v * 255).astype(np.uint8))] * 1
            + [Image.new("L", v.shape[::-1], 255)],
        ),
        icc_profile=GREY_LINEAR,
    ),
    "palette": lambda v: saved(
        Image.fromarray(np.rint(v * 255).astype(np.uint8)).convert("P"), icc_profile=GREY_LINEAR
    ),
    "16 bits": lambda v: deep_png(deep(v)[..., None], iCCP=iccp(GREY_LINEAR)),
    "16 bits tiff": lambda v: deep_tiff(deep(v), photometric="minisblack", iccprofile=GREY_LINEAR),
    "float tiff": lambda v: deep_tiff(
        v.astype(np.float32), photometric="minisblack", iccprofile=GREY_LINEAR
    ),
}


@pytest.mark.parametrize("kind", GREYS)
def test_a_grey_profile(kind: str) -> None:
    values = np.linspace(0, 1, 256)[None]
    found = seen(GREYS[kind](values))
    assert np.abs(found - srgb_of(values)[..., None]).max() <= 0.05 / 255


def test_display_p3_by_its_profile_by_cicp_and_by_chunks_is_the_same() -> None:
    """And what the formula makes of it, for colours within sRGB."""
    rng = np.random.default_rng(0)
    values = deep(0.3 + 0.4 * rng.random((8, 8, 3))) / 65535
    to_srgb = np.array(  # CSS Color 4, section 17
        [
            [1.2249401762805598, -0.22494017628055996, 0.0],
            [-0.042056954709688163, 1.0420569547096881, 0.0],
            [-0.019637554590334432, -0.078636045550631889, 1.0982736001409663],
        ]
    )
    expected = srgb_of((light_of(values) @ to_srgb.T).clip(0, 1))
    cicp = seen(deep_png(deep(values), cICP=bytes([12, 13, 0, 1])))
    assert np.abs(cicp - expected).max() <= 1 / 4096
    linear = deep(light_of(values))
    chromaticities = [0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060]
    chrm = struct.pack(">8I", *(round(x * 100_000) for x in chromaticities))
    by_chunks = seen(deep_png(linear, gAMA=struct.pack(">I", 100_000), cHRM=chrm))
    by_profile = seen(deep_png(linear, iCCP=iccp(rgb_profile(P3_COLOURS, 1.0))))
    assert np.abs(by_chunks - expected).max() <= 1 / 2048
    assert np.abs(by_profile - expected).max() <= 1 / 2048


@pytest.mark.parametrize("bits", [8, 16])
def test_gama_without_a_profile_is_obeyed(bits: int) -> None:
    values = np.linspace(0, 1, 256)[None, :, None].repeat(3, 2)
    gama = struct.pack(">I", 100_000)
    if bits == 16:
        data = deep_png(deep(values), gAMA=gama)
    else:
        rows = b"\0" + np.rint(values[0] * 255).astype(np.uint8).tobytes()
        data = png(256, 1, 8, 2, rows, gAMA=gama)
    assert np.abs(seen(data) - srgb_of(values)).max() <= 0.05 / 255


@pytest.mark.parametrize("gama", [45455, 45450])
def test_the_gamma_that_everybody_writes_means_srgb(gama: int) -> None:
    values = np.linspace(0, 1, 256)[None, :, None].repeat(3, 2)
    data = deep_png(deep(values), gAMA=struct.pack(">I", gama))
    assert np.abs(seen(data) - values).max() <= 1 / 4096


def test_srgb_and_a_profile_count_before_gama() -> None:
    values = np.linspace(0, 1, 256)[None, :, None].repeat(3, 2)
    gama = struct.pack(">I", 100_000)
    for chunks in ({"sRGB": b"\0"}, {"iCCP": iccp(encode_profile())}):
        assert np.abs(seen(deep_png(deep(values), gAMA=gama, **chunks)) - values).max() <= 1 / 4096


def encode_profile() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def test_hdr_of_television_has_its_white_where_paper_is() -> None:
    """PQ: 203 candela per square metre are white, and brighter light is clipped (ITU-R BT.2408)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128

    def pq(candela: float) -> float:
        y = (candela / 10_000) ** m1
        return float(((c1 + c2 * y) / (1 + c3 * y)) ** m2)

    values = np.array([0, pq(20.3), pq(203), pq(4000)])[None, :, None].repeat(3, 2)
    found = seen(deep_png(deep(values), cICP=bytes([9, 16, 0, 1])))[0, :, 0]
    assert found == pytest.approx([0, float(srgb_of(np.array(0.1))), 1, 1], abs=2e-3)


def test_a_broken_profile_is_left_out() -> None:
    values = np.linspace(0, 1, 256)[None, :, None].repeat(3, 2)
    broken = bytearray(encode_profile())
    broken[128:] = bytes(len(broken) - 128)
    for profile in (bytes(broken), b"nonsense" * 40, b""):
        found = seen(deep_png(deep(values), iCCP=iccp(profile)))
        assert np.abs(found - values).max() <= 1 / 4096


def test_cmyk_with_a_profile_of_16_bits_looks_as_with_8() -> None:
    inks = np.random.default_rng(1).random((6, 6, 4))
    eight = np.rint(inks * 255).astype(np.uint8)
    data = [
        deep_tiff(values, photometric="separated")
        for values in (eight, eight.astype(np.uint16) * 257)
    ]
    assert np.abs(seen(data[0]) - seen(data[1])).max() <= 1e-6
