#!/usr/bin/env bash
# Pillow 13.0.0: a PSD packed by PackBits, as Photoshop packs all, whose channels are more than its colours need.
# One would guess: the first channels are the picture, as in the same document without packing, and as psd-tools has it.
# What happens: other bytes become pixels, without an error. Before the rows a PSD has the packed length of each row of
#   every channel; Pillow passes over those of the colours alone, and takes the other lengths for rows. RGB with two
#   more channels is shifted and torn; RGB with one, which Pillow takes for RGBA, is right.
# Why it matters: retouched photos have selections and spot colours as further channels.
# Source: Adobe Photoshop File Formats Specification (2019), Image Data Section.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow==13.0.0 psd-tools==1.26.0 imagecodecs==2026.3.6 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io
import struct

import imagecodecs
import numpy as np
import PIL
from PIL import Image
from psd_tools import PSDImage

print(f"Pillow {PIL.__version__}")
HEIGHT, WIDTH = 48, 64


def psd(channels, packed):
    """A document of RGB: three ramps, then selections; no layers."""
    ramp = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    planes = np.stack([ramp, ramp[:, ::-1], ramp // 2, *[np.full_like(ramp, 255)] * (channels - 3)])
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, HEIGHT, WIDTH, 8, 3) + bytes(12)
    if not packed:
        return planes, head + b"\0\0" + planes.tobytes()
    rows = [imagecodecs.packbits_encode(row.tobytes()) for row in planes.reshape(-1, WIDTH)]
    lengths = struct.pack(f">{len(rows)}H", *map(len, rows))
    return planes, head + b"\0\1" + lengths + b"".join(rows)


def wrong(image, planes):
    """The share of values of the first three channels that are others."""
    seen = np.asarray(image)[..., :3]
    return float(np.mean(seen != np.moveaxis(planes[:3], 0, 2)))


for channels in (3, 4, 5, 6):
    for packed in (False, True):
        planes, data = psd(channels, packed)
        other = wrong(PSDImage.open(io.BytesIO(data)).topil(), planes)
        with Image.open(io.BytesIO(data)) as image:
            share = wrong(image, planes)
            print(
                f"{channels} channels, {'packed' if packed else 'plain':6}: {image.mode:4} "
                f"{share:4.0%} of the values are wrong; by psd-tools {other:.0%}"
            )
        assert other == 0
        assert (share > 0.2) == (packed and channels > 4)
PYTHON
