"""Rows of TIFF, JPEG 2000 and OpenEXR."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.stylize.pictures.reading.table import colours as spaces
from tests.stylize.pictures.reading.table import writers
from tests.stylize.pictures.reading.table.colours import Array
from tests.stylize.pictures.reading.table.rows import (
    ALPHA,
    BOTH,
    DEEP,
    EIGHT,
    EXACT,
    GREY,
    HEIGHT,
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
    as_kind,
    complement,
    indexed,
    of_kind,
    rounded,
    stored,
    three,
    upright,
    with_alpha,
)

# -- TIFF --------------------------------------------------------------------------------------------

KINDS = ("uint8", "uint16", "uint32", "float16", "float32", "float64")
LOSSLESS = ("none", "lzw", "adobe_deflate", "packbits", "zstd")


def _apart(kind: str) -> float:
    return EIGHT if kind == "uint8" else DEEP


YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""From RGB to the luminance and colour differences of JFIF and TIFF (ITU-R BT.601)."""


ACES = spaces.Space(
    spaces.Curve(1.0), (0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.077), (0.32168, 0.33767)
)
"""SMPTE ST 2065-1."""


def tiffs() -> Rows:
    for kind, planes, tile in product(KINDS, ("contig", "separate"), (None, (16, 16))):
        values = as_kind(RGB, kind)
        data = partial(writers.tiff, values, planarconfig=planes, tile=tile, rowsperstrip=5)
        if tile:
            data = partial(writers.tiff, values, planarconfig=planes, tile=tile)
        # libvips (8.14) reads no tiles of planes, and neither scales whole numbers of 32 bits.
        both = MAGICK if tile and planes == "separate" else BOTH
        readers = both if kind in ("uint8", "uint16") else MAGICK if kind == "uint32" else ()
        name = f"{kind} {planes} {'tiles' if tile else 'strips'}"
        yield name, Row("tif", data, of_kind(values), readers=readers, apart=_apart(kind))
    for packing, kind, predictor in product(
        LOSSLESS, ("uint8", "uint16", "float32"), (False, True)
    ):
        if predictor and packing in ("none", "packbits"):
            continue  # predictor 2 for whole numbers, 3 for floats
        values = as_kind(RGB, kind)
        data = partial(writers.tiff, values, compression=packing, predictor=predictor)
        readers = BOTH if kind != "float32" and packing != "zstd" else ()
        name = f"{kind} {packing}{' with predictor' if predictor else ''}"
        yield name, Row("tif", data, of_kind(values), readers=readers, apart=_apart(kind))
    jpeg: dict[str, Any] = {"compression": "jpeg", "compressionargs": {"level": 100}}
    data = partial(writers.tiff, stored(SOFT, 8), **jpeg)
    yield "uint8 jpeg", Row("tif", data, SOFT, lost=LOSSY, readers=BOTH)
    data = partial(writers.by_pillow, stored(SOFT_GREY, 8), "TIFF", compression="jpeg", quality=100)
    yield "uint8 jpeg grey", Row("tif", data, three(SOFT_GREY), lost=LOSSY, readers=BOTH)
    for big, order, kind in product((False, True), "<>", ("uint8", "uint16", "float32")):
        values = as_kind(RGB, kind)
        data = partial(writers.tiff, values, byteorder=order, bigtiff=big)
        name = f"{kind} {'BigTIFF' if big else 'TIFF'} {'little' if order == '<' else 'big'}-endian"
        readers = BOTH if kind != "float32" else ()
        yield name, Row("tif", data, of_kind(values), readers=readers, apart=_apart(kind))
    for kind, white in product(KINDS, ("minisblack", "miniswhite")):
        values = as_kind(GREY, kind)
        shown = three(of_kind(values))
        readers = BOTH if kind in ("uint8", "uint16") else ()
        data = partial(writers.tiff, values[..., 0], photometric=white)
        row = Row("tif", data, 1 - shown if white == "miniswhite" else shown, readers=readers)
        if white == "minisblack" or "float" not in kind:
            yield f"{kind} {white}", replace(row, apart=_apart(kind))
    for kind, planes, alpha in product(KINDS, ("contig", "separate"), ("unassalpha", "assocalpha")):
        opacity = of_kind(as_kind(ALPHA, kind))
        for name, colours, photometric in (("rgb", RGB, "rgb"), ("grey", GREY, "minisblack")):
            many = opacity[..., None] if alpha == "assocalpha" else 1
            values = as_kind(with_alpha(colours * many, opacity), kind)
            data = partial(
                writers.tiff,
                values,
                planarconfig=planes,
                extrasamples=[alpha],
                photometric=photometric,
            )
            # What is read is laid over white: colours times alpha plus what is left of white.
            count = colours.shape[2]
            seen = of_kind(values)[..., :count]
            if alpha == "assocalpha":
                seen = np.divide(seen, many, out=np.ones_like(seen), where=many > 0)
            # Of grey in planes with alpha ImageMagick (6.9.11) and libvips (8.14) make two wrong pictures.
            right = alpha == "unassalpha" and kind in ("uint8", "uint16")
            readers = BOTH if right and (planes, name) != ("separate", "grey") else ()
            row = Row("tif", data, three(seen), opacity, readers=readers, apart=1.1 * _apart(kind))
            yield f"{name} {kind} {planes} {alpha}", row
    # Of colours that are multiplied by the opacity a profile means what they were before.
    for kind, alpha in product(("uint8", "uint16", "float32"), ("unassalpha", "assocalpha")):
        lost = 2 / 255 if kind == "uint8" else 1.5 * DEEP
        opacity = of_kind(as_kind(0.2 + 0.8 * ALPHA, kind))
        many = opacity[..., None] if alpha == "assocalpha" else 1
        readers = BOTH if kind == "uint8" and alpha == "unassalpha" else ()
        for name in ("sRGB", "Display P3", "linear"):
            space = spaces.SPACES[name]
            values = as_kind(with_alpha(RGB * many, opacity), kind)
            shown = space.srgb((of_kind(values)[..., :3] / many).clip(0, 1))
            data = partial(writers.tiff, values, extrasamples=[alpha], iccprofile=space.profile())
            row = Row("tif", data, shown, opacity, lost, readers, True, 1.1 / 255)
            yield f"{name} {kind} {alpha}", row
        for name, curve in spaces.GREYS.items():
            values = as_kind(with_alpha(GREY * many, opacity), kind)
            shown = spaces.grey_srgb((of_kind(values)[..., :1] / many).clip(0, 1), curve)
            profile = spaces.grey_profile(curve)
            data = partial(
                writers.tiff,
                values,
                extrasamples=[alpha],
                photometric="minisblack",
                iccprofile=profile,
            )
            yield f"{name} {kind} {alpha}", Row("tif", data, shown, opacity, lost, profiled=True)
    # A few values beyond 1 are highlights.
    for kind in ("float16", "float32", "float64"):
        bright = RGB.copy()
        bright[:3, :4] = 1.5
        values = bright.astype(kind)
        shown = of_kind(values).clip(0, 1)
        yield f"{kind} highlights", Row("tif", partial(writers.tiff, values), shown)
    for bits in (1, 2, 4, 10, 12, 14):
        values = np.rint(GREY * (2**bits - 1)).astype(np.uint16)
        rows = [writers.packed(line.ravel(), bits) for line in values]
        shape = (HEIGHT, WIDTH, 1)
        shown, apart = three(rounded(GREY, bits)), EIGHT if bits < 8 else DEEP
        data = partial(writers.tiff_by_hand, rows, shape, bits, 1)
        row = Row("tif", data, shown, lost=EXACT, readers=BOTH if bits < 8 else (), apart=apart)
        yield f"grey {bits}", row
        if bits < 8:
            data = partial(writers.tiff_by_hand, rows, shape, bits, 0)
            # ImageMagick (6.9.11) makes the negative of 2 and 4 bits.
            readers = BOTH if bits == 1 else BOTH[1:]
            yield (
                f"grey {bits} miniswhite",
                replace(row, make=data, colours=1 - shown, readers=readers),
            )
        else:
            values = np.rint(RGB * (2**bits - 1)).astype(np.uint16)
            rows = [writers.packed(line.ravel(), bits) for line in values]
            data = partial(writers.tiff_by_hand, rows, (HEIGHT, WIDTH, 3), bits, 2)
            yield f"rgb {bits}", replace(row, make=data, colours=rounded(RGB, bits))
    for bits in (1, 2, 4, 8):
        index, palette, opacities = indexed(bits)
        rows = [writers.packed(line, bits) for line in index]
        table = (palette.T.astype(int) * 257).ravel().tolist()
        data = partial(writers.tiff_by_hand, rows, (HEIGHT, WIDTH, 1), bits, 3, t320=table)
        yield f"palette {bits}", Row("tif", data, palette[index] / 255, readers=BOTH)
    black = stored(GREY, 1)[..., 0] == 1
    for fax in ("group3", "group4", "tiff_ccitt"):
        data = partial(writers.by_pillow, black, "TIFF", compression=fax)
        yield f"{fax}", Row("tif", data, three(rounded(GREY, 1)), readers=BOTH)
    # JFIF's YCbCr, each pixel with its own colour differences, without JPEG.
    ycbcr = np.rint(SOFT * 255 @ YCBCR.T + [0, 128, 128])
    shown = ((ycbcr - [0, 128, 128]) @ np.linalg.inv(YCBCR).T / 255).clip(0, 1)
    lines = [line.astype(np.uint8).tobytes() for line in ycbcr]
    data = partial(writers.tiff_by_hand, lines, (HEIGHT, WIDTH, 3), 8, 6, t530=[1, 1])
    yield "YCbCr", Row("tif", data, shown, lost=EIGHT, readers=MAGICK, apart=2 / 255)
    data = partial(writers.tiff, stored(SOFT, 8), subsampling=(2, 2), **jpeg)
    yield "uint8 jpeg 420", Row("tif", data, SOFT, lost=LOSSY, readers=BOTH)
    # A fourth channel that is said to be nothing in particular is no alpha.
    for kind in ("uint8", "uint16"):
        values = as_kind(with_alpha(RGB), kind)
        data = partial(writers.tiff, values, extrasamples=["unspecified"])
        yield f"{kind} and another channel", Row("tif", data, of_kind(values)[..., :3])
    both = np.stack([index, opacities[index]], -1)
    lines = [writers.packed(line.ravel(), 8) for line in both]
    shape = (HEIGHT, WIDTH, 2)
    data = partial(writers.tiff_by_hand, lines, shape, 8, 3, t320=table, t338=[2])
    row = Row("tif", data, palette[index] / 255, opacities[index] / 255, readers=BOTH)
    yield "palette 8 alpha", row
    lines = [writers.packed(line[::-1], 1)[::-1] for line in black]
    data = partial(writers.tiff_by_hand, lines, (HEIGHT, WIDTH, 1), 1, 1, t266=[2])
    yield "grey 1, lowest bit first", Row("tif", data, three(rounded(GREY, 1)), readers=BOTH)
    by_jpeg = partial(
        writers.by_pillow, stored(SOFT_INKS, 8), "TIFF", "CMYK", compression="jpeg", quality=100
    )
    yield "cmyk jpeg", Row("tif", by_jpeg, complement(SOFT_INKS), lost=LOSSY, readers=MAGICK)
    data = partial(by_jpeg, icc_profile=spaces.cmyk_profile())
    shown = spaces.cmyk_srgb(SOFT_INKS)
    yield "cmyk jpeg, profile", Row("tif", data, shown, None, LOSSY, BOTH, True)
    for kind, bits in (("uint8", 8), ("uint16", 16)):
        lost, apart = (0.5 / 255, EIGHT) if bits == 8 else (DEEP, DEEP)
        for planes in ("contig", "separate"):
            values = as_kind(INKS, kind)
            data = partial(writers.tiff, values, photometric="separated", planarconfig=planes)
            shown = complement(of_kind(values))
            row = Row("tif", data, shown, None, lost, MAGICK, apart=apart)
            yield f"cmyk {kind} {planes}", row
            data = partial(data, iccprofile=spaces.cmyk_profile())
            shown = spaces.cmyk_srgb(of_kind(values))
            row = Row("tif", data, shown, None, 1.5 * lost, MAGICK, True, 2 * apart)
            yield f"cmyk {kind} {planes}, profile", row
        values = as_kind(with_alpha(INKS), kind)
        data = partial(writers.tiff, values, photometric="separated", extrasamples=["unassalpha"])
        opacity = of_kind(values)[..., 4]
        row = Row("tif", data, complement(of_kind(values)[..., :4]), opacity, lost)
        yield f"cmyk {kind} alpha", row
        data = partial(data, iccprofile=spaces.cmyk_profile())
        shown = spaces.cmyk_srgb(of_kind(values)[..., :4])
        yield f"cmyk {kind} alpha, profile", replace(row, make=data, colours=shown, lost=1.5 * lost)
        for name in ("cielab", "icclab"):
            values, shown = _lab(name, bits)
            for planes in ("contig", "separate"):
                data = partial(writers.tiff, values, photometric=name, planarconfig=planes)
                yield f"{name} {kind} {planes}", Row("tif", data, shown, lost=lost)
    for kind in ("uint8", "uint16", "float16", "float32"):
        lost, apart = (0.5 / 255, 1.1 * EIGHT) if kind == "uint8" else (DEEP, 1.1 * DEEP)
        values, grey = as_kind(RGB, kind), as_kind(GREY, kind)
        for name, space in spaces.SPACES.items():
            data = partial(writers.tiff, values, iccprofile=space.profile())
            readers = {"uint8": BOTH, "uint16": MAGICK}.get(kind, ())
            shown = space.srgb(of_kind(values))
            yield f"{name} {kind}", Row("tif", data, shown, None, lost, readers, True, apart)
        for name, curve in spaces.GREYS.items():
            profile = spaces.grey_profile(curve)
            data = partial(writers.tiff, grey[..., 0], photometric="minisblack", iccprofile=profile)
            shown = spaces.grey_srgb(of_kind(grey), curve)
            readers = MAGICK if "int" in kind else ()
            yield f"{name} {kind}", Row("tif", data, shown, None, lost, readers, True, apart)
        for k in range(1, 9):
            data = partial(writers.tiff, values, extratags=[(274, "H", 1, k, True)])
            readers = BOTH if "int" in kind else ()
            row = Row("tif", data, upright(of_kind(values), k), readers=readers, apart=_apart(kind))
            yield f"orientation {k} {kind}", row


