"""Predict the memory of a render before it begins. Only the inspection of a device imports torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stylize.layer_names import LAYERS, block_of, channels_of
from stylize.network.strips import STRIP_PIXELS, cut
from stylize.recipe import Recipe

if TYPE_CHECKING:
    import torch

PROCESS_BYTES = 840 * 10**6
"""The bytes of Python, torch, the network's weights, and the gaps between tensors. glibc's heap keeps
holes of 100 to 200 MB (a process with MALLOC_MMAP_THRESHOLD_=262144 has none and is a little slower)."""

MEMORY_SHARE = 0.9
"""The share of a device's memory that a render may be predicted to take. The painter falls back to strips
above it, ``plan`` flags a render above it, and the farm gives such a render to a larger card."""

BFLOAT16_WEIGHTS = 40 * 10**6
"""The bytes of the network's second copy, in bfloat16."""


class _Held(NamedTuple):
    """Bytes per pixel at the peak of a step, including every picture in memory and the targets."""

    at_once: int
    """Bytes per pixel without strips."""
    strip: int
    """Bytes per pixel of one strip, halo included, for its activations. Max pooling's gradient allocates
    256 of these and never touches them: the CPU does not count them, but a GPU does."""
    deep: int
    """Bytes per pixel with strips, while the deep layers run and no strip does."""


HELD = {
    "max": _Held(1675, 1010, 415),
    "average": _Held(1315, 980, 470),
    "l2": _Held(1435, 1110, 500),
}
"""The bytes per painted pixel in float32, by pooling."""
HELD_IN_BFLOAT16 = _Held(1400, 1230, 415)
"""The bytes per painted pixel in bfloat16. Features are half as large, but measured features are copied
to float32."""

BYTES_BESIDE_STRIP = 230
"""Bytes per painted pixel beside the strip that runs: the gradient at the pooled features, the content's
features, and 12 bytes for every picture in memory (painted, good, best, two moments or L-BFGS's gradient
and step, ...)."""

STYLE_HELD = _Held(695, 600, 160)
"""The bytes per pixel of a style while it is analysed. Nothing is kept for a gradient, so a style matters
only where it is much larger than the picture."""
BYTES_BESIDE_STYLE_STRIP = 100
"""Bytes per pixel of a style beside the strip that runs, while the style is analysed."""
BYTES_BESIDE_STYLE = 60
"""Bytes per painted pixel while a style is analysed."""

BYTES_PER_REMEMBERED_PAIR = 24
"""Bytes per painted pixel and pair of L-BFGS's history: two float32 pictures of three channels. All pairs
are allocated from the first step on."""

BYTES_OF_AVERAGE = 12
"""Bytes per painted pixel where the iterates are averaged."""

BYTES_OF_REGION = 10
"""Bytes per painted pixel and mask: the mask, and the guide at every block."""

BYTES_PER_GRAM_ENTRY = 18
"""Bytes per region and entry (N^2 per style layer) of Gram matrices, their targets and gradients."""
BYTES_PER_COVARIANCE_ENTRY = 49
"""Bytes per region and entry (N^2 per style layer) of covariances, their targets and gradients. The
Wasserstein loss decomposes them in double precision."""

BYTES_OF_CENTRED_STYLE = _Held(100, 0, 60)
"""The additional bytes per pixel of a style analysed for the Wasserstein loss, which copies features."""

BYTES_OF_CENTRED_BFLOAT16 = 400
"""Additional bytes per painted pixel for the Wasserstein loss in bfloat16, whose copies are float32."""

DEEPEST = "conv5_1"
"""The deepest layer that the constants above include."""


