#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2: what a film shows where its edit list shows nothing.
# One would guess: nothing, wherever the empty edit is: the frames are those of the other edits, with a gap.
# What happens: an empty edit that comes first is a gap. In the place of one in the middle or at the end come frames
#   from the beginning of the track, which no edit has: 30 frames for 20, and 20 for 10.
# Why it matters: cutting rooms write such gaps where pictures were taken out; what was cut away comes back.
# Source: ISO/IEC 14496-12, 8.6.6: "If this field is set to -1, it is an empty edit."
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0

"$work/venv/bin/python" - <<'PYTHON'
import io
import struct
import sys

import av

RATE, FRAMES, NOTHING = 25, 40, -1

print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")


def film():
    """A MOV whose frames have their number as their grey."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as out:
        stream = out.add_stream("png", rate=RATE)
        stream.width = stream.height = 32
        stream.pix_fmt = "gray"
        for k in range(FRAMES):
            frame = av.VideoFrame(32, 32, "gray")
            for plane in frame.planes:
                plane.update(bytes([k]) * plane.buffer_size)
            frame.pts = k
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def box_at(data, name, end=None):
    return data.rindex(name, 0, end) - 4


def edited(data, edits):
    """The film with a list of edits: (the first frame, how many)."""
    changed = bytearray(data)
    movie = box_at(data, b"mvhd")
    second = struct.unpack(">I", data[movie + 20 : movie + 24])[0]
    media = box_at(data, b"mdhd")
    frame = struct.unpack(">I", data[media + 20 : media + 24])[0] // RATE
    body = struct.pack(">4sII", b"elst", 0, len(edits))
    for first, count in edits:
        body += struct.pack(">IiI", count * second // RATE, max(first * frame, -1), 1 << 16)
    at = box_at(data, b"elst")
    length = struct.unpack(">I", data[at : at + 4])[0]
    changed[at : at + length] = struct.pack(">I", len(body) + 4) + body
    for name in (b"edts", b"trak", b"moov"):
        outer = box_at(data, name, at)
        size = struct.unpack(">I", data[outer : outer + 4])[0]
        changed[outer : outer + 4] = struct.pack(">I", size + len(body) + 4 - length)
    total = sum(count for _, count in edits) * second // RATE
    track = box_at(data, b"tkhd")
    for place in (movie + 24, track + 28):
        changed[place : place + 4] = struct.pack(">I", total)
    return bytes(changed)


def shown(data):
    with av.open(io.BytesIO(data)) as read:
        return [(round(f.time * RATE), bytes(f.planes[0])[0]) for f in read.decode(video=0)]


source = film()
assert len(shown(source)) == FRAMES
failed = False
for edits, extra in (
    ([(20, 10), (5, 10)], 0),
    ([(NOTHING, 10), (20, 10)], 0),
    ([(20, 10), (NOTHING, 10), (5, 10)], 10),
    ([(20, 10), (NOTHING, 10)], 10),
):
    meant, at = [], 0
    for first, count in edits:
        meant += [(at + k, first + k) for k in range(count) if first != NOTHING]
        at += count
    found = shown(edited(source, edits))
    wrong = [pair for pair in found if pair not in meant]
    print(f"edits {edits}: {len(meant)} frames are meant, {len(found)} shown; (when, which) is wrong: {wrong}")
    failed |= len(wrong) != extra or not set(meant) <= set(found)

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: where an empty edit is not the first, frames are shown that no edit has")
PYTHON
