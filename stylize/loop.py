"""``stylize()``: one render, from pictures to picture, observable at every step.

Shape suffixes: B pictures rendered together, H height, W width, L style layers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stylize.averaging import IterateAverage
from stylize.colors import keep_chroma, match_colors
from stylize.errors import PictureError
from stylize.guard import SLOWER, Guard
from stylize.images import EXTENSIONS, BitDepth, Picture, encode, read, to_pil
from stylize.objective import Objective
from stylize.optimisers import Moments, make_optimiser, resized
from stylize.pyramid import add_margin, check_shape, cut_margin, resize, shape_at, style_shape
from stylize.recipe import Recipe
from stylize.recorder import Observer, Recorder, Step
from stylize.spaces import RGB, SPACES, convert
from stylize.start import first_pictures
from stylize.vgg import VGG19, load_vgg19
from stylize.weights import WeightSet, identify

PictureLike = Picture | Image.Image | Tensor | bytes | str | Path
Style = PictureLike | Sequence[tuple[PictureLike, float]]
"""One picture, or several with their shares."""


@dataclass(frozen=True)
class Result:
    """What ``stylize`` returns: finished pictures and their final losses, in order."""

    pictures: tuple[Picture, ...]
    losses: tuple[Step, ...]
    recipe: Recipe
    steps: int
    seconds: float
    device: str

    @property
    def picture(self) -> Picture:
        """The only picture of a render of one. Raises PictureError when there are several."""
        if len(self.pictures) != 1:
            raise PictureError(f"there are {len(self.pictures)} pictures; take one of .pictures")
        return self.pictures[0]

    def show(self) -> Image.Image:
        """The picture as a Pillow image, which a notebook displays."""
        return to_pil(self.picture)

    def save(self, path: str | Path, quality: int = 92, bit_depth: BitDepth = 8) -> None:
        """Write the picture; the extension (.png, .jpg, .webp, .tif) says the format.

        ``quality`` (1-100) is for jpeg and webp; ``bit_depth``, bits per channel, can be 16 for png
        and tiff. Raises PictureError.
        """
        suffix = Path(path).suffix.lower().lstrip(".")
        formats = {extension: name for name, extension in EXTENSIONS.items()}
        formats |= {"jpeg": "jpeg", "tiff": "tiff"}
        if suffix not in formats:
            raise PictureError(f"{path}: the name must end in {', '.join(sorted(formats))}")
        Path(path).write_bytes(encode(self.picture, formats[suffix], quality, bit_depth))


def stylize(
    content: PictureLike | Sequence[PictureLike],
    style: Style | Sequence[Style],
    recipe: Recipe | None = None,
    *,
    init: PictureLike | Sequence[PictureLike] | None = None,
    network: VGG19 | None = None,
    device: torch.device | str | None = None,
    observer: Observer | None = None,
    observe_seconds: float = 1.0,
    should_stop: Callable[[], bool] | None = None,
) -> Result:
    """Paint ``content`` in the style of ``style``.

    One picture, or with ``content`` a list (and ``style`` a list as long) several of one shape, which
    are optimised together, each as if it were alone.

    Args:
        content: path, bytes, Pillow image, or RGB tensor (3, H, W) in [0, 1].
        style: the same, or several ``(picture, share)`` that are blended.
        recipe: how; default ``Recipe()``.
        init: the pictures to start from, for a recipe whose init is "image".
        network: a loaded VGG19, to save loading it for every call; default: the recipe's weights.
        device: default: the first GPU, or Apple's, or the CPU.
        observer: gets the losses of every step. Reading them waits for the device, so they come in
            batches, about every ``observe_seconds``.
        should_stop: asked between steps; True raises InterruptedRender.

    Raises:
        PictureError, WeightsError, DivergedError, InterruptedRender.
    """
    began = time.perf_counter()
    recipe = recipe or Recipe()
    contents, styles, inits = _read_all(content, style, init, recipe)
    device = torch.device(device) if device is not None else default_device()
    network = network or _load_cached(identify(recipe), device)

    content_full_B3HW = torch.cat([picture.rgb for picture in contents]).to(device)
    styles_full = [[(picture.rgb.to(device), share) for picture, share in mix] for mix in styles]
    if recipe.colors == "content" and recipe.color_method == "histogram":
        styles_full = [
            [(match_colors(style, content), share) for style, share in mix]
            for mix, content in zip(styles_full, content_full_B3HW.unsqueeze(1), strict=True)
        ]
    height, width = content_full_B3HW.shape[2:]
    space = SPACES[recipe.space]
    recorder = Recorder(began, observer, observe_seconds, should_stop)

    x_B3HW: Tensor | None = None
    moments: Moments | None = None
    for size, steps in recipe.schedule():
        # The pictures at this size.
        shape = shape_at(height, width, size)
        content_B3HW = resize(content_full_B3HW, *shape).clamp(0, 1)
        if x_B3HW is None:
            x_B3HW = convert(
                first_pictures(recipe, content_B3HW, inits, styles_full, network.space), RGB, space
            )
        else:
            x_B3HW = resize(x_B3HW, *shape)

        # Painted on a canvas with a margin, which is cut off again.
        canvas_B3HW = add_margin(content_B3HW, recipe.margin)
        canvas_shape = (canvas_B3HW.shape[2], canvas_B3HW.shape[3])
        mixes = [
            [(_fit(s, canvas_shape, recipe), share) for s, share in mix] for mix in styles_full
        ]
        objective = Objective(network, recipe, canvas_B3HW, mixes)
        moments = resized(moments, partial(resize, height=canvas_shape[0], width=canvas_shape[1]))
        x_B3HW = add_margin(x_B3HW, recipe.margin)
        x_B3HW, moments = _optimise(x_B3HW, objective, size, steps, recorder, moments)
        x_B3HW = cut_margin(x_B3HW, *shape)
    assert x_B3HW is not None  # a schedule is never empty

    finished_B3HW = space.to_rgb(x_B3HW).clamp(0, 1)
    if recipe.colors == "content" and recipe.color_method == "luminance":
        finished_B3HW = keep_chroma(finished_B3HW, content_B3HW)
    finished_B3HW = finished_B3HW.cpu()
    pictures = tuple(
        Picture(rgb, _alpha_at(picture, shape))
        for rgb, picture in zip(finished_B3HW.unsqueeze(1), contents, strict=True)
    )
    return Result(
        pictures=pictures,
        losses=tuple(recorder.last),
        recipe=recipe,
        steps=recipe.total_steps,
        seconds=time.perf_counter() - began,
        device=str(device),
    )


def default_device() -> torch.device:
    """The first CUDA device, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _optimise(
    x: Tensor,
    objective: Objective,
    size: int,
    steps: int,
    recorder: Recorder,
    start: Moments | None,
) -> tuple[Tensor, Moments | None]:
    """``steps`` steps at one size, from ``x`` (B, 3, H, W) in the recipe's space.

    Returns the pictures and what the optimiser of the next size can start with.
    """
    recipe = objective.recipe
    x_B3HW = x.detach().clone().requires_grad_(True)
    lowest, highest = objective.space.limits(x_B3HW)
    optimiser = make_optimiser(recipe, x_B3HW, start)
    guard = Guard(x_B3HW)
    average = IterateAverage(recipe.average) if recipe.average is not None else None

    for _ in range(steps):
        # Where the loss is, and which way is down.
        losses = objective(x_B3HW)
        (gradient,) = torch.autograd.grad(losses.total_B.sum(), x_B3HW)
        recorder.tick(size, losses, guard.restarts_B)
        # A step that blew up is undone.
        bad_B, gradient = guard.check(x_B3HW, losses.total_B, gradient)
        optimiser.restart(bad_B, SLOWER)
        # One step that way.
        optimiser.step(gradient)
        if recipe.clamp:
            with torch.no_grad():
                x_B3HW.clamp_(lowest, highest)
        if average is not None:
            average.add(x_B3HW)

    # The picture after the last step has a loss too: it is the one that is recorded.
    with torch.no_grad():
        if average is not None:
            x_B3HW.copy_(average.mean())
        losses = objective(x_B3HW)
        if guard.finish(x_B3HW, losses.total_B).any():
            losses = objective(x_B3HW)
        recorder.finish(size, losses, guard.restarts_B)
    return x_B3HW.detach(), optimiser.moments() if recipe.carry_moments else None


