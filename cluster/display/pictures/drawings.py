"""``draw``: the bytes of a picture file as what a terminal's protocol wants."""

from __future__ import annotations

import base64
import math
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.display.pictures.terminals import Cell, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    """(H, W, 3)."""

KITTY_CHUNK = 4096
"""The most characters of one of kitty's messages."""

JPEG_QUALITY = 85

KITTY_ID = 0x57000000 | os.getpid() & 0xFFFFFF
"""The id of our picture among those that a terminal of kitty's kind holds."""

LEVELS = (6, 7, 6)
"""Steps of red, green and blue in sixel, whose colours are at most 256."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture as escape sequences. The cursor may be moved by none but ``draw``."""

    draw: str
    """Draws it, with its upper left corner in the cursor's cell."""
    columns: int
    """The cells that it takes."""
    rows: int
    send: str = ""
    """Sent once before."""
    remove: str = ""
    """Removes it; empty: erasing its cells does."""

    @property
    def is_light(self) -> bool:
        """Whether it is cheap to draw it again."""
        return bool(self.send)


def draw(data: bytes, protocol: Protocol, cell: Cell, columns: int, rows: int) -> Drawing:
    """Return a picture as a drawing that fits into some cells.

    Args:
        data: The bytes of a picture file.
        protocol: What the terminal understands.
        cell: The size of its characters.
        columns: The most cells in a row.
        rows: The most rows.

    Raises:
        PictureError: The file cannot be read.
    """
    pixels = read_small(data, columns * cell.width, rows * cell.height)
    height, width = pixels.shape[:2]
    scale = min(columns * cell.width / width, rows * cell.height / height)
    if protocol == "sixel":  # which has no scale of its own
        scale = min(1.0, scale)
    wide = min(columns, max(1, math.ceil(width * scale / cell.width - 1e-9)))
    high = min(rows, max(1, math.ceil(height * scale / cell.height - 1e-9)))
    if protocol == "kitty":
        return _kitty(pixels, wide, high)
    if protocol == "iterm2":
        return _iterm2(pixels, wide, high)
    return Drawing(sixel(pixels), wide, high)


def read_small(data: bytes, width: int, height: int) -> Pixels:
    """Return the pixels of a picture file, over white, made smaller by a whole factor so that it fits.

    Args:
        data: The bytes of the file.
        width: The most pixels in a row.
        height: The most rows.

    Raises:
        PictureError: The file cannot be read.
    """
    import numpy as np

    # Neither of these imports torch, which a run that only drives others has no use for.
    from stylize.pictures.reading.colours import to_rgb
    from stylize.pictures.reading.open import open_raster

    raster = open_raster(data, "the small picture")
    rgb = to_rgb(raster)
    if raster.opacity is not None:
        opacity = raster.opacity[..., None]
        rgb = (rgb if raster.associated else rgb * opacity) + (1 - opacity)
    factor = max(1, math.ceil(rgb.shape[0] / height), math.ceil(rgb.shape[1] / width))
    high, wide = math.ceil(rgb.shape[0] / factor), math.ceil(rgb.shape[1] / factor)
    beyond = (0, high * factor - rgb.shape[0]), (0, wide * factor - rgb.shape[1]), (0, 0)
    blocks = np.pad(rgb, beyond, mode="edge").reshape(high, factor, wide, factor, 3)
    mean = blocks.mean(axis=(1, 3), dtype=np.float32)
    small: Pixels = np.rint(mean.clip(0, 1) * 255).astype(np.uint8)
    return small


def _kitty(pixels: Pixels, columns: int, rows: int) -> Drawing:
    """Source: the terminal graphics protocol, https://sw.kovidgoyal.net/kitty/graphics-protocol/."""
    height, width = pixels.shape[:2]
    text = base64.b64encode(zlib.compress(pixels.tobytes(), 6)).decode()
    parts = [text[k : k + KITTY_CHUNK] for k in range(0, len(text), KITTY_CHUNK)]
    head = f"a=t,f=24,o=z,s={width},v={height},i={KITTY_ID},q=2,"
    send = "".join(
        f"\x1b_G{head if k == 0 else ''}m={int(k < len(parts) - 1)};{part}\x1b\\"
        for k, part in enumerate(parts)
    )
    return Drawing(
        draw=f"\x1b_Ga=p,i={KITTY_ID},p=1,c={columns},r={rows},C=1,q=2\x1b\\",
        columns=columns,
        rows=rows,
        send=send,
        remove=f"\x1b_Ga=d,d=I,i={KITTY_ID},q=2\x1b\\",
    )


def _iterm2(pixels: Pixels, columns: int, rows: int) -> Drawing:
    """Source: https://iterm2.com/documentation-images.html."""
    from stylize.pictures.gamuts import profile_of
    from stylize.pictures.writing.base import Labels
    from stylize.pictures.writing.by_pillow import write_jpeg

    # Some terminals that know the protocol read no WebP.
    file = write_jpeg(pixels, Labels(profile_of("srgb")), JPEG_QUALITY)
    how = f"inline=1;size={len(file)};width={columns};height={rows};preserveAspectRatio=1"
    return Drawing(f"\x1b]1337;File={how}:{base64.b64encode(file).decode()}\x07", columns, rows)


def sixel(pixels: Pixels) -> str:
    """Return a picture as sixel, in colours at fixed steps.

    Args:
        pixels: (H, W, 3).

    Source: VT330/VT340 Programmer Reference Manual, chapter 14.
    """
    import numpy as np

    steps = np.array(LEVELS) - 1
    levels = np.rint(pixels * (steps / 255)).astype(np.int64)
    codes = (levels[..., 0] * LEVELS[1] + levels[..., 1]) * LEVELS[2] + levels[..., 2]
    height, width = codes.shape
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}']
    for code in np.unique(codes):
        red, rest = divmod(int(code), LEVELS[1] * LEVELS[2])
        green, blue = divmod(rest, LEVELS[2])
        shares = (round(100 * v / s) for v, s in zip((red, green, blue), steps, strict=True))
        parts.append(f"#{code};2;" + ";".join(map(str, shares)))
    for top in range(0, height, 6):
        band = codes[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        lines = (
            f"#{code}" + _packed(((band == code) * weights).sum(axis=0)) for code in np.unique(band)
        )
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\"


def _packed(sixels: npt.NDArray[Any]) -> str:
    """Return a row of sixels as characters, runs of one as a number and the character."""
    import numpy as np

    ends = np.flatnonzero(np.diff(sixels)) + 1
    starts = [0, *ends.tolist()]
    text = []
    for begin, end in zip(starts, [*starts[1:], len(sixels)], strict=True):
        character, count = chr(63 + int(sixels[begin])), end - begin
        if end == len(sixels) and character == "?":
            break  # nothing more in this row
        text.append(f"!{count}{character}" if count > 3 else character * count)
    return "".join(text)
