"""How much memory a render takes, before it is begun. Imports torch only to look at a device."""

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
"""Python, torch, the network's weights, and what lies between the tensors: glibc's heap keeps holes of
100 to 200 MB (a process under MALLOC_MMAP_THRESHOLD_=262144 has none, and is a little slower)."""

MEMORY_SHARE = 0.9
"""The share of a device's memory that a render may be predicted to take. The painter falls back to strips
above it, ``plan`` flags a render above it, and the farm gives such a render to a larger card."""

BFLOAT16_WEIGHTS = 40 * 10**6
"""The network once more, in that precision."""


class _Held(NamedTuple):
    """Bytes at the fullest moment of a step, all pictures and their targets included."""

    at_once: int
    """For each pixel, without strips."""
    strip: int
    """For each pixel of one strip, halo included: its activations. Max pooling's gradient asks for 256
    of these and never touches them, which the CPU does not count but a GPU does."""
    deep: int
    """For each pixel in strips, while the deep layers are run and no strip is."""


HELD = {
    "max": _Held(1675, 1010, 415),
    "average": _Held(1315, 980, 470),
    "l2": _Held(1435, 1110, 500),
}
HELD_IN_BFLOAT16 = _Held(1400, 1230, 415)
"""Features are half as large, but those that are looked at are copied to float32."""

BYTES_BESIDE_STRIP = 230
"""For each pixel in strips, while one strip is run: the gradient at the pooled features, the content's
features, and 12 bytes for every picture there is: painted, good, best, two moments or L-BFGS's gradient
and step, ..."""

STYLE_HELD = _Held(695, 600, 160)
BYTES_BESIDE_STYLE_STRIP = 100
BYTES_BESIDE_STYLE = 60
"""The same while a style is looked at, for each of its pixels; the last for each of the picture's.
Nothing is kept for a gradient, so this counts where the style is much larger."""

BYTES_PER_REMEMBERED_PAIR = 24
"""L-BFGS keeps two float32 pictures of three channels for every pair in its history. All of them are
there from the first step on."""

BYTES_OF_AVERAGE = 12
"""For each pixel, where the iterates are averaged."""

BYTES_OF_REGION = 10
"""For each pixel and mask: the mask, and the guide at every block."""

BYTES_PER_GRAM_ENTRY = 18
BYTES_PER_COVARIANCE_ENTRY = 49
"""Of the statistics, N^2 entries at each style layer, their targets and gradients, for each region; those
of the Wasserstein loss are decomposed in double precision."""

BYTES_OF_CENTRED_STYLE = _Held(100, 0, 60)
"""More for each pixel of a style that is looked at for the Wasserstein loss, whose features are copied."""

BYTES_OF_CENTRED_BFLOAT16 = 400
"""The same for each pixel painted, where the copies are float32 and the features are not."""

DEEPEST = "conv5_1"
"""Up to which layer the constants above count."""


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
    """Peak memory of pictures of ``height`` x ``width`` px, in bytes, with or without the process.

    ``regions``: how many masks the styles of a picture have. What is not counted is the pictures as they
    were read, 12 bytes for each of their own pixels, and the targets of earlier renders
    (``targets.MOST_BYTES`` at most).

    The constants are those of tensors alive at once, which is exact; the process's is fitted to peak
    resident sizes on the CPU, at 512 and 1024 px.
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

    # One style after the other, before L-BFGS's memory is there.
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
    """What L-BFGS's memory takes, for one picture; 0 for Adam."""
    pairs = recipe.history if recipe.optimizer == "lbfgs" else 0
    return pairs * BYTES_PER_REMEMBERED_PAIR * _canvas(recipe, height, width)


def _canvas(recipe: Recipe, height: int, width: int) -> int:
    return (height + 2 * recipe.margin) * (width + 2 * recipe.margin)


def _unused_bytes(recipe: Recipe) -> int:
    """Bytes a pixel of the layers up to ``DEEPEST`` that a recipe has no use for."""
    deepest = max(LAYERS.index(name) for name in (*recipe.content_layers, *recipe.style_layers))
    unused = LAYERS[deepest + 1 : LAYERS.index(DEEPEST) + 1]
    return sum(4 * channels_of(name) // 4 ** (block_of(name) - 1) for name in unused)


def _strip(recipe: Recipe, height: int, width: int) -> int:
    """The pixels of the largest strip with its halo."""
    rows, columns = height + 2 * recipe.margin, width + 2 * recipe.margin
    return max(strip.below - strip.above for strip in cut(rows, columns, STRIP_PIXELS)) * columns


def _style(recipe: Recipe, height: int, width: int) -> int:
    """The pixels of a style as it is analysed, if it is square: no other has more."""
    if recipe.style_fit == "squash":
        return _canvas(recipe, height, width)
    return round((max(height, width) + 2 * recipe.margin) * recipe.style_scale) ** 2


def available_bytes(device: torch.device) -> int | None:
    """What is free on a device now; None where that cannot be asked."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free
    if device.type == "cpu":
        import psutil

        return int(min(psutil.virtual_memory().available, _container_headroom()))
    return None


def _container_headroom() -> float:
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
