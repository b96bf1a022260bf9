"""``read_flow``: the motion between two frames from a file that another program has written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stylize.errors import PictureError
from stylize.film.cv import opencv
from stylize.film.flow import Flow, Frame
from stylize.film.sources.vectors import read_vectors

Direction = Literal["forward", "backward"]
"""Whether a file has the motion to the next frame or to the one before."""

MOST_PIXELS = 64_000_000
"""Pixels of a file of motion: twice what a frame of 8K has."""

CLOSE = 0.01
"""The proportions of motion and frames may differ by as much: sizes are rounded."""

UNKNOWN = 1e9
"""In Middlebury's format, a motion of more pixels than this is not known."""


def read_flow(data: bytes, name: str, direction: Direction) -> Flow:
    """Return the motion that a file has: columns to the right, rows down, in pixels of the file.

    Args:
        data: A file of ``FORMATS``.
        name: What the file is, for errors; its ending says its format.
        direction: Which of its motions is meant, where it has both.

    Returns:
        (H, W, 2); not a number where the file says that the motion is not known.

    Raises:
        PictureError: The file is none of these, is damaged or has too many pixels.
    """
    read = FORMATS.get(name[name.rfind(".") :].lower())
    if read is None:
        raise PictureError(f"{name} is no motion that is read, as .flo, .png and .exr are")
    try:
        flow = read(data, direction)
    except PictureError as error:
        raise PictureError(f"{name} {error}") from None
    except (RuntimeError, ValueError) as error:  # as OpenEXR says it
        raise PictureError(f"{name} is damaged ({error})") from error
    flow[~np.isfinite(flow).all(-1)] = np.nan
    return flow


def given_motions(
    frame: Frame, files: Iterable[tuple[tuple[str, bytes], tuple[str, bytes]]]
) -> Iterator[tuple[Flow, Flow]]:
    """Yield both flows between each two neighbours, from files.

    Args:
        frame: One of the frames, for its proportions.
        files: (name, file) of the motion from each frame to the next one, and of that back.

    Raises:
        PictureError: A file cannot be used, or has other proportions than the frame.
    """
    for forward, backward in files:
        yield (
            _of_shape(read_flow(forward[1], forward[0], "forward"), forward[0], frame),
            _of_shape(read_flow(backward[1], backward[0], "backward"), backward[0], frame),
        )


def _of_shape(flow: Flow, name: str, frame: Frame) -> Flow:
    (h, w), (height, width) = flow.shape[:2], frame.shape[:2]
    if abs(w - h * width / height) > 1 + CLOSE * w:
        raise PictureError(
            f"{name} has the motion of frames of {w} x {h} px, which have other proportions than {width} x "
            f"{height} px"
        )
    return flow


def _read_middlebury(data: bytes, direction: Direction) -> Flow:
    """Return the motion of a .flo file (Baker et al., *A Database and Evaluation Methodology for Optical
    Flow*, IJCV 2011): PIEH, width, height, then u and v of each pixel as little-endian float32.

    OpenCV has a reader, which takes the name of a file, and not its bytes.
    """
    if data[:4] != b"PIEH" or len(data) < 12:
        raise PictureError("is no Middlebury motion: it does not begin with PIEH")
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if not (0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS // width):
        raise PictureError(f"says that it has {width} x {height} px")
    if len(data) != 12 + 8 * width * height:
        raise PictureError(
            f"is damaged: {width} x {height} px take {12 + 8 * width * height:,} bytes, and it has "
            f"{len(data):,}"
        )
    flow: Flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    flow[np.abs(flow).max(-1) > UNKNOWN] = np.nan
    return flow


def _read_kitti(data: bytes, direction: Direction) -> Flow:
    """Return the motion of a 16-bit PNG as KITTI has it (Geiger, Lenz, Urtasun, *Are we ready for Autonomous
    Driving?*, CVPR 2012): red and green are u and v times 64 plus 2^15, blue is 0 where they are unknown."""
    cv = opencv()
    try:
        picture: NDArray[Any] | None = cv.imdecode(
            np.frombuffer(data, np.uint8), cv.IMREAD_UNCHANGED
        )
    except cv.error:
        picture = None
    if picture is None:
        raise PictureError("is damaged, or no PNG")
    if picture.dtype != np.uint16 or picture.ndim != 3 or picture.shape[2] != 3:
        channels = 1 if picture.ndim == 2 else picture.shape[2]
        raise PictureError(
            f"has {channels} channel{'s' * (channels > 1)} of {8 * picture.itemsize} bits: motion as KITTI "
            "has it is a PNG with 3 of 16"
        )
    # OpenCV has blue first.
    flow: Flow = (picture[..., :0:-1].astype(np.float32) - np.float32(2**15)) / np.float32(64)
    flow[picture[..., 0] == 0] = np.nan
    return flow


def _read_exr(data: bytes, direction: Direction) -> Flow:
    return read_vectors(data, direction, MOST_PIXELS)


FORMATS: dict[str, Callable[[bytes, Direction], Flow]] = {
    ".flo": _read_middlebury,
    ".png": _read_kitti,
    ".exr": _read_exr,
}
"""How files are read, by their ending."""