def _lab(kind: str, bits: int) -> tuple[NDArray[Any], Array]:
    """Values as TIFF stores them, and what they show (Adobe's technical notes for TIFF, 2002).

    cielab: a* and b* with a sign. icclab: from 128 up. Of 16 bits, a* and b* are in 256ths, and L* of 100 is
    65535 of cielab and 65280 of icclab.
    """
    unit, full = (1, 255) if bits == 8 else (256, 65535 if kind == "cielab" else 65280)
    lab = spaces.srgb_lab(0.1 + 0.8 * RGB)
    lightness = np.rint(lab[..., :1] / 100 * full)
    ab = np.rint(lab[..., 1:] * unit)
    shown = spaces.lab_srgb(np.concatenate([lightness * 100 / full, ab / unit], 2))
    ab = ab % 2**bits if kind == "cielab" else ab + 128 * unit
    return np.concatenate([lightness, ab], 2).astype(f"uint{bits}"), shown


# -- JPEG 2000, OpenEXR --------------------------------------------------------------------------------


def jpeg2000s() -> Rows:
    for bits, (name, colours) in product((8, 10, 12, 16), (("rgb", RGB), ("grey", GREY))):
        values, shown = stored(colours, bits), three(rounded(colours, bits))
        apart = EIGHT if bits == 8 else DEEP
        readers = ("opj_decompress", *BOTH) if bits in (8, 16) else ()
        row = Row("jp2", partial(writers.jp2, values, bits), shown, readers=readers, apart=apart)
        yield f"{name} {bits}", row
        both = stored(with_alpha(colours), bits)
        opacity = rounded(ALPHA, bits)
        yield (
            f"{name} {bits} alpha",
            replace(row, make=partial(writers.jp2, both, bits), alpha=opacity),
        )
        lost = 0.5 / 255 if bits == 8 else DEEP
        if name == "rgb":
            for space_name, space in spaces.SPACES.items():
                data = partial(writers.jp2, values, bits, space.profile())
                row = Row("jp2", data, space.srgb(shown), lost=lost)
                yield f"{space_name} {bits}", row
                data = partial(writers.jp2, both, bits, space.profile())
                yield f"{space_name} {bits} alpha", replace(row, make=data, alpha=opacity)
        else:
            for space_name, curve in spaces.GREYS.items():
                data = partial(writers.jp2, values, bits, spaces.grey_profile(curve))
                shown_grey = spaces.grey_srgb(rounded(GREY, bits), curve)
                row = Row("jp2", data, shown_grey, lost=lost)
                yield f"{space_name} {bits}", row
                data = partial(writers.jp2, both, bits, spaces.grey_profile(curve))
                yield f"{space_name} {bits} alpha", replace(row, make=data, alpha=opacity)

    for bits in (8, 12, 16):
        lost = 0.5 / 255 if bits == 8 else DEEP
        inks, shown = stored(INKS, bits), rounded(INKS, bits)
        data = partial(writers.jp2, inks, bits, code=12, mct=False)
        yield f"cmyk {bits}", Row("jp2", data, complement(shown), lost=lost)
        data = partial(writers.jp2, inks, bits, spaces.cmyk_profile(), mct=False)
        yield f"cmyk {bits}, profile", Row("jp2", data, spaces.cmyk_srgb(shown), lost=1.5 * lost)
        data = partial(writers.jp2, stored(RGB, bits), bits, codecformat="j2k")
        row = Row("j2k", data, rounded(RGB, bits), readers=BOTH if bits != 12 else ())
        yield f"codestream {bits}", row
    ycc = np.rint(SOFT * 255 @ YCBCR.T + [0, 128, 128]).astype(np.uint8)
    for bits, values in ((8, ycc), (16, ycc.astype(np.uint16) * 257)):
        row = Row("jp2", partial(writers.jp2, values, bits, code=18), SOFT, lost=LOSSY)
        yield f"sYCC {bits}", replace(row, readers=("opj_decompress",), apart=1.1 / 255)


