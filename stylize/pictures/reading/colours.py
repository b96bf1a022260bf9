"""From a raster to sRGB or Display P3, in float32, by its ICC profile or by formula.

LittleCMS (imagecodecs) applies profiles: 8 bits of RGB become 16 where the profile is curves and a matrix,
all others float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from stylize.pictures.gamuts import (
    D50,
    PRIMARIES,
    Chromaticities,
    Gamut,
    adapted,
    profile_of,
    to_xyz,
    xyz,
)
from stylize.pictures.reading.raster import Encoding, Floats, Raster, Values, unit

BANDS = 1 << 22
"""Values that are converted at a time, so that a large picture is not in memory three times."""

_SPACES = {"GRAY": "grey", "RGB ": "rgb", "CMYK": "cmyk"}
"""What the values of a profile are, by its signature."""
_NAMES = {"grey": "gray", "rgb": "rgb", "cmyk": "cmyk"}

SDR_WHITE = 203.0
"""The light of white, in candela per square metre, in HDR pictures (ITU-R BT.2408)."""


def to_rgb(raster: Raster, gamut: Gamut = "srgb") -> Floats:
    """Return a raster's colours in a gamut, (H, W, 3), not clipped; times the opacity if its values are."""
    if raster.associated and _means_other(raster, gamut):
        return _by_what_they_were(raster, gamut)
    if raster.profile:
        converted = _by_profile(raster, raster.profile, gamut)
        if converted is not None:
            return converted
    values = raster.values
    rgb = np.empty((*values.shape[:2], 3), np.float32)
    convert = _converter(raster, gamut)
    for rows in _bands(values):
        rgb[rows] = convert(values[rows])
    return rgb


def _means_other(raster: Raster, gamut: Gamut) -> bool:
    """Return whether values, divided by ``white``, mean other colours in the gamut."""
    if raster.profile or raster.encoding is not None or gamut != "srgb":
        return not is_plain(raster, gamut)
    return False


def _by_what_they_were(raster: Raster, gamut: Gamut) -> Floats:
    """Return the colours of a raster that are multiplied by the opacity, and mean what they were before."""
    if raster.opacity is None:
        return to_rgb(replace(raster, associated=False), gamut)
    opacity = raster.opacity[..., None]
    multiplied = unit(raster.values, raster.white)
    values = np.zeros_like(multiplied)
    np.divide(multiplied, opacity, out=values, where=opacity > 0)
    straight = replace(raster, values=values, white=1.0, associated=False)
    return to_rgb(straight, gamut).clip(0, 1) * opacity


def is_plain(raster: Raster, gamut: Gamut = "srgb") -> bool:
    """Return whether a raster's values, divided by ``white``, are what ``to_rgb`` returns."""
    if raster.model != "rgb" or raster.encoding is not None:
        return False
    return _is_of(raster.profile, gamut) if raster.profile else gamut == "srgb"


def _by_profile(raster: Raster, profile: bytes, gamut: Gamut) -> Floats | None:
    """Return the colours by a profile; None when it is broken, or for values of another kind."""
    import imagecodecs

    signature = profile[16:20].decode("latin-1")
    space = _SPACES.get(signature)
    values = raster.values
    if space == "grey" and raster.model == "rgb" and _is_neutral(raster):
        values = values[..., :1]  # a palette of greys
    elif space == "rgb" and raster.model == "grey":
        values = np.repeat(values, 3, axis=2)
    elif space != raster.model:
        return None
    if space == "rgb" and _is_of(profile, gamut):
        return unit(values, raster.white)
    # LittleCMS (2.18) sends whole numbers through a coarse table of its own, which is ten levels of 8 bits
    # wrong where it bends: in dark greys, and where colours leave sRGB.
    as_floats = values.dtype == np.float32 or space != "rgb" or _has_table(profile)
    out = np.float32 if as_floats or values.dtype != np.uint8 else np.uint16
    converted = np.empty((*values.shape[:2], 3), np.float32)
    try:
        for rows in _bands(values):
            band = np.ascontiguousarray(values[rows])
            if as_floats:
                band = unit(band, raster.white).clip(0, 1)
            if space == "cmyk":
                band *= np.float32(100)  # LittleCMS has inks in per cent
            done = imagecodecs.cms_transform(
                band if space != "grey" else band[..., 0],
                profile,
                profile_of(gamut),
                colorspace=_NAMES[space],
                outcolorspace="rgb",
                outdtype=out,
            )
            converted[rows] = unit(done, 65535 if out is np.uint16 else 1)
    except (imagecodecs.CmsError, ValueError):
        return None
    return converted


