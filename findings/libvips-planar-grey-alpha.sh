#!/usr/bin/env bash
# libvips 8.18.7 (pyvips 3.2.0): TIFF of grey with alpha, in two planes.
# One would guess: it is read as the same picture with its channels side by side is, as RGB and RGBA in planes are.
# What happens: from the second row on pixels are those of other places, without an error or a warning. A ramp from 0
#   to 252 in 64 steps begins its second row with 128, and half of the greys are wrong. With one row it is right.
# Why it matters: programs for scans and for science write channels as planes, and grey with a mask is common there.
# Source: TIFF 6.0, PlanarConfiguration and ExtraSamples; tifffile and libtiff's tools read such files right.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyvips==3.2.0 pyvips-binary==8.18.7 tifffile==2026.3.3 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import pyvips
import tifffile

print("libvips", ".".join(str(pyvips.version(k)) for k in range(3)))


def wrong(planes, planar, photometric):
    """The share of values that libvips reads as others; tifffile gives all back."""
    pixels = planes if planar == "separate" else np.moveaxis(planes, 0, 2)
    extra = ["unassalpha"] * (len(planes) % 2 == 0)
    file = io.BytesIO()
    tifffile.imwrite(
        file, pixels, photometric=photometric, planarconfig=planar, extrasamples=extra
    )
    assert np.array_equal(tifffile.imread(io.BytesIO(file.getvalue())), pixels)
    found = pyvips.Image.new_from_buffer(file.getvalue(), "").numpy()
    return float(np.mean(np.moveaxis(found, 2, 0) != planes)), found


def planes(rows, count):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (rows, 1))
    opaque = np.full_like(ramp, 255)
    return np.stack([*[ramp] * (count - 1 + count % 2), *[opaque] * (count % 2 == 0)])


for rows, count, planar in (
    (8, 2, "contig"),
    (8, 2, "separate"),
    (1, 2, "separate"),
    (8, 3, "separate"),
    (8, 4, "separate"),
):
    kind = "minisblack" if count == 2 else "rgb"
    share, found = wrong(planes(rows, count), planar, kind)
    print(f"{rows} rows of {count} channels, {planar:8}: {share:.0%} of the values are wrong")
    assert (share > 0.2) == (rows > 1 and count == 2 and planar == "separate")
    if share:
        print("  the second row begins with", found[1, :3, 0].tolist(), "where it is", [0, 4, 8])
        assert found[1, 0, 0] == 128
PYTHON
