#!/usr/bin/env bash
# LittleCMS 2.18 and 2.19 (in imagecodecs 2026.3.6 and Pillow 13.0.0): grey through a linear grey profile.
# One would guess: values of 8 or 16 bits through two curves are exact to half a level, as they are for RGB.
# What happens: dark greys come out at half their light, up to 9.7 of 255 levels too dark (2 becomes 12, not 22),
#   with 8 bits and with 16; the same profile with floats, or the same curve in an RGB profile, is right.
# Why it matters: masks, depth maps and scans are saved as 8-bit grey with such profiles; their shadows close
#   when they are read with colour management, and nothing says so.
# Source: ICC.1:2022, 8.3 (monochrome input profiles); IEC 61966-2-1 for the values that are right.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io

import imagecodecs
import numpy as np
import PIL
from PIL import Image, ImageCms, features

print(f"Pillow {PIL.__version__} with LittleCMS {features.version('littlecms2')}")
print(f"imagecodecs {imagecodecs.__version__} with {imagecodecs.cms_version()}")
linear_grey = bytes(imagecodecs.cms_profile("gray", gamma=1.0))
d65, primaries = (0.3127, 0.3290, 1), (0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1)
linear_rgb = bytes(imagecodecs.cms_profile("rgb", whitepoint=d65, primaries=primaries, gamma=1.0))
srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

levels = np.arange(256, dtype=np.uint8)[None]
light = levels[0] / 255
right = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def error(shown):
    """The largest difference to what is right, in levels of 8 bits."""
    return float(np.abs(np.asarray(shown, float) - right).max())


def by_imagecodecs(values, profile, space, dtype=np.uint8):
    shown = imagecodecs.cms_transform(
        values, profile, srgb.tobytes(), colorspace=space, outcolorspace="rgb", outdtype=dtype
    )
    return shown[0, :, 0] * (255.0 if dtype is np.float32 else 1.0)


def by_pillow(image, profile):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB"))[0, :, 0]


seen = {
    "imagecodecs, grey of 8 bits": error(by_imagecodecs(levels, linear_grey, "gray")),
    "Pillow, grey of 8 bits": error(by_pillow(Image.fromarray(levels), linear_grey)),
    "imagecodecs, grey of 16 bits": error(
        by_imagecodecs(levels.astype(np.uint16) * 257, linear_grey, "gray")
    ),
    "imagecodecs, grey in floats": error(
        by_imagecodecs(levels / np.float32(255), linear_grey, "gray", np.float32)
    ),
    "imagecodecs, RGB of 8 bits": error(
        by_imagecodecs(np.repeat(levels[..., None], 3, 2), linear_rgb, "rgb")
    ),
}
for what, most in seen.items():
    print(f"{what:30} off by up to {most:5.2f} levels of 255")
print("2 of 255 becomes", int(by_pillow(Image.fromarray(levels), linear_grey)[2]), "and", end=" ")
print(f"{right[2]:.1f} is right")

assert seen["imagecodecs, grey of 8 bits"] > 9
assert seen["Pillow, grey of 8 bits"] > 9
assert seen["imagecodecs, grey of 16 bits"] > 9
assert seen["imagecodecs, grey in floats"] < 0.01
assert seen["imagecodecs, RGB of 8 bits"] < 1
PYTHON
