"""The motion between two frames, found by the network RAFT."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stylize.errors import WeightsError
from stylize.film.flow import Flow, Frame
from stylize.film.warp import Motion
from stylize.network.weights import from_hub, read_state_dict, verify

if TYPE_CHECKING:
    import torch

URL = "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth"
"""torchvision's ``Raft_Large_Weights.C_T_SKHT_V2``: trained on FlyingChairs, FlyingThings3D, Sintel, KITTI
and HD1K."""

SHA256_PREFIX = "ff5fadd5"
"""The beginning of that file's SHA-256, which its name has."""

LOOKED_AT = 640
"""The longest side at which motion is looked for, in pixels. One core takes 4 s for a flow at that, and 1 GB
of memory; all pairs of an eighth of the pixels are compared, so both grow fast with the side."""

UPDATES = 12
"""Times that the network improves its flow, as torchvision has it."""

STEP = 8
"""Sides are a multiple of this."""

LEAST = 128
"""Sides are at least this long, in pixels: what it looks up is shrunk eight times, and thrice again."""

_lock = threading.Lock()


def motion_between(one: Frame, other: Frame) -> Motion:
    """Return both flows between two frames.

    The method is that of Teed and Deng, *RAFT: Recurrent All-Pairs Field Transforms for Optical Flow*, ECCV
    2020, as torchvision has it, on the CPU.

    Raises:
        WeightsError: Its weights cannot be had.
    """
    return Motion(_flow(one, other), _flow(other, one))


def _flow(one: Frame, other: Frame) -> Flow:
    import torch

    height, width = one.shape[:2]
    top, left = ((_padded(side) - side) // 2 for side in (height, width))
    with torch.inference_mode():
        flows = network()(_input(one), _input(other), num_flow_updates=UPDATES)
    flow = flows[-1][0].permute(1, 2, 0).numpy()
    inner: Flow = np.ascontiguousarray(flow[top : top + height, left : left + width])
    return inner


def _padded(side: int) -> int:
    return max(LEAST, -(-side // STEP) * STEP)


def _input(frame: Frame) -> torch.Tensor:
    """Return a frame as the network takes it, (1, 3, H, W) from -1 to 1, its border repeated around it."""
    import torch

    around = []
    for side in frame.shape[:2]:
        more = _padded(side) - side
        around.append((more // 2, more - more // 2))
    padded = np.pad(frame, (*around, (0, 0)), mode="edge")
    return torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1


def weights_file() -> Path:
    """Return the file of the weights, downloaded once. Imports no torch where it is there.

    Raises:
        WeightsError: The weights cannot be downloaded, or the file is damaged or another.
    """
    instead = "or use flow: dis, which needs no download"
    path = from_hub(URL, SHA256_PREFIX, f"RAFT's weights from {URL}", instead)
    verify(path, SHA256_PREFIX)
    return path


def network() -> torch.nn.Module:
    """Return the network with its weights, loaded once in a process.

    Raises:
        WeightsError: The weights cannot be downloaded, or the file is damaged or another.
    """
    with _lock:  # two threads that need it at the same time load it once
        return _network()


@lru_cache(maxsize=1)
def _network() -> torch.nn.Module:
    from torchvision.models.optical_flow import raft_large

    path = weights_file()
    state = read_state_dict(path, SHA256_PREFIX)
    made: torch.nn.Module = raft_large(weights=None).eval()
    try:
        made.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path} has not the weights of RAFT; delete it") from error
    return made
