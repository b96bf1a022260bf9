"""The planes of a decoded frame as arrays, and arrays as a frame to encode, whatever FFmpeg's layout.

swscale only takes packed layouts apart; it never converts between ranges, matrices or depths here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stylize.errors import FilmError
from stylize.video.library import load_av
from stylize.video.pixels.levels import Values

if TYPE_CHECKING:
    from stylize.video.library import VideoFrame

_STEPS = {
    (2, 2): "420",
    (2, 1): "422",
    (1, 1): "444",
    (1, 2): "440",
    (4, 1): "411",
    (4, 4): "410",
}


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """The values of a frame, as it is stored."""

    model: Literal["yuv", "rgb", "grey"]
    values: tuple[Values, ...]
    """Y', Cb and Cr; R', G' and B'; or Y' alone. Each (h, w), uint8 or uint16."""
    bits: int
    steps: tuple[int, int] = (1, 1)
    """How many columns and rows of luma share a sample of chroma."""
    alpha: Values | None = None
    """How opaque each pixel is, (h, w), of all the bits, whatever the range of the others; None: it is."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.values[0].shape
        return height, width


def planes_of(frame: VideoFrame) -> Planes:
    """Return the values of a decoded frame.

    Raises:
        FilmError: FFmpeg's layout of it cannot be taken apart.
    """
    name = frame.format.name
    components = frame.format.components
    bits = max(component.bits for component in components)
    if name.startswith("bayer") or len(components) == 0 or bits > 16 or "f16" in name:
        raise FilmError(f"has pixels of the kind {name}, which stylefarm does not read")
    if name in ("pal8", "rgb8", "bgr8") or frame.format.is_rgb:
        return _rgb(frame, bits)
    has_alpha = components[-1].is_alpha
    if len(components) == 2 and has_alpha:
        frame = _as(frame, "ya8" if bits == 8 else "ya16le")
        grey, opacity = _packed(frame, 2)
        return Planes("grey", (grey,), frame.format.components[0].bits, alpha=opacity)
    if len(components) == 1:
        return Planes("grey", (_plane(_as(frame, _grey_name(bits)), 0),), bits)
    luma, chroma = components[0], components[1]
    steps = (round(luma.width / chroma.width), round(luma.height / chroma.height))
    if luma.width < 8 or luma.height < 8:  # too small to tell by sizes
        steps = _steps_by_name(name, steps)
    if steps not in _STEPS:
        raise FilmError(f"has pixels of the kind {name}, which stylefarm does not read")
    is_plain = len({c.plane for c in components}) == len(components) and not name.endswith("be")
    if not is_plain:
        frame = _as(frame, yuv_name(steps, bits, has_alpha))
    alpha = _plane(frame, 3) if has_alpha else None
    return Planes("yuv", tuple(_plane(frame, i) for i in range(3)), bits, steps, alpha)


def yuv_name(steps: tuple[int, int], bits: int, has_alpha: bool = False) -> str:
    """Return FFmpeg's name of planes of Y', Cb and Cr.

    Args:
        steps: How many columns and rows of luma share a sample of chroma.
        bits: Of a value.
        has_alpha: Whether a plane of alpha follows.
    """
    return f"yuv{'a' if has_alpha else ''}{_STEPS[steps]}p{'' if bits == 8 else f'{bits}le'}"


def rgb_name(bits: int, has_alpha: bool = False) -> str:
    """Return FFmpeg's name of planes of G', B' and R'.

    Args:
        bits: Of a value.
        has_alpha: Whether a plane of alpha follows.
    """
    return f"gbr{'a' if has_alpha else ''}p{'' if bits == 8 else f'{bits}le'}"


def frame_of(planes: Planes, name: str) -> VideoFrame:
    """Return a frame to encode.

    Args:
        planes: Its values, in the steps and the depth of ``name``.
        name: FFmpeg's name of a layout in planes, ``bgr0``, or ``bgra``.
    """
    av = load_av()
    height, width = planes.shape
    frame: VideoFrame = av.VideoFrame(width, height, name)
    if name in ("bgr0", "bgra"):
        red, green, blue = planes.values
        last = np.zeros_like(red) if planes.alpha is None else planes.alpha
        packed = np.stack([blue, green, red, last], -1).reshape(height, width * 4)
        _fill(frame, 0, packed)
        return frame
    values = planes.values
    if planes.model == "rgb":
        red, green, blue = values
        values = (green, blue, red)
    for index, plane in enumerate(values if planes.alpha is None else (*values, planes.alpha)):
        _fill(frame, index, plane)
    return frame


def _rgb(frame: VideoFrame, bits: int) -> Planes:
    has_alpha = frame.format.components[-1].is_alpha
    if frame.format.name.removeprefix("gbrap").removeprefix("gbrp") not in (
        *("", "9le", "10le", "12le", "14le", "16le"),
    ):
        bits = 8 if bits <= 8 else 16
        frame = _as(frame, rgb_name(bits, has_alpha))
    green, blue, red = (_plane(frame, i) for i in range(3))
    return Planes("rgb", (red, green, blue), bits, alpha=_plane(frame, 3) if has_alpha else None)


def _as(frame: VideoFrame, name: str) -> VideoFrame:
    """Return the same values in another layout."""
    return frame if frame.format.name == name else frame.reformat(format=name)


def _grey_name(bits: int) -> str:
    return "gray" if bits == 8 else f"gray{bits}le"


def _steps_by_name(name: str, guess: tuple[int, int]) -> tuple[int, int]:
    for steps, digits in _STEPS.items():
        if digits in name:
            return steps
    return (2, 2) if name.startswith(("nv12", "nv21", "p01")) else guess


def _plane(frame: VideoFrame, index: int) -> Values:
    """Return a plane, (h, w), uint8 or uint16; a view of the frame's memory."""
    return _rows(frame, index)[:, : frame.planes[index].width]


def _packed(frame: VideoFrame, count: int) -> tuple[Values, ...]:
    """Return the values that lie side by side in the only plane, each (h, w); views."""
    rows = _rows(frame, 0)
    return tuple(rows[:, i : frame.width * count : count] for i in range(count))


def _rows(frame: VideoFrame, index: int) -> Values:
    """Return a plane with all that its rows hold, uint8 or uint16; a view of the frame's memory."""
    plane: Any = frame.planes[index]
    kind = np.dtype(np.uint8 if frame.format.components[0].bits <= 8 else "<u2")
    rows: Values = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return rows[::-1] if plane.line_size < 0 else rows


def _fill(frame: VideoFrame, index: int, values: Values) -> None:
    plane: Any = frame.planes[index]
    rows = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
    rows[:, : values.shape[1]] = values
