#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2: a film with AAC sound, copied packet by packet from MP4 into Matroska.
# One would guess: each packet keeps its time, as in MP4 and MOV, or sound that begins before 0 is cut.
# What happens: AAC begins 1024 samples before 0, and Matroska moves all streams by as much: every picture is
#   shown 21 ms later than in the source, only because there is sound. Without sound, or with
#   `avoid_negative_ts` disabled, pictures stay where they are.
# Why it matters: a film of painted frames has the times of the film that they are of, and players seek to them by
#   time; a tool that compares ticks finds no frame of the one in the other.
# Source: FFmpeg's muxers without times below 0 move what they get; those with edit lists need not.
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


def film():
    """One second of grey pictures and of a tone."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        pictures = out.add_stream("mpeg4", rate=25)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        sound = out.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for k in range(25):
            grey = np.full((32, 32, 3), 10 * k, np.uint8)
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        tone = (0.3 * np.sin(np.arange(48000) / 20)).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 48000, 0, Fraction(1, 48000)
        out.mux(sound.encode(samples))
        out.mux(sound.encode())
        out.mux(pictures.encode())
    return file.getvalue()


def copied(data, container, kinds, options):
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(data)) as source,
        av.open(file, "w", format=container, container_options=options) as out,
    ):
        streams = {one.index: out.add_stream_from_template(one) for one in source.streams if one.type in kinds}
        for packet in source.demux():
            if packet.dts is not None and packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return file.getvalue()


def first_picture(data):
    """When the first picture is shown, in milliseconds."""
    with av.open(io.BytesIO(data)) as source:
        times = [p.pts * p.time_base for p in source.demux(video=0) if p.pts is not None]
    return round(1000 * min(times))


source = film()
disabled = {"avoid_negative_ts": "disabled"}
cases = [
    ("mp4", "video audio", {}, 0),
    ("mov", "video audio", {}, 0),
    ("matroska", "video", {}, 0),
    ("matroska", "video audio", {}, 21),
    ("matroska", "video audio", disabled, 0),
]
failed = first_picture(source) != 0
for container, kinds, options, expected in cases:
    at = first_picture(copied(source, container, kinds.split(), options))
    print(f"copied into {container:8} {kinds:11} {options or ''}: the first picture is at {at} ms")
    failed |= at != expected

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: in Matroska sound that begins before 0 moves every picture by 21 ms")
PYTHON
