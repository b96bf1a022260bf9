"""From the colours of a film to those of sRGB, and back, where its tags say that they are others.

A film of SDR with the primaries of BT.601 or BT.709 is shown as it is, as players do. BT.2020 and P3 become
sRGB. PQ and HLG do, too, with white at 203 candela per square metre, and brighter light is clipped: as this
project reads pictures, by the same code.
"""

from __future__ import annotations

import numpy as np

from stylize.video.pixels.levels import Floats
from stylize.video.pixels.tags import (
    BT709,
    BT2020,
    LINEAR,
    SHOWN_AS_THEY_ARE,
    SRGB_CURVE,
    ColourTags,
)

WIDE = (9, 11, 12)
"""Primaries that a usual display does not have: BT.2020, DCI-P3, Display P3."""


def to_display(rgb: Floats, tags: ColourTags) -> Floats:
    """Return R'G'B' as a usual display gets them.

    Args:
        rgb: (H, W, 3) by the film's own primaries and transfer; outside of [0, 1], too.
        tags: What the film says.

    Returns:
        (H, W, 3), clipped to [0, 1].
    """
    primaries, transfer = tags.primaries, tags.transfer
    if transfer in SHOWN_AS_THEY_ARE:
        if primaries not in WIDE:
            return rgb.clip(0, 1)
        transfer = SRGB_CURVE
    elif primaries not in (1, *WIDE):
        primaries = BT709 if transfer == LINEAR else BT2020
    from stylize.pictures.reading.cicp import encoding_of_codes
    from stylize.pictures.reading.colours import to_rgb
    from stylize.pictures.reading.raster import Raster

    encoding = encoding_of_codes(primaries, transfer)
    return to_rgb(Raster(rgb.clip(0, 1), "rgb", 1.0, encoding=encoding)).clip(0, 1)


def from_display(rgb: Floats, tags: ColourTags) -> Floats:
    """Return the R'G'B' of a film that is shown as the given: what ``to_display`` undoes.

    Args:
        rgb: (H, W, 3), sRGB, in [0, 1].
        tags: What the film will say. Its transfer is one of SDR.
    """
    if tags.primaries not in WIDE:
        return rgb
    from stylize.pictures.gamuts import PRIMARIES, adapted, to_xyz
    from stylize.pictures.reading.cicp import PRIMARIES as BY_CODE

    target = BY_CODE[tags.primaries]
    matrix = np.linalg.solve(adapted(target[-1]) @ to_xyz(target), to_xyz(PRIMARIES["srgb"]))
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = (light @ matrix.T).clip(0, 1)
    bright = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    values: Floats = np.where(light <= 0.0031308, 12.92 * light, bright).astype(np.float32)
    return values
