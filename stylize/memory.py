"""Predict the memory of a render before it begins. Only the inspection of a device imports torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.activations import footprint
from stylize.bands.deal import deal
from stylize.layer_names import LAYERS, block_of, channels_of
from stylize.network.strips import STRIP_PIXELS, cut, stages
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
WINOGRAD_WEIGHTS = 150 * 10**6
"""The bytes of the kernels that the CPU convolves with in float32."""

PICTURE = 12
"""Bytes per pixel of a picture in float32."""
PICTURES_HELD = 4
"""The pictures held at every moment: painted, and the guard's best, last good, and its gradient."""
PICTURES_OF_OPTIMISER = 2
"""The pictures that an optimiser holds: two moments, or L-BFGS's last gradient and step."""
PICTURES_OF_STEP = {"adam": 4, "lbfgs": 6}
"""The further pictures at the peak of a step of the optimiser, its gradient included."""
BYTES_PER_REMEMBERED_PAIR = 24
"""Bytes per painted pixel and pair of L-BFGS's history: two float32 pictures of three channels; half in
bfloat16. All pairs are allocated from the first step on."""
BYTES_OF_REFERENCE = 16
"""Bytes per painted pixel of what a frame of a film holds to: its colours, and how firmly each is held."""
BYTES_OF_REGION = 10
"""Bytes per painted pixel and mask: the mask, and the guide at every block."""

ROWS_OF_HALO = 64
"""The rows of the picture that a band has for its neighbours' sake, as a mean over the blocks."""

BLOCK_BYTES = 4 * 10**6
"""The bytes of a block of positions while statistics are computed."""

BYTES_PER_GRAM_ENTRY = 18
"""Bytes per region and entry (N^2 per style layer) of Gram matrices, their targets and gradients."""
BYTES_PER_COVARIANCE_ENTRY = 40
"""Bytes per region and entry (N^2 per style layer) of covariances, their targets and gradients. The
Wasserstein loss decomposes them in double precision."""


def predict_bytes(
    recipe: Recipe,
    height: int,
    width: int,
    *,
    pictures: int = 1,
    strips: int = 0,
    process: bool = True,
    regions: int = 0,
    members: int = 1,
    held: bool = False,
) -> int:
    """Return the predicted peak memory of a render, in bytes; where it is split, that of one member.

    The prediction leaves out the pictures as they were read, 12 bytes per pixel of their own sizes, and
    the targets of earlier renders (at most ``target_cache.MOST_BYTES``). Where the precision is auto, it is
    that of the precision that needs more.

    What tensors take is counted; the constant of the process is fitted to peak resident sizes on the CPU, at
    512 and 1024 px.

    Args:
        recipe: The knobs of the render.
        height: Height of the finished pictures, in pixels, without margin.
        width: Width of the finished pictures, in pixels, without margin.
        pictures: The number of pictures rendered together.
        strips: The number of leading blocks of the network in strips, one of ``strips.LEVELS``.
        process: Whether to include the process itself, ``PROCESS_BYTES``.
        regions: The number of masks that the styles of one picture have; 0: no masks.
        members: The number of processes that share the rows of each picture.
        held: Whether the pictures are frames that hold to others.
    """
    if recipe.precision == "auto":
        return max(
            predict_bytes(
                recipe.model_copy(update={"precision": precision}),
                height,
                width,
                pictures=pictures,
                strips=strips,
                process=process,
                regions=regions,
                members=members,
                held=held,
            )
            for precision in ("float32", "bfloat16")
        )
    element = 2 if recipe.precision == "bfloat16" else 4
    rows, columns = height + 2 * recipe.margin, width + 2 * recipe.margin
    band = max(len(rows) for rows in deal(rows, members))
    canvas = band * columns
    kept = (PICTURES_HELD + PICTURES_OF_OPTIMISER + (recipe.average is not None)) * PICTURE * canvas
    kept += held * BYTES_OF_REFERENCE * canvas
    kept += round(history_bytes(recipe, height, width) * band / rows)
    kept += regions * BYTES_OF_REGION * canvas
    targets = sum(
        channels_of(name) / 4 ** (block_of(name) - 1) * element for name in recipe.content_layers
    )
    kept += round(targets * canvas)
    entry = (
        BYTES_PER_COVARIANCE_ENTRY if recipe.style_loss == "wasserstein" else BYTES_PER_GRAM_ENTRY
    )
    kept += max(1, regions) * entry * sum(channels_of(name) ** 2 for name in recipe.style_layers)
    step = PICTURES_OF_STEP[recipe.optimizer] * PICTURE * canvas
    seen = band if band == rows else min(rows, band + ROWS_OF_HALO)
    looking = _pass_bytes(recipe, seen, columns, strips, element, backward=True)
    painting = pictures * (kept + max(step, looking + PICTURE * canvas))

    # Styles are analysed one after the other, before L-BFGS allocates its memory.
    style_rows, style_columns = _style_shape(recipe, height, width)
    of_band = max(len(rows) for rows in deal(style_rows, members))
    of_style = _pass_bytes(recipe, of_band, style_columns, strips, element, backward=False)
    analysing: int = of_style + 2 * PICTURE * style_rows * style_columns
    analysing += pictures * (5 * PICTURE + round(targets)) * canvas

    needed: int = max(painting, analysing) + BLOCK_BYTES
    if process:
        needed += PROCESS_BYTES
        needed += BFLOAT16_WEIGHTS if element == 2 else WINOGRAD_WEIGHTS
    return needed


