"""Files of 16 bits per channel, read by the letter of their standards: no library that writes them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from jobs.spec.output import SHALLOW_FORMATS
from stylize import PictureError
from stylize.pictures.codec import DEEP_FORMATS, EXTENSIONS, Format, decode, encode
from stylize.pictures.picture import Picture
from tests.stylize.support import noise, photo

Pixels = NDArray[Any]

FORMATS: list[Format] = ["png", "tiff"]


def with_alpha(height: int = 24, width: int = 33) -> Picture:
    alpha = 0.25 + 0.75 * noise(2, height, width)[:, :1]
    return Picture(photo(1, height, width) * alpha + 1 - alpha, alpha)


# -- readers -----------------------------------------------------------------------------------------


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, contents) of each chunk of a PNG (ISO/IEC 15948, 5.3), whose checksums are right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        yield kind, body
        at += length + 12


def read_png(data: bytes) -> Pixels:
    """(H, W, C) of a PNG of 16 bits per channel."""
    pieces = list(chunks(data))
    assert [kind for kind, _ in pieces][:: len(pieces) - 1] == [b"IHDR", b"IEND"]
    width, height, *kind = struct.unpack(">II5B", pieces[0][1])
    channels = {(16, 2, 0, 0, 0): 3, (16, 6, 0, 0, 0): 4}[tuple(kind)]
    stored = zlib.decompress(b"".join(body for name, body in pieces if name == b"IDAT"))
    step, stride = 2 * channels, 2 * channels * width
    assert len(stored) == height * (1 + stride)
    above, rows = bytes(stride), []
    for y in range(height):
        number, *row = stored[y * (1 + stride) : (y + 1) * (1 + stride)]
        for k in range(stride):  # 9.2: how filters 0 to 3 are undone
            a, b = row[k - step] if k >= step else 0, above[k]
            row[k] = (row[k] + {0: 0, 1: a, 2: b, 3: (a + b) // 2}[number]) % 256
        above = bytes(row)
        rows.append(above)
    return np.frombuffer(b"".join(rows), ">u2").reshape(height, width, channels)


def tags(data: bytes) -> dict[int, Any]:
    """The tags of a little-endian TIFF's only picture, by number (TIFF 6.0, section 2)."""
    assert data[:4] == b"II*\0"
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    found = {}
    for k in range(count):
        number, kind, values = struct.unpack_from("<HHI", data, at + 2 + 12 * k)
        form = f"<{values}" + {1: "B", 2: "s", 3: "H", 4: "I", 5: "Q", 7: "s"}[kind]
        place = at + 10 + 12 * k
        if struct.calcsize(form) > 4:
            (place,) = struct.unpack_from("<I", data, place)
        found[number] = struct.unpack_from(form, data, place)
    assert struct.unpack_from("<I", data, at + 2 + 12 * count) == (0,), "there is a second picture"
    return found


def read_tiff(data: bytes) -> Pixels:
    """(H, W, C) of a TIFF of 16 bits per channel, deflated strips with horizontal differencing."""
    tag = tags(data)
    (width,), (height,), (channels,) = tag[256], tag[257], tag[277]
    assert tag[258] == (16,) * channels
    # Adobe's deflate; RGB; channels of a pixel together; differences.
    assert (tag[259], tag[262], tag[284], tag[317]) == ((8,), (2,), (1,), (2,))
    # The fourth is alpha that the colours were not multiplied with.
    assert tag.get(338) == (None if channels == 3 else (2,))
    strips = zip(tag[273], tag[279], strict=True)
    stored = b"".join(zlib.decompress(data[at : at + size]) for at, size in strips)
    differences = np.frombuffer(stored, "<u2").reshape(height, width, channels)
    return np.cumsum(differences, axis=1, dtype=np.uint16)


def read_back(data: bytes, image_format: Format) -> Pixels:
    return read_png(data) if image_format == "png" else read_tiff(data)


