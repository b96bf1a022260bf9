#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2: the rate of a Matroska file of 60000/1001 frames per second.
# One would guess: what was written with a rate is read with it, as it is for 24000/1001 and 30000/1001.
# What happens: average_rate, guessed_rate and base_rate are all 19001/317, however long the film; the same
#   frames in MP4 have 60000/1001.
# Why it matters: painted frames are written with the rate of the film that they are of. At 19001/317 they have
#   other ticks than it and its sound, and a rate that equals none of the usual ones.
# Source: Matroska has the length of a frame in nanoseconds, 16683333 here, and FFmpeg looks for a fraction
#   of numbers below 30,000 that comes near: 60000 is none of these.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io
import sys
from fractions import Fraction

import av
import numpy as np

print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")


def rates(container, rate, count):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for k in range(count):
            grey = np.full((32, 32, 3), k % 255, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file) as read:
        stream = read.streams.video[0]
        return {stream.average_rate, stream.guessed_rate, stream.base_rate}


failed = False
for numerator in (24000, 30000, 60000):
    written = Fraction(numerator, 1001)
    for container in ("mp4", "matroska"):
        found = {rate for count in (30, 600) for rate in rates(container, written, count)}
        print(f"{written} in {container:8} is read as {', '.join(map(str, sorted(found)))}")
        odd = numerator == 60000 and container == "matroska"
        failed |= found != {Fraction(19001, 317) if odd else written}

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: 60000/1001 in Matroska is read as 19001/317")
PYTHON