def predict_bytes(
    recipe: Recipe,
    height: int,
    width: int,
    *,
    pictures: int = 1,
    strips: bool = False,
    process: bool = True,
    regions: int = 0,
) -> int:
    """Return the predicted peak memory of a render, in bytes.

    The prediction leaves out the pictures as they were read, 12 bytes per pixel of their own sizes, and
    the targets of earlier renders (at most ``target_cache.MOST_BYTES``).

    The constants per pixel count the tensors alive at once, which is exact. The constant of the process
    is fitted to peak resident sizes on the CPU, at 512 and 1024 px.

    Args:
        recipe: The knobs of the render.
        height: Height of the finished pictures, in pixels, without margin.
        width: Width of the finished pictures, in pixels, without margin.
        pictures: The number of pictures rendered together.
        strips: Whether the shallow blocks run in strips.
        process: Whether to include the process itself, ``PROCESS_BYTES``.
        regions: The number of masks that the styles of one picture have; 0: no masks.
    """
    canvas = _canvas(recipe, height, width)
    held = HELD_IN_BFLOAT16 if recipe.precision == "bfloat16" else HELD[recipe.pooling]
    strip = _strip(recipe, height, width) if strips else 0
    gaussian = recipe.style_loss == "wasserstein"
    copied = BYTES_OF_CENTRED_BFLOAT16 if gaussian and recipe.precision == "bfloat16" else 0
    if strips:
        of_strip = (held.strip + copied) * strip
        each = max(held.deep * canvas, BYTES_BESIDE_STRIP * canvas + of_strip)
    else:
        each = (held.at_once + copied - _unused_bytes(recipe)) * canvas
    if recipe.average is not None:
        each += BYTES_OF_AVERAGE * canvas
    each += regions * BYTES_OF_REGION * canvas
    entry = BYTES_PER_COVARIANCE_ENTRY if gaussian else BYTES_PER_GRAM_ENTRY
    each += max(1, regions) * entry * sum(channels_of(name) ** 2 for name in recipe.style_layers)
    history = history_bytes(recipe, height, width)
    painting = pictures * (each + history)

    # Styles are analysed one after the other, before L-BFGS allocates its memory.
    style = _style(recipe, height, width)
    more = BYTES_OF_CENTRED_STYLE if gaussian else _Held(0, 0, 0)
    if strips:
        of_strip = STYLE_HELD.strip * strip
        analysing = max(
            (STYLE_HELD.deep + more.deep) * style, BYTES_BESIDE_STYLE_STRIP * style + of_strip
        )
    else:
        analysing = (STYLE_HELD.at_once + more.at_once) * style
    analysing += pictures * BYTES_BESIDE_STYLE * canvas

    needed = max(painting, analysing)
    if process:
        needed += PROCESS_BYTES
    if recipe.precision == "bfloat16":
        needed += BFLOAT16_WEIGHTS
    return needed


def history_bytes(recipe: Recipe, height: int, width: int) -> int:
    """Return the bytes of L-BFGS's remembered pairs for one picture; 0 for Adam.

    Args:
        recipe: The knobs of the render.
        height: Height of the finished picture, in pixels, without margin.
        width: Width of the finished picture, in pixels, without margin.
    """
    pairs = recipe.history if recipe.optimizer == "lbfgs" else 0
    return pairs * BYTES_PER_REMEMBERED_PAIR * _canvas(recipe, height, width)


def _canvas(recipe: Recipe, height: int, width: int) -> int:
    return (height + 2 * recipe.margin) * (width + 2 * recipe.margin)


def _unused_bytes(recipe: Recipe) -> int:
    """Return the bytes per pixel of the layers up to ``DEEPEST`` that a recipe does not use."""
    deepest = max(LAYERS.index(name) for name in (*recipe.content_layers, *recipe.style_layers))
    unused = LAYERS[deepest + 1 : LAYERS.index(DEEPEST) + 1]
    return sum(4 * channels_of(name) // 4 ** (block_of(name) - 1) for name in unused)


def _strip(recipe: Recipe, height: int, width: int) -> int:
    """Return the number of pixels of the largest strip with its halo."""
    rows, columns = height + 2 * recipe.margin, width + 2 * recipe.margin
    return max(strip.below - strip.above for strip in cut(rows, columns, STRIP_PIXELS)) * columns


def _style(recipe: Recipe, height: int, width: int) -> int:
    """Return the number of pixels of a square style as it is analysed; no other shape has more."""
    if recipe.style_fit == "squash":
        return _canvas(recipe, height, width)
    return round((max(height, width) + 2 * recipe.margin) * recipe.style_scale) ** 2


def available_bytes(device: torch.device) -> int | None:
    """Return the bytes free on a device now.

    Args:
        device: A CUDA device, or the CPU, where a container's limit counts too.

    Returns:
        The free bytes; None for devices that do not report them, such as Apple's GPUs.
    """
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free
    if device.type == "cpu":
        import psutil

        return int(min(psutil.virtual_memory().available, _container_headroom()))
    return None


def _container_headroom() -> float:
    """Return the bytes below a container's limit, which the machine's own figures do not include."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        return limit - int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or no limit ("max")
        return math.inf


def gigabytes(count: float) -> str:
    """Return a number of bytes as text: 1,500,000,000 -> "1.5 GB"."""
    return f"{count / 1e9:.1f} GB"
