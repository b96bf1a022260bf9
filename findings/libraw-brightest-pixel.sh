#!/usr/bin/env bash
# rawpy 0.28.0 (LibRaw 0.22.2): two raw files of one scene, of which one has a brighter lamp in a corner.
# One would guess: with no_auto_bright=True the brightness depends on the exposure and the white level alone.
# What happens: where the brightest value of a file lies between 75% and 100% of the white level, LibRaw takes it for
#   white (adjust_maximum_thr, 0.75 by default), so the same grey is a quarter brighter in the file without the lamp.
#   With adjust_maximum_thr=0 both are the same.
# Why it matters: frames of a burst or a time lapse flicker, and panoramas have seams, though auto-brightness is off.
# Source: LibRaw's documentation of adjust_maximum_thr; DNG 1.4 for the file that is made here.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  rawpy==0.28.0 tifffile==2026.3.3 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import rawpy
import tifffile

print(f"rawpy {rawpy.__version__} with LibRaw {'.'.join(map(str, rawpy.libraw_version))}")
XYZ_TO_SRGB = (3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560)
XYZ_TO_SRGB += (0.0556434, -0.2040259, 1.0572252)


def rational(*values):
    return [part for value in values for part in (round(value * 10_000), 10_000)]


def dng(lamp):
    """A DNG of 16 bits, black at 0 and white at 16000: a wall of 40% light, and a lamp in a corner."""
    mosaic = np.full((64, 96), 6400, np.uint16)
    mosaic[:8, :8] = lamp
    file = io.BytesIO()
    tags = [
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Model", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes((0, 1, 1, 2)), True),
        (50706, 1, 4, bytes((1, 4, 0, 0)), True),
        (50708, 2, 0, "Maker Model", True),
        (50714, 3, 1, 0, True),
        (50717, 3, 1, 16000, True),
        (50721, 10, 9, rational(*XYZ_TO_SRGB), True),
        (50728, 5, 3, rational(1, 1, 1), True),
        (50778, 3, 1, 21, True),
    ]
    tifffile.imwrite(file, mosaic, photometric="cfa", metadata=None, extratags=tags)
    return file.getvalue()


def wall(lamp, **how):
    with rawpy.imread(io.BytesIO(dng(lamp))) as raw:
        pixels = raw.postprocess(
            output_bps=16, gamma=(1, 1), no_auto_bright=True, use_camera_wb=True, **how
        )
    return float(pixels[40, 60, 1]) / 65535


for lamp in (12_800, 16_000):
    print(f"lamp {lamp / 16_000:.0%} of white: wall {wall(lamp):.3f}", end="")
    print(f", with adjust_maximum_thr=0 {wall(lamp, adjust_maximum_thr=0.0):.3f}")

assert abs(wall(16_000) - 0.400) < 0.005
assert abs(wall(12_800) - 0.500) < 0.005
assert abs(wall(12_800, adjust_maximum_thr=0.0) - 0.400) < 0.005
assert abs(wall(16_000, adjust_maximum_thr=0.0) - 0.400) < 0.005
PYTHON
