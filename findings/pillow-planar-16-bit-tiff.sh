#!/usr/bin/env bash
# Pillow 13.0.0: a 16-bit RGB TIFF whose colours lie in planes of their own (PlanarConfiguration 2).
# One would guess: it is read right or refused, whether or not it is compressed.
# What happens: deflated it is read right; uncompressed it opens without a word as RGB of the right size,
#   in which every byte of the 16-bit planes has become a pixel: low, high, low ... of the upper half.
# Why it matters: so tifffile writes a (3, H, W) array, as torch holds a picture, if told nothing else.
#   A farm that reads such a photo paints coloured noise, and reports success.
# Source: TIFF 6.0, "PlanarConfiguration"; in Pillow, TiffImagePlugin takes one letter of the raw mode
#   "RGB;16L" for each plane of raw data, and with it loses the 16.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6

"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import PIL
import tifffile
from PIL import Image

print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}")
height, width = 32, 48
stored = np.empty((3, height, width), np.uint16)
stored[0] = np.linspace(0, 65535, width)  # red grows to the right
stored[1] = np.linspace(0, 65535, height)[:, None]  # green grows downwards
stored[2] = 0x4E20

failed = False
for planes in ("contig", "separate"):
    for compression in (None, "zlib"):
        for order in "<>":
            path = Path(sys.argv[1], "picture.tif")
            layout = stored if planes == "separate" else stored.transpose(1, 2, 0)
            tifffile.imwrite(path, layout, photometric="rgb", planarconfig=planes,
                             compression=compression, byteorder=order)
            assert (tifffile.imread(path) == layout).all(), "tifffile reads what it wrote"

            with Image.open(path) as picture:
                mode, size = picture.mode, picture.size
                seen = np.asarray(picture).transpose(2, 0, 1)
            off = np.abs(seen.astype(int) - (stored >> 8))
            print(f"{planes:8} {compression or 'raw':4} {order}  {mode} {size}  "
                  f"off by {off.mean():5.1f} on average, {off.max():3} at most, of 255")

            right = (off == 0).all()
            raw = [np.frombuffer(plane.astype(f"{order}u2").tobytes(), np.uint8) for plane in stored]
            bytes_as_pixels = np.stack([b[: height * width].reshape(height, width) for b in raw])
            if planes == "separate" and compression is None:
                expected = not right and (seen == bytes_as_pixels).all()
            else:
                expected = right
            failed |= not (expected and mode == "RGB" and size == (width, height))

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: only planes without compression are read wrong, and nothing says so")
PYTHON
