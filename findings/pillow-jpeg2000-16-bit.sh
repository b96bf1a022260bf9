#!/usr/bin/env bash
# Pillow 13.0.0: JPEG 2000 in colour with more than 8 bits per channel.
# One would guess: the values are scaled to 8 bits, as grey ones of 16 bits are kept, or the file is refused.
# What happens: they are rounded with an overflow, without an error. Of 16 bits, 65407 becomes 255 and 65408 and all
#   above become 0: white is read as black, and an opaque alpha channel as transparent. So it is with 12 bits.
# Why it matters: scans and cinema frames are JPEG 2000 of 12 or 16 bits; their highlights turn black.
# Source: ISO/IEC 15444-1; Pillow's list of formats, which says that such files are read.
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
from PIL import Image

print(f"Pillow {PIL.__version__}, files by imagecodecs {imagecodecs.__version__}")


def read(value, bits=16, channels=3):
    """One value of a picture of this value, by Pillow; imagecodecs gives it back as it was."""
    pixels = np.full((16, 16, channels), value, np.uint16).squeeze()
    data = imagecodecs.jpeg2k_encode(pixels, level=0, bitspersample=bits, reversible=True)
    assert np.array_equal(imagecodecs.jpeg2k_decode(data), pixels)
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.asarray(image)[0, 0].tolist()


for what, found in {
    "16 bits, 65407": read(65407),
    "16 bits, 65408": read(65408),
    "16 bits, white": read(65535),
    "16 bits, white, with alpha": read(65535, channels=4),
    "12 bits, white": read(4095, bits=12),
    "16 bits, white, grey": read(65535, channels=1),
}.items():
    print(f"{what:28} {found[0]:6} {found[1]}")

assert read(65407)[1] == [255, 255, 255]
assert read(65408)[1] == read(65535)[1] == [0, 0, 0]
assert read(65535, channels=4)[1] == [0, 0, 0, 0]
assert read(4095, bits=12)[1] == [0, 0, 0]
assert read(65535, channels=1)[1] == 65535
PYTHON
