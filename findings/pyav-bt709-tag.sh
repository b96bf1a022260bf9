#!/usr/bin/env bash
# PyAV 18.1.0: RGB frames encoded to a stream that is tagged BT.709.
# One would guess: codec_context.colorspace says how RGB becomes YUV, so that pixels and tag agree.
# What happens: the tag is written, but the pixels are converted with BT.601. What believes the tag shows
#   other colours; PyAV itself reads green 200 back as 173. Right is a frame that is tagged, too, or that
#   was converted before with dst_colorspace.
# Why it matters: painted frames made into an HD clip get other greens and reds; no still shows it.
# Source: PyAV's VideoCodecContext reformats frames with no colour space named, which by the
#   documentation of VideoReformatter.reformat means the frame's own; one made of an array has none.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import io
import sys

import av
import numpy as np
from av.video.reformatter import Colorspace

BT709 = 1  # of H.273, in a stream's and a frame's tags
RGB = (20, 200, 60)
av.logging.set_level(av.logging.ERROR)
print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")


def luma(red_weight, blue_weight):
    red, green, blue = RGB
    share = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    return 16 + 219 * share / 255


def as_it_is(frame):
    return frame


def tagged(frame):
    frame.colorspace = BT709
    return frame


def converted(frame):
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)


def encode(prepare):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=24, options={"qp": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        pixels = np.full((64, 64, 3), RGB, np.uint8)
        out.mux(stream.encode(prepare(av.VideoFrame.from_ndarray(pixels, format="rgb24"))))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file) as read:
        frame = next(read.decode(video=0))
        y = int(frame.to_ndarray()[0, 0])
        return int(frame.colorspace), y, frame.to_ndarray(format="rgb24")[0, 0].tolist()


by_709, by_601 = luma(0.2126, 0.0722), luma(0.299, 0.114)
print(f"RGB {RGB} has the luma {by_709:.1f} by BT.709, {by_601:.1f} by BT.601")
failed = False
for prepare, wanted in ((as_it_is, by_601), (tagged, by_709), (converted, by_709)):
    tag, y, back = encode(prepare)
    print(f"frame {prepare.__name__:10} file's tag {tag}, luma in the file {y}, read back as {back}")
    near = max(abs(a - b) for a, b in zip(back, RGB, strict=True)) <= 3
    failed |= tag != BT709 or abs(y - wanted) > 1.5 or near != (wanted == by_709)

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: the file says BT.709 and holds BT.601, unless the frame is tagged, too")
PYTHON
