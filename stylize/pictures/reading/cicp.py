"""Codes of colours (CICP, ITU-T H.273), as PNG, AVIF and HEIC have them."""

from __future__ import annotations

from stylize.pictures.reading.raster import Encoding

PRIMARIES = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
}
"""Chromaticities by their code in ITU-T H.273: BT.709, BT.2020, DCI-P3, Display P3."""

_CURVES = (1, 4, 5, 6, 8, 13, 14, 15, 16, 18)


def are_known(primaries: int, transfer: int) -> bool:
    """Return whether ``encoding_of_codes`` knows the codes, so that None from it means sRGB."""
    return primaries in PRIMARIES and transfer in _CURVES


def encoding_of_codes(primaries: int, transfer: int) -> Encoding | None:
    """Return how values encode light; None: the codes are unknown, or mean sRGB.

    Args:
        primaries: The code of the primaries, ``ColourPrimaries``.
        transfer: The code of the curve, ``TransferCharacteristics``. The curves of television are shown as
            that of sRGB.
    """
    colours = PRIMARIES.get(primaries)
    if colours is None:
        return None
    match transfer:
        case 1 | 6 | 13 | 14 | 15:
            return None if primaries == 1 else Encoding("srgb", primaries=colours)
        case 4:
            return Encoding("gamma", 2.2, colours)
        case 5:
            return Encoding("gamma", 2.8, colours)
        case 8:
            return Encoding("linear", primaries=colours)
        case 16:
            return Encoding("pq", primaries=colours)
        case 18:
            return Encoding("hlg", primaries=colours)
    return None
