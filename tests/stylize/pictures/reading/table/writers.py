"""Picture files of every kind, by libraries that the project does not write with, and by hand where none can.

Sources: PNG, third edition (W3C 2025); TIFF 6.0; Netpbm's manual pages; Adobe Photoshop File Formats (2019);
[MS-WMF] and Windows GDI for BMP; ISO/IEC 15444-1, annex I.
"""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]


def exif(orientation: int, tag: int = 274) -> bytes:
    """A block of EXIF with one tag, without the bytes ``Exif`` before it."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, tag, 3, 1, orientation, 0, 0)


NO_TAG = 275
"""A tag without meaning, which writers leave in EXIF as it is."""


def with_orientation_in_exif(data: bytes) -> bytes:
    """A file whose ``NO_TAG`` in EXIF is made the orientation, of which its boxes then say nothing."""
    for order in "><":
        old, new = (struct.pack(f"{order}HHI", tag, 3, 1) for tag in (NO_TAG, 274))
        if old in data:
            return data.replace(old, new)
    raise AssertionError("there is no such tag")


# -- PNG ---------------------------------------------------------------------------------------------

PNG_KINDS = {"grey": 0, "rgb": 2, "palette": 3, "grey alpha": 4, "rgb alpha": 6}


def png(pixels: Pixels, bits: int, kind: str, adam7: bool = False, **chunks: bytes) -> bytes:
    """Rows without filters, deflated. ``chunks`` stand before the pixels, in their order."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, bits, PNG_KINDS[kind], 0, 0, adam7)
    passes = [(0, 0, 1, 1)]
    if adam7:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
        passes += [(1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for x, y, step_x, step_y in passes:
        for row in pixels[y::step_y, x::step_x]:
            rows += b"\0" + packed(row.ravel(), bits)
    parts = [(b"IHDR", header)] + [(name.encode(), data) for name, data in chunks.items()]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        file += (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )
    return file


def packed(row: Pixels, bits: int) -> bytes:
    """A row of values of 1 to 16 bits, the first in the highest bits, filled up to a byte."""
    if bits in (8, 16):
        return row.astype(f">u{bits // 8}").tobytes()
    places = np.arange(bits)[::-1]
    return np.packbits((row[:, None] >> places & 1).astype(np.uint8).ravel()).tobytes()


def iccp(profile: bytes) -> bytes:
    return b"profile\0\0" + zlib.compress(profile)


# -- TIFF --------------------------------------------------------------------------------------------


def tiff(pixels: Pixels, **options: Any) -> bytes:
    """By tifffile. ``pixels`` are (H, W) or (H, W, C), also for planes."""
    file = io.BytesIO()
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(file, pixels, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def tiff_by_hand(
    rows: list[bytes], shape: tuple[int, int, int], bits: int, photometric: int, **tags: Any
) -> bytes:
    """One strip of rows as they are, little-endian.

    ``tags``: numbers of 16 bits by the number of the tag, such as ``t338=[2]``.
    """
    height, width, channels = shape
    strip = b"".join(rows)
    found = {256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [photometric]}
    found |= {273: [8], 277: [channels], 278: [height], 279: [len(strip)]}
    found |= {int(name[1:]): value for name, value in tags.items()}
    strip += bytes(len(strip) % 2)
    at = 8 + len(strip)
    entries, more = b"", b""
    beyond = at + 2 + 12 * len(found) + 4
    for number in sorted(found):
        values = found[number]
        form = "I" if number in (273, 279) else "H"
        data = struct.pack(f"<{len(values)}{form}", *values)
        if len(data) > 4:
            place, more = struct.pack("<I", beyond + len(more)), more + data
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack("<HHI", number, {"H": 3, "I": 4}[form], len(values)) + place
    index = struct.pack("<H", len(found)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", at) + strip + index + more


# -- formats that Pillow writes ------------------------------------------------------------------------


def by_pillow(pixels: Pixels, image_format: str, mode: str | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if mode is None:
        image = Image.fromarray(pixels)
    else:
        image = Image.frombytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    if palette := options.pop("colours", None):
        image.putpalette(palette)
    image.save(file, image_format, **options)
    return file.getvalue()


def jpeg_without_adobe(data: bytes) -> bytes:
    """A JPEG without its marker APP14."""
    at = data.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", data, at + 2)
    return data[:at] + data[at + 2 + length :]


# -- Netpbm and BMP ----------------------------------------------------------------------------------


def netpbm(pixels: Pixels, kind: int, most: int = 255) -> bytes:
    """P1 to P6. Of P1 and P4, 1 is black."""
    height, width = pixels.shape[:2]
    head = f"P{kind}\n# a comment\n{width} {height}\n"
    if kind not in (1, 4):
        head += f"{most}\n"
    if kind < 4:
        lines = [" ".join(map(str, row.ravel())) + "\n" for row in pixels]
        return (head + "".join(lines)).encode()
    if kind == 4:
        return head.encode() + b"".join(packed(row, 1) for row in pixels)
    return head.encode() + pixels.astype(">u2" if most > 255 else np.uint8).tobytes()


def bmp(
    rows: list[bytes], width: int, bits: int, palette: bytes = b"", masks: tuple[int, ...] = (),
    top_down: bool = False, packing: int = 0,
) -> bytes:  # fmt: skip
    """``rows`` from the top; four ``masks``: a header of version 4, with alpha."""
    height = len(rows)
    if not top_down:
        rows = rows[::-1]
    body = b"".join(row + bytes(-len(row) % 4 if not packing else 0) for row in rows)
    size = 108 if len(masks) == 4 else 40
    packing = packing or (3 if masks else 0)
    head = struct.pack(
        "<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits, packing, len(body),
        2835, 2835, len(palette) // 4, 0,
    )  # fmt: skip
    head += struct.pack(f"<{len(masks)}I", *masks)
    if size == 108:
        head += b"BGRs" + bytes(48)  # sRGB
    at = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + head + palette + body


# -- PSD ---------------------------------------------------------------------------------------------


def psd(
    pixels: Pixels,
    mode: int,
    profile: bytes = b"",
    layered_alpha: bool = False,
    packed: bool = False,
) -> bytes:
    """A flattened document of 8 or 16 bits. ``mode``: 1 grey, 3 RGB, 4 CMYK, 9 Lab.

    With ``layered_alpha`` the last channel is the transparency of the flattened picture; ``packed``: by
    PackBits.
    """
    height, width, channels = pixels.shape
    depth = 8 * pixels.itemsize
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, depth, mode)
    resources = b""
    if profile:
        resources = b"8BIM" + struct.pack(">HHI", 1039, 0, len(profile)) + profile
        resources += bytes(len(profile) % 2)
    layers = b""
    if layered_alpha:  # a negative number of layers says so; there is one layer, without pixels
        planes = b"".join(struct.pack(">hI", k, 2) for k in (-1, 0, 1, 2))
        layer = struct.pack(">4iH", 0, 0, 0, 0, 4) + planes + b"8BIMnorm\xff\0\0\0"
        layer += struct.pack(">I", 12) + bytes(12)
        info = struct.pack(">h", -1) + layer + bytes(8)
        info += bytes(len(info) % 2)
        layers = struct.pack(">I", len(info)) + info + bytes(4)
    file = head + bytes(4) + struct.pack(">I", len(resources)) + resources
    file += struct.pack(">I", len(layers)) + layers
    planes = np.moveaxis(pixels, 2, 0).astype(f">u{pixels.itemsize}")
    if not packed:
        return file + b"\0\0" + planes.tobytes()
    rows = [imagecodecs.packbits_encode(row.tobytes()) for row in planes.reshape(-1, width)]
    return file + b"\0\1" + struct.pack(f">{len(rows)}H", *map(len, rows)) + b"".join(rows)


# -- OpenEXR -----------------------------------------------------------------------------------------


def exr(
    planes: dict[str, Pixels], tiled: bool = False, compression: str = "ZIP", **header: Any
) -> bytes:
    import OpenEXR

    kinds = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION"), **header}
    kinds["type"] = OpenEXR.tiledimage if tiled else OpenEXR.scanlineimage
    if tiled:
        kinds["tiles"] = OpenEXR.TileDescription()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.exr"
        OpenEXR.File(kinds, dict(planes)).write(str(path))
        return path.read_bytes()


# -- AVIF, HEIC and JPEG XL ----------------------------------------------------------------------------


def avif(pixels: Pixels, bits: int, **codes: int) -> bytes:
    """By libavif, without loss."""
    options = {"level": 100, "speed": 10, "bitspersample": bits}
    return bytes(imagecodecs.avif_encode(pixels.squeeze(), **options, **codes))


def with_boxes(data: bytes, *boxes: bytes) -> bytes:
    """An AVIF of libavif with further properties of all its items (ISO/IEC 23008-12, 9.3)."""
    file = bytearray(data)
    at = {name: file.index(name) - 4 for name in (b"meta", b"iloc", b"iprp", b"ipco", b"ipma")}
    size = {name: struct.unpack_from(">I", file, place)[0] for name, place in at.items()}
    known, place = 0, at[b"ipco"] + 8
    while place < at[b"ipco"] + size[b"ipco"]:
        place += struct.unpack_from(">I", file, place)[0]
        known += 1
    # For each item: its number, how many properties it has, and which; 0x80 if one is essential.
    (items,) = struct.unpack_from(">I", file, at[b"ipma"] + 12)
    links, place = b"", at[b"ipma"] + 16
    for _ in range(items):
        count = file[place + 2]
        links += file[place : place + 2] + bytes([count + len(boxes)])
        links += file[place + 3 : place + 3 + count]
        links += bytes(0x80 | (known + 1 + k) for k in range(len(boxes)))
        place += 3 + count
    more = {b"ipco": sum(map(len, boxes)), b"ipma": items * len(boxes)}
    more[b"iprp"] = more[b"meta"] = added = sum(more.values())
    (count,) = struct.unpack_from(">H", file, at[b"iloc"] + 14)
    for k in range(count):  # items lie in one piece each
        place = at[b"iloc"] + 16 + 14 * k + 6
        struct.pack_into(">I", file, place, struct.unpack_from(">I", file, place)[0] + added)
    for name, bytes_more in more.items():
        struct.pack_into(">I", file, at[name], size[name] + bytes_more)
    end = at[b"ipma"] + size[b"ipma"]
    middle = at[b"ipco"] + size[b"ipco"]
    return bytes(
        file[:middle] + b"".join(boxes) + file[middle : at[b"ipma"] + 16] + links + file[end:]
    )


def irot(turns: int) -> bytes:
    """A box: quarter turns to the left."""
    return struct.pack(">I4sB", 9, b"irot", turns)


def imir(axis: int) -> bytes:
    """A box: 0 exchanges top and bottom, 1 left and right."""
    return struct.pack(">I4sB", 9, b"imir", axis)


def clap(size: tuple[int, int], left: int, top: int, width: int, height: int) -> bytes:
    """A box: what is left of a picture of a size (ISO/IEC 14496-12, 12.1.4)."""
    right, down = 2 * left + width - size[0], 2 * top + height - size[1]
    return struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, right, 2, down, 2)


def heic(
    pixels: Pixels, bits: int, profile: bytes = b"", exif: bytes = b"", **options: Any
) -> bytes:
    """By libheif and x265, without loss, as planes of green, blue and red."""
    import pillow_heif

    height, width, channels = pixels.shape
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    if bits > 8:
        mode, pixels = f"{mode};16", pixels.astype(np.uint16) << (16 - bits)
    image = pillow_heif.from_bytes(mode, (width, height), pixels.tobytes())
    if profile:
        image.info["icc_profile"], image.info["icc_profile_type"] = profile, "prof"
    file = io.BytesIO()
    before = pillow_heif.options.SAVE_HDR_TO_12_BIT
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        how = {"quality": -1, "chroma": 444, "matrix_coefficients": 0, **options}
        image.save(file, exif=exif or None, **how)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = before
    return file.getvalue()


def by_program(
    program: str, data: bytes, ending: str, *options: str, profile: bytes = b""
) -> bytes:
    """What ``cjxl`` or ``avifenc`` makes of a PNG. An option ``ICC`` is the path of the profile."""
    with tempfile.TemporaryDirectory() as folder:
        source, made, icc = (Path(folder) / name for name in ("a.png", f"b.{ending}", "c.icc"))
        source.write_bytes(data)
        icc.write_bytes(profile)
        words = [str(icc) if word == "ICC" else word for word in options]
        subprocess.run(
            [program, str(source), str(made), *words], check=True, capture_output=True, timeout=60
        )
        return made.read_bytes()


# -- JPEG 2000 ---------------------------------------------------------------------------------------


def jp2(pixels: Pixels, bits: int, profile: bytes = b"", code: int = 0, **options: Any) -> bytes:
    """By OpenJPEG, without loss; its box of colours is exchanged for one with the profile or the code."""
    options = {"level": 0, "bitspersample": bits, "reversible": True, **options}
    data = bytes(imagecodecs.jpeg2k_encode(pixels.squeeze(), **options))
    if code:
        at = data.index(b"colr") + 7
        return data[:at] + struct.pack(">I", code) + data[at + 4 :]
    if not profile:
        return data
    at = data.index(b"colr") - 4
    (length,) = struct.unpack_from(">I", data, at)
    box = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    above = data.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", data, above)
    grown = struct.pack(">I", size + len(box) - length)
    return data[:above] + grown + data[above + 4 : at] + box + data[at + length :]
