#!/usr/bin/env bash
# OpenCV 4.13.0.92 and 5.0.0.93: cv2.remap with a map of floats and INTER_LINEAR.
# One would guess: values are interpolated at the places that the map says, in both.
# What happens: 4.13 looks them up at the nearest 32nd of a pixel, though map and picture are floats; 5.0
#   looks them up where the map says. A ramp moved by a hundredth of a pixel does not move in 4.13.
# Why it matters: flows over sixteen frames are chained by looking up one in the other. Rounded, a slow pan of
#   less than a 64th of a pixel per frame stands still, and results of the two versions differ.
# Source: the documentation of 4.x speaks of fixed-point maps as a faster form that one may convert to; floats
#   are converted to it inside.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 4.13.0.92 5.0.0.93; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check "opencv-python-headless==$version" numpy==2.4.6
done

cat > "$work/look.py" <<'PYTHON'
import sys

import cv2
import numpy as np

ramp = np.tile(np.arange(64, dtype=np.float32), (8, 1))
columns, rows = np.meshgrid(np.arange(64, dtype=np.float32), np.arange(8, dtype=np.float32))
moves = np.float32([0.005, 0.01, 0.02, 0.1, 0.3])
seen = []
for move in moves:
    found = cv2.remap(ramp, columns + move, rows, cv2.INTER_LINEAR)
    seen.append(float(np.median((found - ramp)[:, 8:-8])))
print(f"OpenCV {cv2.__version__}: a ramp moved by {moves.tolist()} px moves by {[round(s, 4) for s in seen]}")
steps = np.round(moves * 32) / 32
wanted = steps if sys.argv[1] == "steps" else moves
if not np.allclose(seen, wanted, atol=1e-4):
    sys.exit("CHANGED: this is no longer what the header says")
PYTHON
"$work/4.13.0.92/bin/python" "$work/look.py" steps
"$work/5.0.0.93/bin/python" "$work/look.py" exact
echo "AS DESCRIBED: OpenCV 4.13 looks up at 32nds of a pixel, 5.0 where the map says"
