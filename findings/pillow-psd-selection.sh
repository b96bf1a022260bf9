#!/usr/bin/env bash
# Pillow 13.0.0 and psd-tools 1.26.0: a PSD whose fourth channel is a selection that was saved.
# One would guess: the picture is opaque. A PSD says by the sign of its number of layers whether the first channel after
#   the colours is the picture's transparency; where there are no layers, it is a channel of its own ("Alpha 1").
# What happens: both take it for transparency (mode RGBA), so that all that was not selected vanishes.
# Why it matters: retouched photos have such selections; laid over white, most of the picture is lost.
# Source: Adobe Photoshop File Formats Specification (2019), File Header; Layer Info, the layer count.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow==13.0.0 psd-tools==1.26.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io
import struct
from importlib.metadata import version

import numpy as np
import PIL
from PIL import Image
from psd_tools import PSDImage

print(f"Pillow {PIL.__version__}, psd-tools {version('psd-tools')}")

# 8 bits of RGB; no layers, no compression; the fourth plane selects the left half.
planes = np.full((4, 16, 24), 90, np.uint8)
planes[3] = 0
planes[3, :, :12] = 255
header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 16, 24, 8, 3)
data = header + bytes(12) + b"\0\0" + planes.tobytes()

with Image.open(io.BytesIO(data)) as image:
    pictures = {"Pillow": image.copy(), "psd-tools": PSDImage.open(io.BytesIO(data)).topil()}
for name, picture in pictures.items():
    seen = np.asarray(picture)
    print(f"{name:10} {picture.mode}, selected {seen[0, 0].tolist()}, not {seen[0, 23].tolist()}")
    assert picture.mode == "RGBA"
    assert seen[0, 0].tolist() == [90, 90, 90, 255]
    assert seen[0, 23].tolist() == [90, 90, 90, 0]
PYTHON
