"""The motion between the frames of a film, as a file: found once, used by all who paint them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from stylize.errors import PictureError, SizesDifferError
from stylize.film.cv import opencv
from stylize.film.flow import Flow, Frame, resized, shrunk
from stylize.film.motions import motion_between
from stylize.film.warp import Motion

LOOKED_AT = 1024
"""The longest side at which motion is looked for, in pixels, whatever the size of the paintings: one file
serves proofs and pictures."""

STEPS = 64
"""Steps of a pixel in which flows are kept: the error of what finds them is ten times as large."""

SHRUNK = 2
"""Flows of OpenCV are kept at half of the size at which they are found: what finds them works at that."""

MOST = np.iinfo(np.int16).max


def find_motions(frames: Iterable[Frame], way: Literal["dis", "raft"] = "dis") -> bytes:
    """Return the motion between each two neighbours of several frames, as a file.

    Args:
        frames: Two or more frames in order, of one shape; two of them are held at a time.
        way: How it is found: by OpenCV, or by the network RAFT.

    Raises:
        SizesDifferError: Frames have several shapes.
        WeightsError: The weights of RAFT cannot be had.
    """
    find, longest, by = motion_between, LOOKED_AT, SHRUNK
    if way == "raft":
        from stylize.film.sources import raft

        find, longest, by = raft.motion_between, raft.LOOKED_AT, 1
    kept: list[list[NDArray[np.int16]]] = []
    shape: tuple[int, ...] = (0, 0)
    for one, other in pairwise(shrunk(frame, longest) for frame in frames):
        if one.shape != other.shape:
            raise SizesDifferError(
                len(kept) + 1,
                f"is {other.shape[1]} x {other.shape[0]} px, and the one before {one.shape[1]} x "
                f"{one.shape[0]} px: a film has frames of one size, or a cut between them",
            )
        shape = one.shape
        kept.append([_packed(flow, by) for flow in find(one, other)])
    return _file(kept, shape)


def pack_motions(frame: Frame, motions: Iterable[tuple[Flow, Flow]]) -> bytes:
    """Return motions that are known as a file, like that of ``find_motions``.

    They are kept at the size at which motion is looked for, since known motion has edges.

    Args:
        frame: One of the frames.
        motions: Both flows between each two neighbours, at any size; not a number where they are not known,
            which is trusted nowhere.
    """
    height, width = shrunk(frame, LOOKED_AT).shape[:2]
    kept = [
        [_packed(_known(_fitted(flow, height, width)), 1) for flow in motion] for motion in motions
    ]
    return _file(kept, (height, width))


def _file(kept: list[list[NDArray[np.int16]]], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, flows=np.array(kept), shape=np.array(shape[:2]))
    return file.getvalue()


def _fitted(flow: Flow, height: int, width: int) -> Flow:
    h, w = flow.shape[:2]
    if height >= h or width >= w:
        return resized(flow, height, width)
    small: Flow = opencv().resize(flow, (width, height), interpolation=opencv().INTER_AREA)
    return small * np.array([width / w, height / h], np.float32)


def _known(flow: Flow) -> Flow:
    """Return a flow that leads out of the frame, which nobody trusts, where it is not known."""
    unknown = np.isnan(flow[..., 0]) | np.isnan(flow[..., 1])
    if not unknown.any():
        return flow
    columns = np.arange(flow.shape[1])
    out = np.where(columns < flow.shape[1] / 2, -MOST, MOST).astype(np.float32) / STEPS
    away: Flow = np.stack(np.broadcast_arrays(out, np.float32(0)), -1)
    return np.where(unknown[..., None], away[None], flow)


def read_motions(data: bytes) -> Sequence[Motion]:
    """Return the motions that a file has.

    Args:
        data: What ``find_motions`` returned.

    Returns:
        The motions, each made whole when it is asked for: it is four times as large as it is kept.

    Raises:
        PictureError: The file is damaged.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            flows, (height, width) = file["flows"], file["shape"]
        if flows.ndim != 5 or flows.shape[1::3] != (2, 2):
            raise ValueError(f"its flows are {flows.shape}")
        return _Motions(flows, int(height), int(width))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise PictureError(f"the file of a film's motion is damaged ({error})") from error


class _Motions(Sequence[Motion]):
    """Motions as they are kept, N x 2 flows."""

    def __init__(self, flows: NDArray[np.int16], height: int, width: int) -> None:
        self._flows = flows
        self._shape = height, width

    def __len__(self) -> int:
        return len(self._flows)

    @overload
    def __getitem__(self, k: int) -> Motion: ...

    @overload
    def __getitem__(self, k: slice) -> Sequence[Motion]: ...

    def __getitem__(self, k: int | slice) -> Motion | Sequence[Motion]:
        if isinstance(k, slice):
            return _Motions(self._flows[k], *self._shape)
        return Motion(*(_unpacked(flow, *self._shape) for flow in self._flows[k]))


def _packed(flow: Flow, by: int) -> NDArray[np.int16]:
    height, width = (max(1, side // by) for side in flow.shape[:2])
    small = flow
    if by > 1:
        small = opencv().resize(flow, (width, height), interpolation=opencv().INTER_AREA)
    packed: NDArray[np.int16] = np.clip(np.rint(small * STEPS), -MOST, MOST).astype(np.int16)
    return packed


def _unpacked(packed: NDArray[np.int16], height: int, width: int) -> Flow:
    small = packed.astype(np.float32) / STEPS
    # Pixels of the whole size, though there are fewer of them.
    flow: Flow = opencv().resize(small, (width, height), interpolation=opencv().INTER_LINEAR)
    return flow