def _has_table(profile: bytes) -> bool:
    """Return whether a profile has its colours in a table, not as curves and a matrix (ICC.1:2022, 7.3)."""
    count = int.from_bytes(profile[128:132], "big")
    return b"A2B0" in (profile[at : at + 4] for at in range(132, 132 + 12 * min(count, 100), 12))


def _is_neutral(raster: Raster) -> bool:
    values = raster.values
    return bool(
        (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all()
    )


@lru_cache(maxsize=64)
def _is_of(profile: bytes, gamut: Gamut) -> bool:
    """Return whether a profile is that of a gamut, to a third of a level of 8 bits.

    Those of sRGB differ so much among each other: libjxl's from LittleCMS's by 0.28 of a level.
    """
    import imagecodecs

    axis = np.linspace(0, 1, 9, dtype=np.float32)
    cube = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    try:
        seen = imagecodecs.cms_transform(
            cube,
            profile,
            profile_of(gamut),
            colorspace="rgb",
            outcolorspace="rgb",
            outdtype=np.float32,
        )
    except (imagecodecs.CmsError, ValueError):
        return False
    return float(np.abs(seen - cube).max()) < 0.35 / 255


def _converter(raster: Raster, gamut: Gamut) -> Callable[[Values], Floats]:
    """Return what makes colours of some rows of a raster's values, by formula."""
    if raster.model == "lab":
        return lambda rows: _from_lab(rows, gamut)
    encoding = raster.encoding
    if encoding is None and gamut != "srgb":
        encoding = Encoding()  # what says nothing is sRGB
    matrix = None
    if encoding is not None:
        primaries, target = encoding.primaries or PRIMARIES["srgb"], PRIMARIES[gamut]
        if not _are_same(primaries, target):
            matrix = np.linalg.solve(to_xyz(target), adapted(primaries[-1]) @ to_xyz(primaries))
            matrix = matrix.T.astype(np.float32)

    def convert(rows: Values) -> Floats:
        values = unit(rows, raster.white)
        if raster.model == "cmyk":
            values = (1 - values[..., :3]) * (1 - values[..., 3:])
        elif raster.model == "grey":
            values = np.repeat(values, 3, axis=2)
        if encoding is None:
            return values
        light = _light(values.clip(0, 1), encoding)
        return _encoded(light if matrix is None else light @ matrix)

    return convert


def _bands(values: Values) -> Iterator[slice]:
    """Yield the rows of a picture, as many at a time as have about ``BANDS`` values."""
    height, width, channels = values.shape
    rows = max(1, BANDS // (width * channels))
    yield from (slice(top, top + rows) for top in range(0, height, rows))


def _light(values: Floats, encoding: Encoding) -> Floats:
    """Return light, 1 for white."""
    x = values.astype(np.float64)
    match encoding.transfer:
        case "srgb":  # IEC 61966-2-1
            light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        case "linear":
            light = x
        case "gamma":
            light = x**encoding.gamma
        case "pq":  # SMPTE ST 2084
            m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
            power = x ** (1 / m2)
            light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
            light *= 10_000 / SDR_WHITE
        case "hlg":  # ITU-R BT.2100, with the gamma of a display of 1,000 candela per square metre
            a, b, c = 0.17883277, 0.28466892, 0.55991073
            scene = np.where(x <= 0.5, x * x / 3, (np.exp((x - c) / a) + b) / 12)
            luma = scene @ np.array([0.2627, 0.6780, 0.0593])
            light = scene * np.maximum(luma, 1e-9)[..., None] ** 0.2 * (1000 / SDR_WHITE)
    return light.astype(np.float32)


def _encoded(light: Floats) -> Floats:
    """Return sRGB's values for light; IEC 61966-2-1."""
    bright = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    encoded: Floats = np.where(light <= 0.0031308, 12.92 * light, bright).astype(np.float32)
    return encoded


def _are_same(some: Chromaticities, others: Chromaticities) -> bool:
    return bool(np.abs(np.array(some) - np.array(others)).max() < 0.001)


def _from_lab(lab: Floats, gamut: Gamut) -> Floats:
    """Return colours of L*, a* and b*; CIE 15:2004, 8.2.1."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    light = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(xyz(*D50))
    matrix = np.linalg.solve(to_xyz(PRIMARIES[gamut]), adapted(D50))
    return _encoded((light @ matrix.T).astype(np.float32))
