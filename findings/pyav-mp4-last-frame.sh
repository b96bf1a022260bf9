#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2 and x264: how long an MP4 is whose last frame stays for long.
# One would guess: the last frame has a duration, so the film ends when it is over.
# What happens: of 10 frames, the last of which appears at 4 s and stays for 6 s, the film lasts 10 s without
#   B-frames; with them, as x264 has them by default, it lasts 6.36 s.
# Why it matters: recordings of screens and slide shows end with a picture that stays; it is cut short, silently.
# Source: MP4 has of each frame when the next one is decoded (ISO/IEC 14496-12, stts). FFmpeg's muxer takes the
#   end from the packet that is decoded last, and with B-frames that is another frame.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0

"$work/venv/bin/python" - <<'PYTHON'
import io
import sys
from fractions import Fraction

import av

print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")

TIMES = [*range(9), 100]
LENGTHS = [*[1] * 8, 92, 150]


def seconds(b_frames):
    """How long the stream is, and when its last frame is shown."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": str(b_frames)})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        lengths = dict(zip(TIMES, LENGTHS))

        def mux(packets):
            for packet in packets:
                packet.duration = lengths[packet.pts]
                out.mux(packet)

        for number, pts in enumerate(TIMES):
            frame = av.VideoFrame(64, 64, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([20 * number]) * plane.buffer_size)
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            mux(stream.encode(frame))
        mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as read:
        stream = read.streams.video[0]
        length = float(stream.duration * stream.time_base)
        last = max(frame.time for frame in read.decode(stream))
    print(f"with {b_frames} B-frames: {length:.2f} s long, the last frame is shown at {last:.2f} s")
    return length, last


if (seconds(0), seconds(3)) != ((10.0, 4.0), (6.36, 4.0)):
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: with B-frames, the film ends before its last frame is over")
PYTHON