def profile_of(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        profile: bytes = image.info["icc_profile"]
    return profile


# -- pixels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_level_is_written(image_format: Format) -> None:
    levels = torch.arange(65536).reshape(256, 256)
    rgb = torch.stack([levels, levels.flip(0), levels.flip(1)])[None]
    found = read_back(encode(Picture(rgb / 65535), image_format, bit_depth=16), image_format)
    assert np.array_equal(found, rgb[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(24, 33), (1, 1), (1, 5), (5, 1), (3, 4), (4, 3)])
def test_values_are_the_nearest_of_65536(image_format: Format, height: int, width: int) -> None:
    picture = with_alpha(height, width)
    assert picture.alpha is not None
    found = read_back(encode(picture, image_format, bit_depth=16), image_format)
    # The file has the colours that were laid over white.
    exact = (
        torch.cat([photo(1, height, width), picture.alpha], 1)[0].permute(1, 2, 0).double() * 65535
    )
    assert found.shape == (height, width, 4)
    assert (
        np.abs(found - exact.numpy()).max() <= 0.54
    )  # four roundings of float32, at an alpha of 0.25
    opaque = read_back(encode(Picture(picture.rgb), image_format, bit_depth=16), image_format)
    exact = picture.rgb[0].permute(1, 2, 0).double() * 65535
    assert np.abs(opaque - exact.numpy()).max() <= 0.505  # 65535 x is itself a float32


@pytest.mark.parametrize("image_format", FORMATS)
def test_what_cannot_be_shown_is_clipped(image_format: Format) -> None:
    wild = torch.tensor([-3.0, 0.5, 7.0]).view(1, 3, 1, 1)
    found = read_back(encode(Picture(wild), image_format, bit_depth=16), image_format)
    assert found.tolist() == [[[0, 32768, 65535]]]


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_gradient_has_no_steps(image_format: Format) -> None:
    """In 8 bits it has 26: a tenth of the range."""
    rgb = torch.linspace(0.5, 0.6, 2000).expand(1, 3, 2, 2000)
    found = read_back(encode(Picture(rgb), image_format, bit_depth=16), image_format)
    assert len(np.unique(found)) == 2000


def test_a_flat_picture_has_no_empty_chunk() -> None:
    data = encode(Picture(torch.ones(1, 3, 40, 30)), bit_depth=16)
    assert all(body for kind, body in chunks(data) if kind == b"IDAT")
    assert (read_png(data) == 65535).all()


# -- what else is in the file ------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_profile_is_that_of_8_bits(image_format: Format) -> None:
    deep_file, plain = (encode(with_alpha(), image_format, bit_depth=b) for b in (16, 8))
    assert profile_of(deep_file) == profile_of(plain)


@pytest.mark.parametrize("image_format", FORMATS)
def test_equal_pixels_give_equal_bytes(image_format: Format) -> None:
    once, again = (encode(with_alpha(), image_format, bit_depth=16) for _ in range(2))
    assert once == again


def test_no_file_says_when_or_by_what_it_was_made() -> None:
    kinds = {kind for kind, _ in chunks(encode(with_alpha(), "png", bit_depth=16))}
    assert kinds == {b"IHDR", b"iCCP", b"IDAT", b"IEND"}
    data = encode(with_alpha(), "tiff", bit_depth=16)
    # ImageDescription, Software, DateTime, Artist, HostComputer
    assert not {270, 305, 306, 315, 316} & set(tags(data))
    assert b"tifffile" not in data


# -- back in, and refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(24, 33), (1, 1), (3, 4)])
def test_what_is_written_can_be_read(image_format: Format, height: int, width: int) -> None:
    """Pillow keeps 8 bits of the 16, and cuts where it should round."""
    picture = with_alpha(height, width)
    assert picture.alpha is not None
    opaque = decode(encode(Picture(picture.rgb), image_format, bit_depth=16))
    assert opaque.alpha is None
    assert (opaque.rgb - picture.rgb).abs().max() <= 1.01 / 255
    back = decode(encode(picture, image_format, bit_depth=16))
    assert back.alpha is not None
    assert (back.alpha - picture.alpha).abs().max() <= 1.01 / 255


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif", "jxl"])
def test_a_format_without_16_bits_is_refused(image_format: Format) -> None:
    with pytest.raises(PictureError, match=f"^{image_format} has 8 bits per channel, not 16$"):
        encode(with_alpha(), image_format, bit_depth=16)


def test_a_depth_there_is_not_is_refused() -> None:
    with pytest.raises(PictureError, match="8 or 16 bits per channel, not 12"):
        encode(with_alpha(), "png", bit_depth=12)  # type: ignore[arg-type]


def test_job_files_and_files_agree_on_who_has_16_bits() -> None:
    assert set(EXTENSIONS) - set(DEEP_FORMATS) == set(SHALLOW_FORMATS)
