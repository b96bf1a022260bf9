"""Rows of JPEG, PNG, WebP, GIF, BMP, Netpbm and PSD."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import imagecodecs
import numpy as np

from tests.stylize.pictures.reading.table import colours as spaces
from tests.stylize.pictures.reading.table import writers
from tests.stylize.pictures.reading.table.rows import (
    ALPHA,
    BOTH,
    DEEP,
    EIGHT,
    EXACT,
    GREY,
    INKS,
    LOSSY,
    MAGICK,
    REC_2020,
    RGB,
    SOFT,
    SOFT_GREY,
    SOFT_INKS,
    WIDTH,
    Row,
    Rows,
    complement,
    indexed,
    rounded,
    stored,
    three,
    upright,
    with_alpha,
)

# -- JPEG --------------------------------------------------------------------------------------------


def jpegs() -> Rows:
    rgb, grey, inks = stored(SOFT, 8), stored(SOFT_GREY, 8), stored(SOFT_INKS, 8)
    best: dict[str, Any] = {"quality": 100, "subsampling": 0}
    make = partial(writers.by_pillow, rgb, "JPEG", **best)
    row = Row("jpg", make, SOFT, lost=LOSSY, readers=BOTH)
    yield "rgb", row
    yield "progressive", replace(row, make=partial(make, progressive=True))
    yield "420", replace(row, make=partial(make, subsampling=2), lost=8 / 255, apart=8 / 255)
    yield "rgb not YCbCr", replace(row, make=partial(make, keep_rgb=True))
    yield (
        "by libjpeg-turbo",
        replace(
            row, make=lambda: bytes(imagecodecs.jpeg8_encode(rgb, level=100, subsampling="444"))
        ),
    )
    grey_row = replace(
        row, make=partial(writers.by_pillow, grey, "JPEG", **best), colours=three(SOFT_GREY)
    )
    yield "grey", grey_row
    # Inks are stored inverted, as Adobe does it, and all programs take them for that without its marker too.
    cmyk = partial(writers.by_pillow, inks, "JPEG", "CMYK", **best)
    cmyk_row = Row("jpg", cmyk, complement(SOFT_INKS), lost=LOSSY, readers=MAGICK)
    yield "cmyk of Adobe", cmyk_row
    unmarked = lambda: writers.jpeg_without_adobe(cmyk())  # noqa: E731
    yield "cmyk without Adobe's marker", replace(cmyk_row, make=unmarked)
    ycck = lambda: bytes(  # noqa: E731
        imagecodecs.jpeg8_encode(255 - inks, 100, colorspace="CMYK", outcolorspace="YCCK")
    )
    yield "YCCK", replace(cmyk_row, make=ycck)
    with_icc = partial(cmyk, icc_profile=spaces.cmyk_profile())
    yield (
        "cmyk of Adobe, profile",
        Row("jpg", with_icc, spaces.cmyk_srgb(SOFT_INKS), lost=LOSSY, readers=BOTH, profiled=True),
    )
    for name, space in spaces.SPACES.items():
        data = partial(make, icc_profile=space.profile(), keep_rgb=True)  # loses less
        yield name, Row("jpg", data, space.srgb(SOFT), None, LOSSY, BOTH, True)
    for name, curve in spaces.GREYS.items():
        data = partial(grey_row.make, icc_profile=spaces.grey_profile(curve))
        yield name, Row("jpg", data, spaces.grey_srgb(SOFT_GREY, curve), None, LOSSY, MAGICK, True)
    for k in range(1, 9):
        data = partial(make, exif=b"Exif\0\0" + writers.exif(k))
        yield f"orientation {k}", Row("jpg", data, upright(SOFT, k), lost=LOSSY, readers=BOTH)


# -- PNG ---------------------------------------------------------------------------------------------


def pngs() -> Rows:
    for bits in (1, 2, 4, 8, 16):
        values, shown = stored(GREY, bits), three(rounded(GREY, bits))
        apart = DEEP if bits == 16 else EIGHT
        row = Row(
            "png", partial(writers.png, values, bits, "grey"), shown, readers=BOTH, apart=apart
        )
        yield f"grey {bits}", row
        yield f"grey {bits} interlaced", replace(row, make=partial(row.make, adam7=True))
        clear = int(values[10, 20, 0])
        keyed = partial(row.make, tRNS=struct.pack(">H", clear))
        yield (
            f"grey {bits} key",
            replace(row, make=keyed, alpha=(values[..., 0] != clear).astype(float)),
        )
        linear = partial(row.make, gAMA=struct.pack(">I", 100_000))
        # Programs differ on gAMA: libvips ignores it.
        yield (
            f"grey {bits} gAMA 1",
            Row("png", linear, spaces.srgb_of(shown), lost=DEEP / 4, readers=MAGICK, apart=apart),
        )
    for bits in (8, 16):
        apart, lost = (DEEP, DEEP) if bits == 16 else (EIGHT, 0.5 / 255)
        rgb, shown = stored(RGB, bits), rounded(RGB, bits)
        opacity = rounded(ALPHA, bits)
        row = Row("png", partial(writers.png, rgb, bits, "rgb"), shown, readers=BOTH, apart=apart)
        yield f"rgb {bits}", row
        yield f"rgb {bits} interlaced", replace(row, make=partial(row.make, adam7=True))
        clear = rgb[10, 20]
        keyed = partial(row.make, tRNS=struct.pack(">3H", *clear))
        alpha = (rgb != clear).any(2).astype(float)
        yield f"rgb {bits} key", replace(row, make=keyed, alpha=alpha)
        both = stored(with_alpha(RGB), bits)
        rgba = replace(row, make=partial(writers.png, both, bits, "rgb alpha"), alpha=opacity)
        yield f"rgb alpha {bits}", rgba
        two = stored(with_alpha(GREY), bits)
        data = partial(writers.png, two, bits, "grey alpha")
        yield (
            f"grey alpha {bits}",
            replace(row, make=data, colours=three(rounded(GREY, bits)), alpha=opacity),
        )
        for k in range(1, 9):
            data = partial(row.make, eXIf=writers.exif(k))
            yield (
                f"orientation {k}, {bits}",
                replace(row, make=data, colours=upright(shown, k), readers=()),
            )
        for name, space in spaces.SPACES.items():
            chunk = writers.iccp(space.profile())
            data = partial(row.make, iCCP=chunk)
            profiled = Row(
                "png",
                data,
                space.srgb(shown),
                None,
                lost,
                MAGICK if bits == 16 else BOTH,
                True,
                1.1 * apart,
            )
            yield f"{name} {bits}", profiled
            data = partial(rgba.make, iCCP=chunk)
            yield f"{name} {bits} alpha", replace(profiled, make=data, alpha=opacity)
        chunk = writers.iccp(spaces.rgb_table_profile())
        shown_table = spaces.rgb_table_srgb(shown)
        data = partial(row.make, iCCP=chunk)
        yield (
            f"a table {bits}",
            Row("png", data, shown_table, None, max(lost, 2 * DEEP), MAGICK, True, 2 * apart),
        )
        for name, curve in spaces.GREYS.items():
            chunk = writers.iccp(spaces.grey_profile(curve))
            values = stored(GREY, bits)
            data = partial(writers.png, values, bits, "grey", iCCP=chunk)
            shown_grey = spaces.grey_srgb(rounded(GREY, bits), curve)
            yield (
                f"{name} {bits}",
                Row("png", data, shown_grey, None, lost, MAGICK, True, 1.1 * apart),
            )
            data = partial(writers.png, two, bits, "grey alpha", iCCP=chunk)
            yield (
                f"{name} {bits} alpha",
                Row("png", data, shown_grey, opacity, lost, MAGICK, True, 1.1 * apart),
            )
        clear = int(values[10, 20, 0])
        alpha = (values[..., 0] != clear).astype(float)
        for name, curve in spaces.GREYS.items():
            chunks = {"iCCP": writers.iccp(spaces.grey_profile(curve))}
            chunks["tRNS"] = struct.pack(">H", clear)
            data = partial(writers.png, values, bits, "grey", **chunks)
            shown_grey = spaces.grey_srgb(rounded(GREY, bits), curve)
            row_grey = Row("png", data, shown_grey, alpha, lost, MAGICK, True, 1.1 * apart)
            yield f"{name} {bits} key", row_grey
        linear = partial(rgba.make, gAMA=struct.pack(">I", 100_000))
        shown_linear = spaces.srgb_of(shown)
        yield f"rgb alpha {bits} gAMA 1", Row("png", linear, shown_linear, opacity, lost)
        p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
        power = replace(spaces.SPACES["Display P3"], curve=spaces.Curve(1 / 0.55))
        data = partial(row.make, gAMA=struct.pack(">I", 55_000), cHRM=p3)
        yield f"gAMA and cHRM {bits}", Row("png", data, power.srgb(shown, False), lost=lost)
        data = partial(row.make, gAMA=struct.pack(">I", 45_455))
        yield f"gAMA of sRGB {bits}", replace(row, make=data, readers=BOTH[1:])
        for name, codes, space in (
            ("P3", (12, 13), spaces.SPACES["Display P3"]),
            ("linear", (1, 8), spaces.SPACES["linear"]),
            ("sRGB", (1, 13), spaces.SRGB),
            ("Rec. 2020", (9, 13), REC_2020),
        ):
            data = partial(row.make, cICP=bytes([*codes, 0, 1]), gAMA=struct.pack(">I", 100_000))
            yield f"cICP {name} {bits}", Row("png", data, space.srgb(shown, False), lost=lost)
        wrong = writers.iccp(spaces.SPACES["ProPhoto"].profile())
        data = partial(row.make, cICP=bytes([12, 13, 0, 1]), iCCP=wrong)
        shown_p3 = spaces.SPACES["Display P3"].srgb(shown, False)
        yield f"cICP before iCCP {bits}", Row("png", data, shown_p3, lost=lost)
    for bits in (1, 2, 4, 8):
        index, palette, opacity = indexed(bits)
        data = partial(writers.png, index[..., None], bits, "palette", PLTE=palette.tobytes())
        row = Row("png", data, palette[index] / 255, readers=BOTH)
        yield f"palette {bits}", row
        yield f"palette {bits} interlaced", replace(row, make=partial(data, adam7=True))
        data = partial(data, tRNS=opacity.tobytes())
        yield f"palette {bits} alpha", replace(row, make=data, alpha=opacity[index] / 255)
    chunk = writers.iccp(spaces.SPACES["Display P3"].profile())
    data = partial(writers.png, index[..., None], 8, "palette", iCCP=chunk, PLTE=palette.tobytes())
    shown = spaces.SPACES["Display P3"].srgb(palette[index] / 255)
    linear = partial(
        writers.png,
        index[..., None],
        8,
        "palette",
        gAMA=struct.pack(">I", 100_000),
        PLTE=palette.tobytes(),
        tRNS=opacity.tobytes(),
    )
    clear = opacity[index] / 255
    row = Row("png", linear, spaces.srgb_of(palette[index] / 255), clear, 0.5 / 255)
    yield "palette 8 alpha gAMA 1", row
    chunks = {"iCCP": chunk, "PLTE": palette.tobytes(), "tRNS": opacity.tobytes()}
    data_alpha = partial(writers.png, index[..., None], 8, "palette", **chunks)
    row = Row("png", data_alpha, shown, clear, 0.5 / 255, BOTH, True, 1.1 / 255)
    yield "palette 8 alpha, Display P3", row
    yield "palette 8, Display P3", Row("png", data, shown, None, 0.5 / 255, BOTH, True, 1.1 / 255)


# -- WebP, GIF, BMP ----------------------------------------------------------------------------------


def webps() -> Rows:
    rgb, rgba = stored(RGB, 8), stored(with_alpha(RGB), 8)
    shown, opacity = rounded(RGB, 8), rounded(ALPHA, 8)
    lossless: dict[str, Any] = {"lossless": True, "exact": True}
    make = partial(writers.by_pillow, rgb, "WEBP", **lossless)
    row = Row("webp", make, shown, readers=(*BOTH, "dwebp"))
    yield "lossless", row
    alpha = partial(writers.by_pillow, rgba, "WEBP", **lossless)
    yield "lossless alpha", replace(row, make=alpha, alpha=opacity)
    by_libwebp = lambda: bytes(imagecodecs.webp_encode(rgba, lossless=True))  # noqa: E731
    yield "lossless alpha by libwebp", replace(row, make=by_libwebp, alpha=opacity)
    lossy = partial(writers.by_pillow, rgb, "WEBP", quality=100)
    yield "lossy", replace(row, make=lossy, lost=16 / 255, apart=1.6 / 255)
    lossy = partial(writers.by_pillow, rgba, "WEBP", quality=100, exact=True)
    yield "lossy alpha", replace(row, make=lossy, alpha=opacity, lost=16 / 255, apart=1.6 / 255)
    for name, space in spaces.SPACES.items():
        data = partial(make, icc_profile=space.profile())
        row_icc = Row("webp", data, space.srgb(shown), None, 0.5 / 255, BOTH, True, 1.1 / 255)
        yield name, row_icc
        data = partial(alpha, icc_profile=space.profile())
        yield f"{name} alpha", replace(row_icc, make=data, alpha=opacity)
    for k in range(1, 9):
        data = partial(make, exif=b"Exif\0\0" + writers.exif(k))
        yield f"orientation {k}", replace(row, make=data, colours=upright(shown, k), readers=())


def gifs() -> Rows:
    index, palette, _ = indexed(8)
    make = partial(writers.by_pillow, index.astype(np.uint8), "GIF", "P", colours=palette.tobytes())
    row = Row("gif", make, palette[index] / 255, readers=BOTH)
    yield "256 colours", row
    yield "interlaced", replace(row, make=partial(make, interlace=True))
    clear = int(index[3, 3])
    data = partial(make, transparency=clear)
    yield "transparent", replace(row, make=data, alpha=(index != clear).astype(float))
    for bits in (1, 2, 4):
        index, palette, _ = indexed(bits)
        few = partial(
            writers.by_pillow, index.astype(np.uint8), "GIF", "P", colours=palette.tobytes()
        )
        yield f"{2**bits} colours", replace(row, make=few, colours=palette[index] / 255)
    grey = stored(GREY, 8)
    data = lambda: bytes(imagecodecs.gif_encode(grey[..., 0]))  # noqa: E731
    yield "grey by giflib", replace(row, make=data, colours=three(rounded(GREY, 8)))


def bmps() -> Rows:
    for bits in (1, 4, 8):
        index, palette, _ = indexed(bits)
        table = np.concatenate([palette[:, ::-1], np.zeros_like(palette[:, :1])], 1).tobytes()
        rows = [writers.packed(row, bits) for row in index]
        data = partial(writers.bmp, rows, WIDTH, bits, table)
        row = Row("bmp", data, palette[index] / 255, readers=MAGICK)
        yield f"palette {bits}", row
    # RLE8: pairs of a count and an index; 0 0 ends a row, 0 1 the picture.
    runs = [
        bytes(np.stack([np.ones(WIDTH, int), line], 1).astype(np.uint8).ravel()) for line in index
    ]
    runs = [run + (b"\0\1" if k == 0 else b"\0\0") for k, run in enumerate(runs)]
    yield "palette 8 RLE", replace(row, make=partial(writers.bmp, runs, WIDTH, 8, table, packing=1))
    rgb = stored(RGB, 8)
    rows = [line[:, ::-1].tobytes() for line in rgb]
    row = Row("bmp", partial(writers.bmp, rows, WIDTH, 24), rounded(RGB, 8), readers=MAGICK)
    yield "24", row
    yield "24 from the top", replace(row, make=partial(row.make, top_down=True))
    rows = [np.insert(line[:, ::-1], 3, 0, 1).tobytes() for line in rgb]
    yield "32", replace(row, make=partial(writers.bmp, rows, WIDTH, 32))
    rgba = stored(with_alpha(RGB), 8)
    rows = [line[:, [2, 1, 0, 3]].tobytes() for line in rgba]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield (
        "32 alpha",
        replace(
            row, make=partial(writers.bmp, rows, WIDTH, 32, masks=masks), alpha=rounded(ALPHA, 8)
        ),
    )
    five, six = stored(RGB, 5).astype(int), stored(RGB, 6).astype(int)
    words = five[..., 0] << 11 | six[..., 1] << 5 | five[..., 2]
    shown = np.stack(
        [rounded(RGB, 5)[..., 0], rounded(RGB, 6)[..., 1], rounded(RGB, 5)[..., 2]], -1
    )
    data = partial(
        writers.bmp,
        [w.astype("<u2").tobytes() for w in words],
        WIDTH,
        16,
        masks=(0xF800, 0x7E0, 0x1F),
    )
    # Fewer bits become eight by rounding down or to the nearest.
    yield "16, 565", replace(row, make=data, colours=shown, lost=EIGHT)
    words = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]
    data = partial(writers.bmp, [w.astype("<u2").tobytes() for w in words], WIDTH, 16)
    yield "16, 555", replace(row, make=data, colours=rounded(RGB, 5), lost=EIGHT)


# -- Netpbm, PSD -------------------------------------------------------------------------------------


def netpbms() -> Rows:
    black = (stored(GREY, 1) == 0).astype(np.uint8)[..., 0]
    readers = BOTH
    for kind in (1, 4):
        data = partial(writers.netpbm, black, kind)
        yield f"P{kind}", Row("pbm", data, three(rounded(GREY, 1)), readers=MAGICK)
    for kind, most in product((2, 5), (15, 100, 255, 1023, 65535)):
        values = np.rint(GREY * most).astype(int)
        apart = EIGHT if most < 256 else DEEP
        asked = readers if most in (255, 65535) else MAGICK
        lost = EXACT if most in (15, 255, 65535) else 0.51 / 255 if most < 256 else DEEP / 8
        data = partial(writers.netpbm, values, kind, most)
        yield (
            f"P{kind} to {most}",
            Row("pgm", data, three(values / most), None, lost, asked, apart=apart),
        )
    for kind, most in product((3, 6), (15, 100, 255, 1023, 65535)):
        values = np.rint(RGB * most).astype(int)
        asked = readers if most in (255, 65535) else MAGICK
        lost = EXACT if most in (15, 255) else 0.51 / 255  # of colours, Pillow has 8 bits
        data = partial(writers.netpbm, values, kind, most)
        yield f"P{kind} to {most}", Row("ppm", data, values / most, None, lost, asked)


def psds() -> Rows:
    rgb, shown = stored(RGB, 8), rounded(RGB, 8)
    yield "rgb", Row("psd", partial(writers.psd, rgb, 3), shown, readers=MAGICK)
    grey = stored(GREY, 8)
    yield "grey", Row("psd", partial(writers.psd, grey, 1), three(rounded(GREY, 8)), readers=MAGICK)
    # Photoshop stores inks inverted: 0 is full.
    inks, left = rounded(INKS, 8), 255 - stored(INKS, 8)
    data = partial(writers.psd, left, 4)
    yield "cmyk", Row("psd", data, complement(inks), lost=EIGHT, readers=MAGICK)
    data = partial(writers.psd, left, 4, spaces.cmyk_profile())
    yield "cmyk, profile", Row("psd", data, spaces.cmyk_srgb(inks), None, 0.5 / 255, MAGICK, True)
    for name, space in spaces.SPACES.items():
        data = partial(writers.psd, rgb, 3, space.profile())
        yield name, Row("psd", data, space.srgb(shown), None, 0.5 / 255, MAGICK, True, 1.1 / 255)
    # A fourth channel is a selection that was saved, unless the layers say that it is transparency. Then the
    # colours have been laid over white.
    data = partial(writers.psd, stored(with_alpha(RGB), 8), 3)
    yield "rgb and a selection", Row("psd", data, shown, readers=MAGICK)
    opacity = rounded(ALPHA, 8)
    laid = rounded(RGB * opacity[..., None] + 1 - opacity[..., None], 8)
    data = partial(writers.psd, stored(with_alpha(laid, opacity), 8), 3, layered_alpha=True)
    alone = (laid - 1) / np.maximum(opacity, EXACT)[..., None] + 1
    yield "rgb alpha", Row("psd", data, alone, opacity, lost=EXACT * 2)
    yield from _deep_psds()
    lab = spaces.srgb_lab(RGB)
    values = np.rint(np.stack([lab[..., 0] * 2.55, *np.moveaxis(lab[..., 1:] + 128, 2, 0)], -1))
    seen = np.stack([values[..., 0] / 2.55, *np.moveaxis(values[..., 1:] - 128, 2, 0)], -1)
    data = partial(writers.psd, values.clip(0, 255).astype(np.uint8), 9)
    yield "lab", Row("psd", data, spaces.lab_srgb(seen), lost=0.5 / 255)


def _deep_psds() -> Rows:
    rgb, shown = stored(RGB, 16), rounded(RGB, 16)
    for packed in (False, True):
        how = "packed" if packed else "plain"
        data = partial(writers.psd, rgb, 3, packed=packed)
        yield f"rgb 16 {how}", Row("psd", data, shown, readers=MAGICK, apart=DEEP)
        data = partial(writers.psd, stored(GREY, 16), 1, packed=packed)
        grey = three(rounded(GREY, 16))
        yield f"grey 16 {how}", Row("psd", data, grey, readers=MAGICK, apart=DEEP)
    inks, left = rounded(INKS, 16), 65535 - stored(INKS, 16)
    yield "cmyk 16", Row("psd", partial(writers.psd, left, 4), complement(inks), readers=MAGICK)
    for name, space in spaces.SPACES.items():
        data = partial(writers.psd, rgb, 3, space.profile())
        yield f"{name} 16", Row("psd", data, space.srgb(shown), None, DEEP)
    data = partial(writers.psd, stored(with_alpha(RGB), 16), 3)
    yield "rgb 16 and a selection", Row("psd", data, shown, readers=MAGICK)
    opacity = rounded(ALPHA, 16)
    laid = rounded(RGB * opacity[..., None] + 1 - opacity[..., None], 16)
    data = partial(writers.psd, stored(with_alpha(laid, opacity), 16), 3, layered_alpha=True)
    alone = (laid - 1) / np.maximum(opacity, EXACT)[..., None] + 1
    yield "rgb alpha 16", Row("psd", data, alone, opacity, lost=EXACT * 2)
