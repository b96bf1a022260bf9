#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1.2: frame.side_data of a frame that has one more kind of data than PyAV has names for.
# One would guess: a kind that PyAV does not know is left out, or has no name; the display matrix is there.
# What happens: frame.side_data raises "ValueError: 31 is not a valid Type", and nothing beside the frame can be
#   had, not even the display matrix. frame.rotation still has its angle.
# Why it matters: cameras put Exif into their Motion JPEG, which here is kind 31; a spatial video of a phone
#   (MV-HEVC) has the view of each frame, kind 29. Who reads side_data to show films upright fails with them.
# Source: libavutil/frame.h of FFmpeg 8.1, enum AVFrameSideDataType; av/sidedata/sidedata.py, class Type.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 pillow==13.0.0

"$work/venv/bin/python" - <<'PYTHON'
import io
import sys
from fractions import Fraction

import av
from PIL import Image

print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")


def film(with_exif):
    """A MOV of one JPEG, to be turned by 90 degrees."""
    exif = Image.Exif()
    if with_exif:
        exif[0x010F] = "maker of the camera"
    jpeg = io.BytesIO()
    Image.new("RGB", (32, 16), "teal").save(jpeg, "jpeg", exif=exif)
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuvj420p"
        stream.set_display_rotation(90)
        packet = av.Packet(jpeg.getvalue())
        packet.pts = packet.dts = 0
        packet.time_base, packet.duration = Fraction(1, 25), 1
        packet.is_keyframe = True
        packet.stream = stream
        out.mux(packet)
    file.seek(0)
    return file


def said(file):
    """The angle, and the kinds of data beside the first frame."""
    with av.open(file) as read:
        frame = next(read.decode(video=0))
        try:
            return frame.rotation, sorted(data.type.name for data in frame.side_data)
        except ValueError as error:
            return frame.rotation, f"ValueError: {error}"


plain, camera = said(film(False)), said(film(True))
print("without Exif:", *plain)
print("with Exif:   ", *camera)
if plain != (90, ["DISPLAYMATRIX"]) or camera != (90, "ValueError: 31 is not a valid Type"):
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: with Exif, nothing beside the frame can be read")
PYTHON
