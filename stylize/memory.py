"""How much memory a render takes, before it is begun. Imports torch only to look at a device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.recipe import Recipe
from stylize.strips import STRIP_PIXELS

if TYPE_CHECKING:
    import torch

PROCESS_BYTES = 792 * 2**20
"""Python, torch and the network's weights."""

BYTES_PER_PIXEL = 1660
"""Activations and gradients up to conv5_1 in float32, targets, and the pictures themselves."""

BYTES_PER_PIXEL_IN_STRIPS = 350
"""The same where the two shallow blocks are run in strips, whose own memory is another matter."""

BYTES_PER_STRIP_PIXEL = 1030

BYTES_PER_REMEMBERED_PAIR = 24
"""L-BFGS keeps two float32 pictures of three channels for every pair in its history."""


def predict_bytes(
    recipe: Recipe,
    height: int,
    width: int,
    *,
    pictures: int = 1,
    strips: bool = False,
    process: bool = True,
) -> int:
    """Peak memory of pictures of ``height`` x ``width`` px, in bytes, with or without the process.

    The constants are fitted to peak resident sizes on the CPU at 256 to 2048 px, where they are within
    a tenth of what was measured.
    """
    canvas = _canvas(recipe, height, width)
    needed = canvas * (BYTES_PER_PIXEL_IN_STRIPS if strips else BYTES_PER_PIXEL)
    if strips:
        needed += min(canvas, STRIP_PIXELS) * BYTES_PER_STRIP_PIXEL
    if recipe.optimizer == "adam":
        needed += canvas * BYTES_PER_REMEMBERED_PAIR  # its two moments
    needed += history_bytes(recipe, height, width)
    return pictures * needed + (PROCESS_BYTES if process else 0)


def history_bytes(recipe: Recipe, height: int, width: int) -> int:
    """What L-BFGS's memory takes, for one picture; 0 for Adam."""
    pairs = recipe.history if recipe.optimizer == "lbfgs" else 0
    return pairs * BYTES_PER_REMEMBERED_PAIR * _canvas(recipe, height, width)


def _canvas(recipe: Recipe, height: int, width: int) -> int:
    return (height + 2 * recipe.margin) * (width + 2 * recipe.margin)


def available_bytes(device: torch.device) -> int | None:
    """What is free on a device now; None where that cannot be asked."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free
    if device.type == "cpu":
        import psutil

        return int(min(psutil.virtual_memory().available, _left_to_container()))
    return None


def _left_to_container() -> float:
    """What a container's limit leaves, which the machine's own figures do not know of."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        return limit - int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or no limit ("max")
        return math.inf


def gigabytes(count: float) -> str:
    """1,500,000,000 -> "1.5 GB"."""
    return f"{count / 1e9:.1f} GB"
