"""``read_mask``: a picture as a mask, the weight of a style at every pixel.

A mask is its luminance times its opacity, as the programs that save masks mean it: white where the style
applies, black or transparent where it does not. The luminance is Rec. 601's luma of the values as the file
has them, so a grey value of 128 weighs 128/255: no gamma is removed, and no colour profile applied, because
profiles describe how colours look, and a mask is not looked at. CMYK is turned into RGB by its complement.

Like ``reading``, this module needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from stylize.pictures.reading.open import open_raster
from stylize.pictures.reading.raster import Floats, Raster, Values, unit

LUMA = (299, 587, 114)
"""Rec. 601's weights of red, green and blue, in thousandths."""

CHROMA = 0.1
"""The difference of channels from which a pixel counts as coloured: JPEG's noise is below."""
COLOURED_SHARE = 0.001
"""The share of coloured pixels from which a mask counts as coloured."""
LOW = 0.25
"""The greatest weight up to which a mask counts as one of low values."""
FULL = 254 / 255
"""The least weight from which a mask counts as white everywhere."""
FEW = 32
"""The number of different values up to which low values are taken for labels."""
SHOWN = 4
"""Values that a sentence about labels names."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask that was read."""

    weight: Floats
    """The weight of the style, (H, W) in [0, 1]: 1 where it applies, 0 where it does not."""
    doubt: str | None
    """Why the picture is probably not the mask that is meant, to be read after its name: "is black
    everywhere, ..."; None: nothing is doubtful."""
    name: str = "a mask"
    """What an error message calls it."""


def read_mask(source: Image.Image | Values | bytes | str | Path, name: str = "") -> Mask:
    """Read a picture as a mask.

    Args:
        source: A path, the bytes of a file, a Pillow image or an array, as ``open_raster`` takes them.
        name: The name of the mask, with which an error message begins. Default: the path.

    Raises:
        PictureError: The source cannot be read or decoded.
    """
    known = name or (str(source) if isinstance(source, str | Path) else "a mask")
    return replace(_from_raster(open_raster(source, name)), name=known)


def make_mask(colours: npt.NDArray[np.number], opacity: Floats | None, white: int) -> Mask:
    """Return the mask of a picture's values.

    Args:
        colours: (H, W), grey, or (H, W, 3), RGB, not multiplied by the opacity.
        opacity: (H, W) in [0, 1]; None: every pixel is opaque.
        white: The value of white.
    """
    grey = colours.ndim == 2
    weight = colours.astype(np.float32) / np.float32(white) if grey else _luma(colours, white)
    weight = weight.clip(0, 1)
    if opacity is not None:
        weight *= opacity
    strange = None if grey else _strange_colour(colours, opacity, white)
    return Mask(weight, _doubt(weight, opacity, strange, white))


def _from_raster(raster: Raster) -> Mask:
    values, white = raster.values, round(raster.white)
    if raster.associated and raster.opacity is not None:
        weight = _weight(raster).clip(0, 1)
        weight = np.minimum(weight, raster.opacity)  # multiplied by the opacity already
        strange = _strange_colour(values, None, white) if raster.model == "rgb" else None
        return Mask(weight, _doubt(weight, raster.opacity, strange, white))
    if raster.model == "lab":
        return make_mask(values[..., 0] / np.float32(100), raster.opacity, 1)
    if raster.model == "cmyk":
        full = values.dtype.type(white)
        inks, key = full - values[..., :3], full - values[..., 3:]
        rgb = np.rint(inks * (key / np.float32(white))) if white > 1 else inks * key
        return make_mask(rgb.astype(values.dtype), raster.opacity, white)
    return make_mask(values[..., 0] if raster.model == "grey" else values, raster.opacity, white)


def _weight(raster: Raster) -> Floats:
    if raster.model == "rgb":
        return _luma(raster.values, round(raster.white))
    return unit(raster.values[..., 0], raster.white)


def _luma(colours: npt.NDArray[np.number], white: int) -> Floats:
    # Whole numbers are summed as such, so that equal channels weigh exactly what grey of their value does.
    kind = np.float32 if np.issubdtype(colours.dtype, np.floating) else np.uint32
    total = np.zeros(colours.shape[:2], kind)
    for channel, share in enumerate(LUMA):
        total += colours[..., channel].astype(kind) * kind(share)
    luma: Floats = total.astype(np.float32) / np.float32(sum(LUMA) * white)
    return luma


def _strange_colour(
    colours: npt.NDArray[np.number], opacity: Floats | None, white: int
) -> tuple[str, float] | None:
    """Return the most colourful value as ``#rrggbb`` and the weight it has; None if a mask is grey."""
    chroma = (colours.max(2) - colours.min(2)).astype(np.float32) / np.float32(white)
    if opacity is not None:
        chroma *= opacity
    if np.count_nonzero(chroma > CHROMA) <= COLOURED_SHARE * chroma.size:
        return None
    red, green, blue = colours.reshape(-1, 3)[int(chroma.argmax())] / white
    name = "".join(f"{round(255 * float(value)):02x}" for value in (red, green, blue))
    luma = sum(share * float(value) for share, value in zip(LUMA, (red, green, blue), strict=True))
    return f"#{name}", luma / sum(LUMA)


def _doubt(
    weight: Floats, opacity: Floats | None, strange: tuple[str, float] | None, white: int
) -> str | None:
    most = float(weight.max())
    if most == 0:
        return _emptiness(opacity)
    if strange is not None:
        colour, luma = strange
        return (
            f"is coloured, and only brightness counts in a mask: its {colour} counts {luma:.0%}; "
            "paint it in black, white and grey"
        )
    if most <= LOW:
        return _lowness(weight, white)
    if float(weight.min()) >= FULL:
        return "is white everywhere, so its style applies everywhere, as without a mask"
    return None


def _emptiness(opacity: Floats | None) -> str:
    nowhere = "so its style applies nowhere"
    if opacity is None or float(opacity.min()) == 1:
        return f"is black everywhere, {nowhere}: paint white where the style is to apply"
    if float(opacity.max()) == 0:
        return f"is transparent everywhere, {nowhere}: paint white where the style is to apply"
    return (
        f"is black wherever it is not transparent, {nowhere}: paint that part white if the style is to apply "
        "there, or fill the ground with white if it is to apply around it"
    )


def _lowness(weight: Floats, white: int) -> str:
    most = float(weight.max())
    if white == 1 or most * white < 0.5:  # floats, or a trace of opacity
        return f"is nearly black: its brightest value is {most:.2g}, and white is 1"
    levels = np.flatnonzero(np.bincount(np.rint(weight.ravel() * white).astype(np.int64)))
    if len(levels) > FEW:
        return f"is nearly black: its brightest value is {levels[-1]:,}, and white is {white:,}"
    values = [f"{level:,}" for level in levels]
    if len(values) > SHOWN:
        values = [*values[: SHOWN - 1], "...", values[-1]]
    named = f"s {', '.join(values[:-1])} and {values[-1]}" if values[1:] else f" {values[0]}"
    advice = "write a mask for each label, white there and black elsewhere"
    if len(levels) <= 2 and levels[0] in (0, levels[-1]):
        advice = f"multiply it by {white // int(levels[-1]):,}"
    return f"has only the value{named}, which is nearly black, since white is {white:,}: {advice}"
