"""Rows of AVIF, HEIC and JPEG XL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import imagecodecs
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
    HEIF,
    HEIGHT,
    LOSSY,
    REC_2020,
    RGB,
    SOFT,
    SOFT_GREY,
    WIDTH,
    Row,
    Rows,
    as_kind,
    rounded,
    stored,
    three,
    upright,
    with_alpha,
)

# -- AVIF, HEIC, JPEG XL -------------------------------------------------------------------------------

CODES = {
    "Display P3": (12, 13, spaces.SPACES["Display P3"]),
    "Rec. 2020": (9, 13, REC_2020),
    "linear": (1, 8, spaces.SPACES["linear"]),
}
"""The codes of primaries and curve in ITU-T H.273."""
ARRANGED = {"rgb": RGB, "grey": GREY, "rgb alpha": with_alpha(RGB), "grey alpha": with_alpha(GREY)}


def _plain(values: NDArray[Any], ending: str, make: Callable[[], bytes], white: float) -> Row:
    """The row of a file that shows its values as they are."""
    seen = values / white
    colours = values.shape[2] - (values.shape[2] in (2, 4))
    alpha = seen[..., colours] if colours < values.shape[2] else None
    return Row(ending, make, three(seen[..., :colours]), alpha)


IROT, IMIR = writers.irot, writers.imir
TURNS = (
    (),
    (IMIR(1),),
    (IROT(2),),
    (IMIR(0),),
    (IROT(1), IMIR(0)),
    (IROT(3),),
    (IROT(3), IMIR(0)),
    (IROT(1),),
)
"""The orientations 1 to 8 as boxes (ISO/IEC 23008-12, 6.5.10 and 6.5.12)."""


def _with_boxes(row: Row, boxes: tuple[bytes, ...], seen: Callable[[Array], Array]) -> Row:
    """The row of a file with boxes, by which its picture is seen otherwise."""
    alpha = None if row.alpha is None else seen(row.alpha)
    make = lambda: writers.with_boxes(row.make(), *boxes)  # noqa: E731
    return replace(row, make=make, colours=seen(row.colours), alpha=alpha)


def avifs() -> Rows:
    for bits, (name, picture) in product((8, 10, 12), ARRANGED.items()):
        values = stored(picture, bits)
        row = _plain(values, "avif", partial(writers.avif, values, bits), 2**bits - 1)
        readers = ("avifdec",) if bits > 8 else ("avifdec", *HEIF)
        yield f"{name} {bits}", replace(row, readers=readers, apart=EIGHT if bits == 8 else DEEP)
    for bits, (name, (primaries, transfer, space)) in product((8, 10, 12), CODES.items()):
        values = stored(RGB, bits)
        data = partial(writers.avif, values, bits, primaries=primaries, transfer=transfer)
        row = Row("avif", data, space.srgb(rounded(RGB, bits), False), lost=DEEP)
        yield f"codes of {name} {bits}", row
    # Pillow's is not without loss.
    best: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4", "speed": 10}
    make = partial(writers.by_pillow, stored(SOFT, 8), "AVIF", **best)
    row = Row("avif", make, SOFT, lost=LOSSY, readers=HEIF, apart=1.1 / 255)
    for name, space in spaces.SPACES.items():
        if name == "ProPhoto":
            continue  # what is lost is much in such a space
        data = partial(make, icc_profile=space.profile())
        lost = 2 * LOSSY if name == "Adobe RGB" else LOSSY
        yield f"{name} 8, lossy", Row("avif", data, space.srgb(SOFT), lost=lost)
    for k in range(1, 9):
        turned = replace(row, colours=upright(SOFT, k))
        data = partial(make, exif=writers.exif(k))
        yield f"orientation {k} in boxes", replace(turned, make=data)
        # What EXIF says has no meaning in this format (ISO/IEC 23008-12, 6.5.10 and A.2.1).
        data = partial(_avif_with_exif, make, k)
        yield f"orientation {k} in EXIF", replace(row, make=data)
    for bits, many in ((8, "limited"), (10, "limited"), (10, "full")):
        values = writers.png(stored(SOFT, 16), 16, "rgb")
        options = ("-d", str(bits), "-r", many, "-y", "420", "-s", "10", "--min", "0", "--max", "0")
        data = partial(writers.by_program, "avifenc", values, "avif", *options)
        lost = 5 / 255 if bits == 8 else 2 / 255
        row = Row("avif", data, SOFT, lost=lost, readers=("avifdec",), apart=2 / 255)
        yield f"420 {many} range {bits}", replace(row, needs_programs=("avifenc",))
    for bits in (8, 10):
        both, deep = rounded(with_alpha(RGB), bits), 8 if bits == 8 else 16
        values = writers.png(stored(both, deep), deep, "rgb alpha")
        options = ("-d", str(bits), "-l", "-s", "10", "--premultiply")
        data = partial(writers.by_program, "avifenc", values, "avif", *options)
        row = Row("avif", data, both[..., :3], both[..., 3], lost=2 / (2**bits - 1))
        row = replace(row, readers=("avifdec",), apart=2 / (2**bits - 1))
        yield f"alpha associated {bits}", replace(row, needs_programs=("avifenc",))
    for bits, name in product((8, 10, 12), ("rgb", "rgb alpha")):
        values = stored(ARRANGED[name], bits)
        plain = _plain(values, "avif", partial(writers.avif, values, bits), 2**bits - 1)
        for k, boxes in enumerate(TURNS, 1):
            row = _with_boxes(plain, boxes, lambda values, k=k: upright(values, k))
            yield f"orientation {k} in boxes {bits}, {name}", row
        # Programs that use libavif alone (avifdec 0.11) do not crop.
        part = writers.clap((WIDTH, HEIGHT), 4, 2, 20, 16)
        for k in (1, 6, 7):
            row = _with_boxes(
                plain,
                (part, *TURNS[k - 1]),
                lambda values, k=k: upright(values[2:18, 4:24], k),
            )
            # libheif (1.15) crops no alpha.
            readers = HEIF if name == "rgb" and bits == 8 else ()
            yield f"cropped, orientation {k} {bits}, {name}", replace(row, readers=readers)
    for bits, (name, space) in product((8, 10, 12), spaces.SPACES.items()):
        deep = 8 if bits == 8 else 16
        values = stored(rounded(RGB, bits), deep)
        options = ("-d", str(bits), "-l", "-s", "10", "--icc", "ICC")
        data = partial(
            writers.by_program, "avifenc", writers.png(values, deep, "rgb"), "avif", *options,
            profile=space.profile(),
        )  # fmt: skip
        lost = 0.5 / 255 if bits == 8 else DEEP
        row = Row("avif", data, space.srgb(rounded(RGB, bits)), lost=lost)
        yield f"{name} {bits}", replace(row, needs_programs=("avifenc",))


def _avif_with_exif(make: Callable[..., bytes], k: int) -> bytes:
    return writers.with_orientation_in_exif(make(exif=writers.exif(k, writers.NO_TAG)))


def heics() -> Rows:
    needs = ("pillow_heif",)
    for bits, (name, picture) in product((8, 10, 12), ARRANGED.items()):
        values = stored(picture, bits)
        row = _plain(values, "heic", partial(writers.heic, values, bits), 2**bits - 1)
        readers = ("heif-convert", *HEIF) if bits == 8 else ()
        yield f"{name} {bits}", replace(row, needs=needs, readers=readers)
    for bits in (8, 10, 12):
        values, lost = stored(RGB, bits), 0.5 / 255 if bits == 8 else DEEP
        shown, opacity = rounded(RGB, bits), rounded(ALPHA, bits)
        both = stored(with_alpha(RGB), bits)
        for name, (primaries, transfer, space) in CODES.items():
            codes = {"color_primaries": primaries, "transfer_characteristics": transfer}
            data = partial(writers.heic, values, bits, **codes)
            row = Row("heic", data, space.srgb(shown, False), lost=lost, needs=needs)
            yield f"codes of {name} {bits}", row
        for name, space in spaces.SPACES.items():
            data = partial(writers.heic, values, bits, space.profile())
            readers = HEIF if bits == 8 else ()
            row = Row("heic", data, space.srgb(shown), None, lost, readers, True, 1.1 / 255, needs)
            yield f"{name} {bits}", row
            data = partial(writers.heic, both, bits, space.profile())
            row = replace(row, make=data, alpha=opacity, readers=())
            yield f"{name} {bits} alpha", row
        for name, curve in spaces.GREYS.items():
            grey = stored(GREY, bits)
            data = partial(writers.heic, grey, bits, spaces.grey_profile(curve))
            row = Row("heic", data, spaces.grey_srgb(rounded(GREY, bits), curve), needs=needs)
            yield f"{name} {bits}", replace(row, lost=lost)
        for k in range(1, 9):
            data = partial(_heic_turned, both, bits, k)
            row = Row("heic", data, upright(shown, k), upright(opacity, k), needs=needs)
            yield f"orientation {k} in boxes {bits} alpha", row
            row = Row(
                "heic", partial(_heic_turned, values, bits, k), upright(shown, k), needs=needs
            )
            yield (
                f"orientation {k} in boxes {bits}",
                replace(row, readers=HEIF if bits == 8 else ()),
            )
            data = partial(_heic_with_exif, values, bits, k)
            yield f"orientation {k} in EXIF {bits}", Row("heic", data, shown, needs=needs)


def _heic_turned(values: NDArray[Any], bits: int, k: int) -> bytes:
    return writers.heic(values, bits, exif=writers.exif(k))


def _heic_with_exif(values: NDArray[Any], bits: int, k: int) -> bytes:
    data = writers.heic(values, bits, exif=writers.exif(k, writers.NO_TAG))
    return writers.with_orientation_in_exif(data)


def jxls() -> Rows:
    needs = ("pillow_jxl",)
    for kind, (name, picture) in product(
        ("uint8", "uint16", "float16", "float32"), ARRANGED.items()
    ):
        values = as_kind(picture, kind)
        white = 1 if values.dtype.kind == "f" else np.iinfo(kind).max
        make = lambda v=values: bytes(imagecodecs.jpegxl_encode(v.squeeze(), lossless=True))  # noqa: E731
        row = replace(_plain(values.astype(float), "jxl", make, white), needs=needs)
        if kind == "uint8":
            yield f"{name} {kind}", replace(row, lost=EXACT * 10, readers=("djxl", *BOTH[1:]))
        else:  # what has more bits imagecodecs (2026.3.6) marks as linear light
            yield (
                f"{name} {kind}",
                replace(row, colours=spaces.srgb_of(row.colours), lost=2.5 * DEEP),
            )
    source = writers.png(stored(with_alpha(RGB), 8), 8, "rgb alpha")
    options = ("-d", "0", "-e", "3", "--premultiply", "1")
    data = partial(writers.by_program, "cjxl", source, "jxl", *options)
    row = Row("jxl", data, rounded(RGB, 8), rounded(ALPHA, 8), 1.1 / 255, ("djxl",), needs=needs)
    yield "alpha associated", replace(row, needs_programs=("cjxl",))
    best: dict[str, Any] = {"quality": 100, "subsampling": 0, "keep_rgb": True}
    make = partial(writers.by_pillow, stored(SOFT, 8), "JPEG", **best)
    for k in range(1, 9):
        data = partial(_from_jpeg, partial(make, exif=b"Exif\0\0" + writers.exif(k)))
        yield (
            f"orientation {k}",
            Row(
                "jxl",
                data,
                upright(SOFT, k),
                lost=LOSSY,
                readers=("djxl",),
                apart=1.1 / 255,
                needs=needs,
            ),
        )
        # What EXIF says has no meaning in this format (ISO/IEC 18181-2).
        data = partial(_jxl_with_exif, k)
        yield f"orientation {k} in EXIF", Row("jxl", data, rounded(RGB, 8), needs=needs)
    for name, space in spaces.SPACES.items():
        data = partial(_from_jpeg, partial(make, icc_profile=space.profile()))
        lost = 2 * LOSSY if name == "ProPhoto" else LOSSY
        yield f"{name} of a JPEG", Row("jxl", data, space.srgb(SOFT), lost=lost, needs=needs)
        for bits in (8, 16):
            values, shown = stored(RGB, bits), space.srgb(rounded(RGB, bits))
            png = writers.png(values, bits, "rgb", iCCP=writers.iccp(space.profile()))
            data = partial(writers.by_program, "cjxl", png, "jxl", "-d", "0", "-e", "3")
            row = Row("jxl", data, shown, lost=0.5 / 255 if bits == 8 else 2 * DEEP, needs=needs)
            yield f"{name} {bits}", replace(row, needs_programs=("cjxl",))
    for name, curve in spaces.GREYS.items():
        profile = spaces.grey_profile(curve)
        jpeg = partial(
            writers.by_pillow, stored(SOFT_GREY, 8), "JPEG", quality=100, icc_profile=profile
        )
        row = Row("jxl", partial(_from_jpeg, jpeg), spaces.grey_srgb(SOFT_GREY, curve), needs=needs)
        yield f"{name} of a JPEG", replace(row, lost=LOSSY)


def _from_jpeg(make: Callable[[], bytes]) -> bytes:
    return bytes(imagecodecs.jpegxl_encode_jpeg(make(), usecontainer=True))


def _jxl_with_exif(k: int) -> bytes:
    import pillow_jxl  # noqa: F401 - Pillow writes JPEG XL with it

    return writers.by_pillow(stored(RGB, 8), "JXL", lossless=True, exif=writers.exif(k))
