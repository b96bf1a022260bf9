#!/usr/bin/env bash
# imagecodecs 2026.3.6 (libjxl 0.11.2): a 16-bit RGB array, written as JPEG XL without loss.
# One would guess: 8 and 16 bits of the same picture are the same picture, in twice the depth.
# What happens: the values come back unchanged, but the file of 16 bits says that they are linear light, while that
#   of 8 bits says sRGB. There is no argument for the colour space. A program that reads colours shows mid-grey as
#   188 of 255 instead of 128.
# Why it matters: scans and renders archived so look right in imagecodecs, which tells no profile, and washed out
#   everywhere else.
# Source: imagecodecs' docstring of jpegxl_encode, which says nothing of it; ISO/IEC 18181-1, colour encoding.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  imagecodecs==2026.3.6 pillow-jxl-plugin==1.3.8 pillow==13.0.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io

import imagecodecs
import numpy as np
from PIL import Image, ImageCms
from pillow_jxl.JpegXLImagePlugin import JXLImageFile

print(f"imagecodecs {imagecodecs.__version__} with {imagecodecs.jpegxl_version()}")
srgb = ImageCms.createProfile("sRGB")
grey = np.full((16, 16, 3), 128, np.uint8)


def shown(values):
    """The first pixel, in sRGB of 8 bits, as a program shows it that takes the file's profile."""
    data = imagecodecs.jpegxl_encode(values, lossless=True)
    assert np.array_equal(imagecodecs.jpegxl_decode(data), values)
    with JXLImageFile(io.BytesIO(data)) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        name = ImageCms.getProfileDescription(profile).strip()
    pixels = Image.fromarray((values / np.iinfo(values.dtype).max * 255).round().astype(np.uint8))
    return name, np.asarray(ImageCms.profileToProfile(pixels, profile, srgb))[0, 0].tolist()


for values in (grey, grey.astype(np.uint16) * 257):
    name, pixel = shown(values)
    print(f"{values.dtype}: {values[0, 0, 0]} of {np.iinfo(values.dtype).max}, profile {name}, shown {pixel}")

name, pixel = shown(grey)
assert "srgb" in name.lower() and max(abs(np.array(pixel) - 128)) <= 1
name, pixel = shown(grey.astype(np.uint16) * 257)
assert "lin" in name.lower() and min(pixel) >= 186
PYTHON
