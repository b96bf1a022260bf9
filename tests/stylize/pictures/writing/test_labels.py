"""What files say besides their pixels, as other programs read it: colour space and XMP."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from jobs.spec.output import SRGB_FORMATS
from stylize import PictureError
from stylize.pictures.codec import EXTENSIONS, BitDepth, Format, decode, encode
from stylize.pictures.codec import SRGB_FORMATS as WRITTEN_IN_SRGB
from stylize.pictures.gamuts import profile_of
from stylize.pictures.picture import Picture
from tests.stylize.support import photo

FORMATS: list[Format] = ["png", "jpeg", "webp", "tiff", "avif", "jxl"]
WIDE: list[Format] = ["png", "jpeg", "webp", "tiff", "avif"]
ABOUT = {
    "id": "59a0445c3ec126d9",
    "recipe": json.dumps({"weights": 'a "quoted" <name> & é', "size": 64}),
}

P3_RED_IN_SRGB = (1.0931, -0.2267, -0.1501)
"""Display P3's red in sRGB, not clipped, by CSS Color 4's sample code."""


def xmp_of(data: bytes) -> bytes:
    """The packet of XMP in a file, found by its marks as a reader does that knows no format."""
    (found,) = re.findall(rb"<\?xpacket begin=.*?<\?xpacket end=\"r\"\?>", data, re.DOTALL)
    return bytes(found)


def properties(packet: bytes) -> dict[str, str]:
    """Its properties, by their name without the namespace."""
    body = re.sub(rb"<\?xpacket.*?\?>", b"", packet)
    (description,) = ElementTree.fromstring(body).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    return {name.rpartition("}")[2]: text for name, text in description.attrib.items()}


# -- XMP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_format", "bit_depth"), [*((name, 8) for name in FORMATS), ("png", 16), ("tiff", 16)]
)
def test_a_file_says_by_which_recipe_it_was_made(image_format: Format, bit_depth: BitDepth) -> None:
    data = encode(Picture(photo(1, 24, 32)), image_format, bit_depth=bit_depth, about=ABOUT)
    found = properties(xmp_of(data))
    assert {name: found[name] for name in ABOUT} == ABOUT
    assert found["CreatorTool"] == "stylefarm"
    without = encode(Picture(photo(1, 24, 32)), image_format, bit_depth=bit_depth)
    assert b"xpacket" not in without
    assert torch.equal(decode(data).rgb, decode(without).rgb)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp", "tiff", "avif"])
def test_pillow_finds_the_xmp(image_format: Format) -> None:
    data = encode(Picture(photo(1, 24, 32)), image_format, about=ABOUT)
    with Image.open(io.BytesIO(data)) as image:
        packet = image.tag_v2[700] if image_format == "tiff" else image.info["xmp"]  # type: ignore[attr-defined]
    assert properties(packet.encode() if isinstance(packet, str) else packet)["id"] == ABOUT["id"]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="there is no exiftool")
@pytest.mark.parametrize("image_format", FORMATS)
def test_exiftool_shows_it(image_format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"a.{EXTENSIONS[image_format]}"
    path.write_bytes(encode(Picture(photo(1, 24, 32)), image_format, about=ABOUT))
    shown = subprocess.run(
        ["exiftool", "-json", "-XMP:all", "-warning", path], capture_output=True, check=True
    )
    (found,) = json.loads(shown.stdout)
    assert found["Id"] == ABOUT["id"]
    assert json.loads(found["Recipe"]) == json.loads(ABOUT["recipe"])
    assert "Warning" not in found


def test_equal_properties_give_equal_bytes() -> None:
    for image_format in FORMATS:
        once, again = (
            encode(Picture(photo(1, 24, 32)), image_format, about=ABOUT) for _ in range(2)
        )
        assert once == again


# -- colour spaces -----------------------------------------------------------------------------------


def test_the_profile_of_display_p3_is_that_of_its_standard() -> None:
    """The colorants as Apple and the W3C publish them, to the last bit of the format."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_of("display-p3"))).profile
    assert profile.profile_description == "Display P3"
    expected = {
        "red_colorant": (0.51512, 0.24120, -0.00105),
        "green_colorant": (0.29198, 0.69225, 0.04189),
        "blue_colorant": (0.15710, 0.06657, 0.78407),
        "media_white_point": (0.96420, 1.0, 0.82491),
    }
    for name, value in expected.items():
        assert getattr(profile, name)[0] == pytest.approx(value, abs=5e-5), name


def test_littlecms_and_the_formula_agree_about_display_p3() -> None:
    """Values in Display P3 are seen as the same colours by the ICC profile and by cICP's formula."""
    axis = torch.linspace(0.2, 0.8, 5)
    cube = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(1, 3, 5, 25)
    data = encode(Picture(cube), "png", bit_depth=16, gamut="display-p3")
    with Image.open(io.BytesIO(encode(Picture(cube), "png", gamut="display-p3"))) as image:
        seen = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    assert seen is not None
    ours = decode(data).rgb[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - np.asarray(seen, np.float32)).max() <= 1.6  # two roundings to 8 bits


@pytest.mark.parametrize("image_format", WIDE)
def test_saturated_colours_survive_in_display_p3(image_format: Format) -> None:
    red = torch.tensor([0.98, 0.05, 0.05]).view(1, 3, 1, 1).expand(1, 3, 24, 32)
    data = encode(Picture(red), image_format, 100, gamut="display-p3")
    wide = decode(data, gamut="display-p3").rgb
    assert (wide - red).abs().max() <= 2.6 / 255
    clipped = decode(data).rgb  # there is no such red in sRGB
    assert clipped[0, :, 12, 16].tolist() == pytest.approx([1, 0, 0], abs=0.01)


@pytest.mark.parametrize("profile", [None, profile_of("srgb")])
def test_srgb_is_converted_to_display_p3(profile: bytes | None) -> None:
    """The primaries of sRGB in Display P3, by CSS Color 4's sample code."""
    expected = {
        (255, 0, 0): (0.9175, 0.2003, 0.1386),
        (0, 255, 0): (0.4584, 0.9853, 0.2983),
        (0, 0, 255): (0.0, 0.0, 0.9595),
        (128, 128, 128): (0.50196, 0.50196, 0.50196),
    }
    for colour, wide in expected.items():
        file = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(file, "PNG", icc_profile=profile)
        found = decode(file.getvalue(), gamut="display-p3").rgb[0, :, 4, 4].tolist()
        assert found == pytest.approx(wide, abs=6e-4)
        grey = decode(file.getvalue()).rgb[0, :, 4, 4].tolist()
        assert grey == pytest.approx([c / 255 for c in colour], abs=1e-6)


def test_grey_is_the_same_in_both() -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8), 77).save(file, "PNG")
    for gamut in ("srgb", "display-p3"):
        found = decode(file.getvalue(), gamut=gamut).rgb  # type: ignore[arg-type]
        assert (found - 77 / 255).abs().max() < 1e-5


def test_jxl_is_written_in_srgb_alone() -> None:
    with pytest.raises(PictureError, match=r"^jxl is written in srgb alone, not in display-p3$"):
        encode(Picture(photo(1, 24, 32)), "jxl", gamut="display-p3")


def test_job_files_and_files_agree_on_what_is_srgb_alone() -> None:
    assert list(WRITTEN_IN_SRGB) == SRGB_FORMATS
