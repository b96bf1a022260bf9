#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2: how many frames a film has whose beginning an MP4 edit list hides.
# One would guess: stream.frames is how many frames a player shows, and decoding gives so many.
# What happens: of 20 frames, of which 5 are cut away by the edit list, it is 20, and decoding gives 15.
# Why it matters: a film that was trimmed without encoding it anew has an edit list. Its last frames are waited for
#   in vain, and shares of it are wrong.
# Source: MP4 has the number of samples (ISO/IEC 14496-12, stsz), which knows of no edit list.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0

"$work/venv/bin/python" - <<'PYTHON'
import io
import sys

import av

print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")


def film(count, hidden):
    """An MP4 of which so many frames lie before 0: the muxer writes an edit list that hides them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 20
        for k in range(count):
            frame = av.VideoFrame(32, 32, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([8 * k]) * plane.buffer_size)
            frame.pts = k
            for packet in stream.encode(frame):
                packet.pts -= round(hidden / 25 / float(packet.time_base))
                packet.dts = packet.pts
                out.mux(packet)
        out.mux(stream.encode(None))
    return file.getvalue()


failed = False
for hidden in (0, 5):
    data = film(20, hidden)
    with av.open(io.BytesIO(data)) as read:
        stream = read.streams.video[0]
        said, tick = stream.frames, stream.time_base
        shown = [frame.pts * tick for frame in read.decode(stream)]
    print(f"{hidden} of 20 frames hidden: stream.frames is {said}, {len(shown)} are decoded")
    failed |= (said, len(shown), shown[0]) != (20, 20 - hidden, 0)

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: stream.frames counts what the edit list hides")
PYTHON
