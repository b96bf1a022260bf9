#!/usr/bin/env bash
# imagecodecs 2026.3.6 (OpenJPEG 2.5.4): jpeg2k_decode of a JPEG 2000 picture of 10 or 12 bits with an ICC profile.
# One would guess: it returns the values of the file, as it does for TIFF, PNG and AVIF, and as without a profile.
# What happens: the profile is applied on the way to sRGB, without a word, and not in the range of the values. With a
#   gamma of 1.8, white of 10 bits (1023) becomes 826, and white of 12 bits (4095) becomes 5037, which 12 bits do not
#   have. White of 16 bits stays white, and a profile of sRGB itself changes nothing.
# Why it matters: scans of museums are JPEG 2000 with Adobe RGB or ProPhoto; reading one needs the profile cut out first.
# Source: ISO/IEC 15444-1, I.5.3.3; the profile is a matrix and a curve (ICC.1:2022).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check imagecodecs==2026.3.6 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import struct

import imagecodecs
import numpy as np

print(f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpeg2k_version()}")


def jp2(pixels, bits, profile):
    """A file by OpenJPEG, whose box of colours is exchanged for one with the profile."""
    data = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, bitspersample=bits, reversible=True))
    at, above = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    (length,), (size,) = struct.unpack_from(">I", data, at), struct.unpack_from(">I", data, above)
    box = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    grown = struct.pack(">I", size + len(box) - length)
    return data[:above] + grown + data[above + 4 : at] + box + data[at + length :]


def decoded(value, bits, profile):
    """What a pixel of this value is read as."""
    pixels = np.full((16, 16, 3), value, np.uint16)
    plain = imagecodecs.jpeg2k_encode(pixels, level=0, bitspersample=bits, reversible=True)
    assert np.array_equal(imagecodecs.jpeg2k_decode(plain), pixels)
    return imagecodecs.jpeg2k_decode(jp2(pixels, bits, profile))[0, 0].tolist()


d65, rec709 = [0.3127, 0.3290, 1.0], [0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1]
steep = imagecodecs.cms_profile("rgb", whitepoint=d65, primaries=rec709, gamma=1.8)
srgb = imagecodecs.cms_profile("srgb")
for what, bits, value, profile in (
    ("10 bits, white, sRGB", 10, 1023, srgb),
    ("10 bits, white, gamma 1.8", 10, 1023, steep),
    ("12 bits, white, gamma 1.8", 12, 4095, steep),
    ("16 bits, white, gamma 1.8", 16, 65535, steep),
):
    print(f"{what:28} {value} -> {decoded(value, bits, profile)}")

assert decoded(1023, 10, srgb) == [1023] * 3
assert decoded(65535, 16, steep) == [65535] * 3
assert decoded(1023, 10, steep) == [826] * 3
assert decoded(4095, 12, steep) == [5037] * 3
PYTHON
