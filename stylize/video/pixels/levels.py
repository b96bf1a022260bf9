"""Values of a film's planes and the numbers they stand for, in limited and full range.

Source: ITU-T H.273, equations 32 to 40.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stylize.video.pixels.tags import Range

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[Any]
Kind = Literal["light", "chroma"]
"""``light``: Y', R', G' or B', in [0, 1]. ``chroma``: in [-0.5, 0.5]."""


def scale_of(kind: Kind, bits: int, range_: Range) -> tuple[float, float]:
    """Return the value that stands for 0, and how many values are 1.

    Args:
        kind: What the values are of.
        bits: Of a value, 8 to 16.
        range_: Limited, or full.
    """
    unit = 1 << (bits - 8)
    if kind == "light":
        return (0.0, float((1 << bits) - 1)) if range_ == "full" else (16.0 * unit, 219.0 * unit)
    return 128.0 * unit, float((1 << bits) - 1) if range_ == "full" else 224.0 * unit


def to_numbers(values: Values, kind: Kind, bits: int, range_: Range) -> Floats:
    """Return what the values of a plane stand for; not clipped.

    Args:
        values: uint8 or uint16.
        kind: What the values are of.
        bits: Of a value, 8 to 16.
        range_: Limited, or full.
    """
    zero, one = scale_of(kind, bits, range_)
    numbers: Floats = (values.astype(np.float32) - np.float32(zero)) * np.float32(1 / one)
    return numbers


def to_values(numbers: Floats, kind: Kind, bits: int, range_: Range) -> Values:
    """Return the values for numbers, rounded and clipped to what the bits hold: uint8, or uint16.

    Args:
        numbers: As ``Kind`` says; outside, too.
        kind: What the values are of.
        bits: Of a value, 8 to 16.
        range_: Limited, or full.
    """
    zero, one = scale_of(kind, bits, range_)
    rounded = np.rint(numbers * np.float32(one) + np.float32(zero)).clip(0, (1 << bits) - 1)
    values: Values = rounded.astype(np.uint8 if bits == 8 else np.uint16)
    return values
