"""From a raster to sRGB, in float32, by its ICC profile or by formula.

LittleCMS (imagecodecs) applies profiles to the values as they are: 8 bits become 16, all others float32.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import ImageCms

from stylize.pictures.reading.raster import Encoding, Floats, Raster, unit

BANDS = 1 << 22
"""Values that are converted at a time, so that a large picture is not in memory three times."""

_SPACES = {"GRAY": "grey", "RGB ": "rgb", "CMYK": "cmyk"}
"""What the values of a profile are, by its signature."""
_NAMES = {"grey": "gray", "rgb": "rgb", "cmyk": "cmyk"}

SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
SDR_WHITE = 203.0
"""The light of white, in candela per square metre, in HDR pictures (ITU-R BT.2408)."""


def to_srgb(raster: Raster) -> Floats:
    """Return a raster's colours in sRGB, (H, W, 3), not clipped, multiplied by the opacity if they were."""
    if raster.profile:
        converted = _by_profile(raster, raster.profile)
        if converted is not None:
            return converted
    if raster.model == "lab":
        return _from_lab(raster.values)
    values = unit(raster.values, raster.white)
    if raster.model == "cmyk":
        return (1 - values[..., :3]) * (1 - values[..., 3:])
    rgb = values if raster.model == "rgb" else np.repeat(values, 3, axis=2)
    return rgb if raster.encoding is None else _by_formula(rgb, raster.encoding)


def is_plain(raster: Raster) -> bool:
    """Return whether a raster's values, divided by ``white``, are what ``to_srgb`` returns."""
    if raster.model != "rgb" or raster.encoding is not None:
        return False
    return not raster.profile or _is_srgb(raster.profile)


def _by_profile(raster: Raster, profile: bytes) -> Floats | None:
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
    if space == "rgb" and _is_srgb(profile):
        return unit(values, raster.white)
    if space == "grey":
        # With whole numbers of grey LittleCMS (2.19) gets dark values wrong, by up to ten levels.
        values = unit(values, raster.white)
    if values.dtype == np.float32:
        values = values.clip(0, 1)
    out = np.uint16 if values.dtype == np.uint8 else np.float32
    converted = np.empty((*values.shape[:2], 3), np.float32)
    rows = max(1, BANDS // (values.shape[1] * values.shape[2]))
    try:
        for top in range(0, len(values), rows):
            band = np.ascontiguousarray(values[top : top + rows])
            if space == "cmyk" and band.dtype == np.float32:
                band = band * np.float32(100)  # LittleCMS has inks in per cent
            done = imagecodecs.cms_transform(
                band if space != "grey" else band[..., 0],
                profile,
                srgb_profile(),
                colorspace=_NAMES[space],
                outcolorspace="rgb",
                outdtype=out,
            )
            converted[top : top + rows] = unit(done, 65535 if out is np.uint16 else 1)
    except (imagecodecs.CmsError, ValueError):
        return None
    return converted


def _is_neutral(raster: Raster) -> bool:
    values = raster.values
    return bool(
        (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all()
    )


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Return whether a profile is sRGB's, to a third of a level of 8 bits.

    Those of sRGB differ so much among each other: libjxl's from LittleCMS's by 0.28 of a level.
    """
    import imagecodecs

    axis = np.linspace(0, 1, 9, dtype=np.float32)
    cube = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    try:
        seen = imagecodecs.cms_transform(
            cube,
            profile,
            srgb_profile(),
            colorspace="rgb",
            outcolorspace="rgb",
            outdtype=np.float32,
        )
    except (imagecodecs.CmsError, ValueError):
        return False
    return float(np.abs(seen - cube).max()) < 0.35 / 255


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 of the header are the creation time and 84 to 99 a digest that includes it.
    # Without them the same picture has the same bytes every time.
    profile[24:36] = bytes(12)
    profile[84:100] = bytes(16)
    return bytes(profile)


def _by_formula(rgb: Floats, encoding: Encoding) -> Floats:
    light = _light(rgb.clip(0, 1), encoding)
    primaries = encoding.primaries
    if primaries is not None and not _are_srgb(primaries):
        matrix = np.linalg.solve(_to_xyz(SRGB_PRIMARIES), _adapted(primaries) @ _to_xyz(primaries))
        light = light @ matrix.T.astype(np.float32)
    return _encoded(light)


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


Chromaticities = tuple[tuple[float, float], ...]


def _are_srgb(primaries: Chromaticities) -> bool:
    return bool(np.abs(np.array(primaries) - np.array(SRGB_PRIMARIES)).max() < 0.001)


def _xyz(x: float, y: float) -> list[float]:
    return [x / y, 1.0, (1 - x - y) / y]


def _to_xyz(primaries: Chromaticities) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the matrix from light in these primaries to XYZ."""
    *colours, white = primaries
    columns = np.array([_xyz(x, y) for x, y in colours]).T
    matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]] = columns * np.linalg.solve(
        columns, _xyz(*white)
    )
    return matrix


_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""The Bradford matrix, from XYZ to the responses of cones (ICC.1:2022, annex E)."""


def _adapted(
    primaries: Chromaticities, target: tuple[float, float] = (0.3127, 0.3290)
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the matrix that adapts XYZ from the white of these primaries to another one."""
    ratio = (_BRADFORD @ _xyz(*target)) / (_BRADFORD @ _xyz(*primaries[-1]))
    matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.linalg.solve(
        _BRADFORD, np.diag(ratio) @ _BRADFORD
    )
    return matrix


D50 = (0.34567, 0.35850)
"""The chromaticity of the white of Lab in files."""


def _from_lab(lab: Floats) -> Floats:
    """Return sRGB of L*, a* and b*; CIE 15:2004, 8.2.1."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(_xyz(*D50))
    matrix = np.linalg.solve(_to_xyz(SRGB_PRIMARIES), _adapted((D50,)))
    return _encoded((xyz @ matrix.T).astype(np.float32))
