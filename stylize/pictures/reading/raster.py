"""``Raster``: a picture's values as its file has them, before colours are converted or masks are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stylize.errors import PictureError

Values = npt.NDArray[Any]
"""uint8, uint16 or float32."""
Floats = npt.NDArray[np.float32]

Model = Literal["grey", "rgb", "cmyk", "lab"]
"""What the channels are. ``lab``: L* from 0 to 100, a* and b*, as float32; the illuminant is D50."""

CHANNELS: dict[Model, int] = {"grey": 1, "rgb": 3, "cmyk": 4, "lab": 3}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the values of a file without a colour profile encode light, where it says so."""

    transfer: Literal["srgb", "linear", "gamma", "pq", "hlg"] = "srgb"
    """The curve from values to light."""
    gamma: float = 1.0
    """The exponent from values to light, for ``gamma``."""
    primaries: tuple[tuple[float, float], ...] | None = None
    """The chromaticities (x, y) of red, green, blue and white; None: those of sRGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """The values of a picture."""

    values: Values
    """(H, W, C)."""
    model: Model
    white: float
    """The value of full scale: 255, 65535, or 1 for floats; without meaning for ``lab``."""
    opacity: Floats | None = None
    """(H, W) in [0, 1]; None: every pixel is opaque."""
    associated: bool = False
    """Whether the values are multiplied by the opacity."""
    profile: bytes | None = None
    """The ICC profile."""
    encoding: Encoding | None = None
    """How values encode light, where there is no profile; None: as in sRGB."""

    def upright(self, orientation: int) -> Raster:
        """Return the raster turned as EXIF's orientation (1 to 8; others mean 1) asks.

        Source: EXIF 2.32, tag 274.
        """
        turn = _TURNS.get(orientation)
        if turn is None:
            return self

        def turned(values: Values) -> Values:
            flip, quarters = turn
            return np.ascontiguousarray(np.rot90(values[:, ::-1] if flip else values, quarters))

        opacity = None if self.opacity is None else turned(self.opacity)
        return replace(self, values=turned(self.values), opacity=opacity)


_TURNS = {
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}
"""For each orientation: whether to mirror left to right, and then the quarter turns to the left."""


def of_array(values: Values) -> Raster:
    """Return the raster of an array in sRGB.

    Args:
        values: (H, W), grey; (H, W, 3), RGB, not the BGR of OpenCV; or (H, W, 4), with opacity behind colours
            that are not multiplied by it. uint8, uint16, or floats in [0, 1].

    Raises:
        PictureError: It is none of these.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize
    white = 1.0 if kind == "f" else {("u", 1): 255.0, ("u", 2): 65535.0}.get((kind, size))
    channels = values.shape[2] if values.ndim == 3 else 1
    if white is None or values.ndim not in (2, 3) or channels not in (1, 3, 4) or not values.size:
        raise PictureError(
            f"is {values.dtype} {values.shape}: give uint8, uint16 or floats from 0 to 1, "
            "as (H, W), (H, W, 3) or, with opacity, (H, W, 4)"
        )
    native = np.float32 if kind == "f" else values.dtype.newbyteorder("=")
    values = values.astype(native, copy=False)
    opacity = unit(values[..., 3], white) if channels == 4 else None
    if opacity is not None and not ((opacity >= 0) & (opacity <= 1)).all():  # NaN is neither
        raise PictureError("has an opacity that is not from 0 to 1")
    colours = np.ascontiguousarray(values.reshape(*values.shape[:2], channels)[..., :3])
    return Raster(colours, "rgb" if channels > 1 else "grey", white, opacity=opacity)


def unit(values: Values, white: float) -> Floats:
    """Return values as floats, 1 where they were ``white``."""
    floats: Floats = values.astype(np.float32)
    if white != 1:
        floats /= np.float32(white)
    return floats