def _fit(style_13HW: Tensor, canvas_shape: tuple[int, int], recipe: Recipe) -> Tensor:
    height, width = style_13HW.shape[2:]
    return resize(style_13HW, *style_shape(height, width, canvas_shape, recipe)).clamp(0, 1)


def _alpha_at(content: Picture, shape: tuple[int, int]) -> Tensor | None:
    return None if content.alpha is None else resize(content.alpha, *shape).clamp(0, 1)


def _read_all(
    content: PictureLike | Sequence[PictureLike],
    style: Style | Sequence[Style],
    init: PictureLike | Sequence[PictureLike] | None,
    recipe: Recipe,
) -> tuple[list[Picture], list[list[tuple[Picture, float]]], list[Picture]]:
    together = isinstance(content, list | tuple)
    contents = [read(picture) for picture in _listed(content, together)]
    styles = [_read_mix(mix) for mix in _listed(style, together)]
    starts = [] if init is None else [read(picture) for picture in _listed(init, together)]
    if not contents:
        raise PictureError("there is no content picture")
    if len(styles) != len(contents):
        raise PictureError(f"there are {len(contents)} contents but {len(styles)} styles")
    if len({tuple(picture.rgb.shape) for picture in contents}) > 1:
        raise PictureError("contents rendered together must have one shape")
    if (recipe.init == "image") != bool(starts) or (starts and len(starts) != len(contents)):
        raise PictureError(
            "a picture to start from goes with init image, and one with every content"
        )
    height, width = contents[0].rgb.shape[2:]
    check_shape(height, width, recipe)
    return contents, styles, starts


def _listed(value: Any, together: bool) -> list[Any]:
    if not together:
        return [value]
    if not isinstance(value, list | tuple):
        raise PictureError("with a list of contents, styles (and inits) are lists as long")
    return list(value)


def _read_mix(style: Any) -> list[tuple[Picture, float]]:
    if isinstance(style, list | tuple):
        if not all(isinstance(part, tuple | list) and len(part) == 2 for part in style):
            raise PictureError("a blend of styles is a list of (picture, share)")
        mix = [(read(picture), float(share)) for picture, share in style]
        shares = [share for _, share in mix]
        if not mix or not all(0 <= share < math.inf for share in shares) or sum(shares) <= 0:
            raise PictureError("the shares of blended styles must be finite, from 0, not all 0")
        return mix
    return [(read(style), 1.0)]


@lru_cache(maxsize=2)
def _load_cached(weights: WeightSet, device: torch.device) -> VGG19:
    return load_vgg19(weights, device)
