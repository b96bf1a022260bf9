#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2: when a film in MP4 begins that begins later than 0, in ticks of 1/90000 s.
# One would guess: MP4 counts in the ticks of the stream, so every time is kept exactly.
# What happens: a beginning at tick 1003 (11.14 ms) is read as 990 (11 ms), and all frames with it are 0.14 ms
#   early; with movie_timescale=90000 among the options of the container, it is 1003.
# Why it matters: times of frames that are compared exactly, from an analysis to the film it was made of, do not
#   meet after a mere copy; nothing is said.
# Source: ISO/IEC 14496-12, 8.6.6: an edit list has how long nothing is shown in ticks of the movie; FFmpeg's
#   muxer has 1000 of them in a second, whatever the streams have.
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

TICK = Fraction(1, 90_000)
TIMES = [1003, 4006, 7009, 10012]


def times(**options):
    """When frames are shown that are written at TIMES."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", container_options=options) as out:
        stream = out.add_stream("mpeg4", rate=30)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30_000)
        for pts in TIMES:
            frame = av.VideoFrame(32, 32, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([100]) * plane.buffer_size)
            frame.pts, frame.time_base = TIMES.index(pts), Fraction(1, 30)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = pts
                packet.time_base, packet.duration = TICK, 3003
                out.mux(packet)
    file.seek(0)
    with av.open(file) as read:
        stream = read.streams.video[0]
        print(dict(options), "ticks of", stream.time_base, end=": ")
        shown = [frame.pts * stream.time_base / TICK for frame in read.decode(stream)]
    print(*shown)
    return shown


coarse = times(video_track_timescale="90000")
exact = times(video_track_timescale="90000", movie_timescale="90000")
if exact != TIMES or coarse != [pts - 13 for pts in TIMES]:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: frames are 13 ticks early unless the movie's ticks are as fine")
PYTHON