def _pass_bytes(
    recipe: Recipe, rows: int, columns: int, strips: int, element: int, *, backward: bool
) -> int:
    """Return the bytes at the peak of a pass, with the picture it begins with and that picture's gradient.

    Without a backward pass it is that of a style, of which the content layers are not computed.
    """
    layers = {*recipe.style_layers, *(recipe.content_layers if backward else ())}
    used = LAYERS[: max(map(LAYERS.index, layers)) + 1]
    in_strips, rest = stages(strips)
    held, peak = 0.0, 0.0
    given: float = PICTURE * rows * columns
    back: list[tuple[float, float]] = []
    for stage in [*in_strips, *([rest] if rest else [])]:
        names = [name for name in used if stage.first <= block_of(name) <= stage.last]
        if not names:
            break
        h, w = rows // stage.scale, columns // stage.scale
        found = list(cut(h, w, stage.pixels(STRIP_PIXELS), stage)) if stage != rest else []
        last = names[-1] == used[-1]
        bytes_of = footprint(
            names,
            layers,
            recipe.pooling,
            element,
            compact=strips > 0,
            pools_last=not last,
        )
        pooled = (
            0.0
            if last
            else channels_of(names[-1]) * element * (h // stage.ratio) * (w // stage.ratio)
        )
        if len(found) > 1:
            at_once = max(strip.below - strip.above for strip in found) * w
            peak = max(peak, held + given + pooled + bytes_of.forward * at_once)
            held += given
            back.append((given, bytes_of.both * at_once + given + 2 * pooled))
        else:
            both = bytes_of.both if backward else bytes_of.forward
            peak = max(peak, held + given + both * h * w)
            kept = bytes_of.kept * h * w if backward else 0.0
            held += kept
            back.append((kept, both * h * w + given + pooled))
        given = pooled
    if backward:
        for kept, work in reversed(back):
            held -= kept
            peak = max(peak, held + work)
    return round(peak)


def history_bytes(recipe: Recipe, height: int, width: int) -> int:
    """Return the bytes of L-BFGS's remembered pairs for one picture; 0 for Adam.

    Args:
        recipe: The knobs of the render.
        height: Height of the finished picture, in pixels, without margin.
        width: Width of the finished picture, in pixels, without margin.
    """
    if recipe.optimizer != "lbfgs":
        return 0
    each = BYTES_PER_REMEMBERED_PAIR // (2 if recipe.remembers_in_bfloat16 else 1)
    canvas = _canvas(recipe, height, width)
    return recipe.remembered_pairs(canvas) * each * canvas


def _canvas(recipe: Recipe, height: int, width: int) -> int:
    return (height + 2 * recipe.margin) * (width + 2 * recipe.margin)


def _style_shape(recipe: Recipe, height: int, width: int) -> tuple[int, int]:
    """Return height and width of a square style as it is analysed; no other shape has more pixels."""
    if recipe.style_fit == "squash":
        return height + 2 * recipe.margin, width + 2 * recipe.margin
    side = round((max(height, width) + 2 * recipe.margin) * recipe.style_scale)
    return side, side


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