def exrs() -> Rows:
    for kind in ("float16", "float32"):
        light = spaces.SRGB_CURVE.light(RGB).astype(kind).astype(float)
        grey = spaces.SRGB_CURVE.light(GREY)[..., 0].astype(kind).astype(float)
        planes = {name: light[..., k].astype(kind) for k, name in enumerate("RGB")}
        row = Row(
            "exr",
            partial(writers.exr, planes),
            spaces.srgb_of(light),
            needs=("OpenEXR",),
            readers=("libvips",),
        )
        yield f"rgb {kind}", row
        yield f"rgb {kind} tiles", replace(row, make=partial(writers.exr, planes, tiled=True))
        for packing in ("NO", "RLE", "ZIPS", "PIZ"):
            data = partial(writers.exr, planes, compression=packing)
            yield f"rgb {kind} {packing}", replace(row, make=data)
        data = partial(writers.exr, {"Y": grey.astype(kind)})
        yield (
            f"grey {kind}",
            replace(row, make=data, colours=spaces.srgb_of(three(grey[..., None]))),
        )
        # Colours are multiplied by the opacity, and where it is 0 there is none to be seen.
        opacity = ALPHA.astype(kind).astype(float)
        many = {name: (light[..., k] * opacity).astype(kind) for k, name in enumerate("RGB")}
        data = partial(writers.exr, {**many, "A": opacity.astype(kind)})
        yield f"rgb {kind} alpha", replace(row, make=data, alpha=opacity, lost=DEEP, readers=())
        more = {**planes, "Z": grey.astype("float32"), "diffuse.R": grey.astype(kind)}
        yield f"rgb {kind} and others", replace(row, make=partial(writers.exr, more))
        two = {"Y": (grey * opacity).astype(kind), "A": opacity.astype(kind)}
        data = partial(writers.exr, two)
        shown = spaces.srgb_of(three(grey[..., None]))
        row_grey = replace(row, make=data, colours=shown, alpha=opacity, lost=DEEP, readers=())
        yield f"grey {kind} alpha", row_grey
        for name, space in (
            ("Display P3", spaces.SPACES["Display P3"]),
            ("Rec. 2020", REC_2020),
            ("ACES", ACES),
        ):
            flat = replace(space, curve=spaces.Curve(1.0))
            said = (*space.red, *space.green, *space.blue, *space.white)
            data = partial(writers.exr, planes, chromaticities=said)
            yield (
                f"{name} {kind}",
                replace(row, make=data, colours=flat.srgb(light, False), lost=DEEP, readers=()),
            )
