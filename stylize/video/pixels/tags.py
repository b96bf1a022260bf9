"""What the values of a film mean: the tags of its stream, and what players assume where there are none.

The codes are those of ITU-T H.273; 2 is "unspecified" in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stylize.errors import FilmError

UNSPECIFIED = 2
RGB, BT709, FCC, BT470BG, BT601, SMPTE240M, YCGCO, BT2020 = 0, 1, 4, 5, 6, 7, 8, 9

WEIGHTS = {
    BT709: (0.2126, 0.0722),
    FCC: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    BT601: (0.299, 0.114),
    SMPTE240M: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
"""The shares of red and blue in luma, by the code of the matrix (H.273, table 4)."""

SHOWN_AS_THEY_ARE = (1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15)
"""Transfer characteristics of SDR, which players send to the display as they are."""
LINEAR, SRGB_CURVE, PQ, HLG = 8, 13, 16, 18

HD_LINES, HD_COLUMNS = 720, 1280
"""From which on an untagged film is BT.709, as players have it, and below BT.601."""

Range = Literal["limited", "full"]

Siting = Literal["left", "center", "topleft", "top"]
"""Where a chroma sample of 4:2:0 lies among its four of luma (H.273, figure 1). Nobody uses the other two, at
the bottom."""

SITINGS: dict[Siting, tuple[float, float]] = {
    "left": (0.0, 0.5),
    "center": (0.5, 0.5),
    "topleft": (0.0, 0.0),
    "top": (0.5, 0.0),
}
"""How far right of and below the first of them, in samples of luma."""

SITING_BY_PLACE: dict[tuple[int, int], Siting] = {
    (1, 2): "left",
    (2, 2): "center",
    (1, 1): "topleft",
    (2, 1): "top",
}
"""By what Matroska has across and down: 1, at the first sample of luma; 2, between it and the next."""


@dataclass(frozen=True, slots=True)
class ColourTags:
    """What a stream says about its colours; ``None`` or 2: nothing."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: Range | None = None
    siting: Siting | None = None

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    def meant(self, width: int, height: int) -> ColourTags:
        """Return the same with matrix, range and siting as players assume them.

        Args:
            width: Of a coded frame, not turned, in pixels.
            height: The same.
        """
        matrix = self.matrix
        if matrix == UNSPECIFIED:
            is_hd = height >= HD_LINES or width >= HD_COLUMNS
            matrix = BT2020 if self.is_hdr else BT709 if is_hd else BT601
        full = self.range or "limited"
        # JPEG's place is the middle, MPEG's the left; what has full range and says nothing is Motion JPEG.
        siting = self.siting or ("center" if full == "full" else "left")
        return ColourTags(matrix, self.primaries, self.transfer, full, siting)


def check_known(tags: ColourTags) -> None:
    """Raise unless the colours can be shown.

    Raises:
        FilmError: They have a matrix or a transfer that this project has no formula for.
    """
    if tags.matrix not in (RGB, YCGCO, UNSPECIFIED, *WEIGHTS):
        raise FilmError(
            f"has colours by the matrix {tags.matrix} of ITU-T H.273, which stylefarm does not know; "
            "convert it to BT.709 first"
        )
    if tags.transfer not in (*SHOWN_AS_THEY_ARE, LINEAR, PQ, HLG):
        raise FilmError(
            f"has values by the transfer {tags.transfer} of ITU-T H.273, which stylefarm does not know; "
            "convert it to BT.709 first"
        )


def to_rgb_matrix(matrix: int) -> npt.NDArray[np.float64]:
    """Return the matrix from (Y', Cb, Cr) to (R', G', B'), with Y' in [0, 1], Cb and Cr in [-0.5, 0.5].

    Source: ITU-T H.273, equations 41 to 46 (by luma's weights) and 47 to 52 (YCgCo).

    Args:
        matrix: A code of ``WEIGHTS``, or ``YCGCO``.
    """
    if matrix == YCGCO:
        return np.array([[1.0, -1.0, 1.0], [1.0, 1.0, 0.0], [1.0, -1.0, -1.0]])
    red, blue = WEIGHTS[matrix]
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
