"""The public entry point ``stylize()``: a render that can be observed, interrupted and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image

from stylize.errors import CheckpointError, PictureError
from stylize.network.vgg19 import VGG19, load_vgg19
from stylize.network.weights import WeightSet, identify
from stylize.pictures.codec import EXTENSIONS, BitDepth, encode, to_pil
from stylize.pictures.inputs import PictureLike, StyleLike, read_inputs
from stylize.pictures.picture import Picture
from stylize.recipe import Recipe
from stylize.render.checkpoint import Checkpoint, fingerprint
from stylize.render.out_of_memory import MemoryLadder
from stylize.render.recorder import Observer, Recorder, Step
from stylize.render.setup import RenderSetup


@dataclass(frozen=True)
class Result:
    """The finished pictures of a render and their final losses, in the order of the contents."""

    pictures: tuple[Picture, ...]
    """The finished pictures, each (1, 3, H, W), RGB in [0, 1], on the CPU."""
    losses: tuple[Step, ...]
    """The loss of each picture after the last step."""
    recipe: Recipe
    """The recipe that was rendered."""
    steps: int
    """The number of optimiser steps over all sizes, including those before a checkpoint."""
    seconds: float
    """Elapsed time of this call, in seconds."""
    device: str
    """The torch device that rendered, such as ``cuda`` or ``cpu``."""
    concessions: tuple[str, ...] = ()
    """Measures taken to fit the render into memory, as sentences; usually empty."""

    @property
    def picture(self) -> Picture:
        """The only picture of a render of one picture.

        Raises:
            PictureError: The render has several pictures.
        """
        if len(self.pictures) != 1:
            raise PictureError(f"there are {len(self.pictures)} pictures; take one of .pictures")
        return self.pictures[0]

    def show(self) -> Image.Image:
        """Return the only picture as a Pillow image, which a notebook displays."""
        return to_pil(self.picture)

    def save(self, path: str | Path, quality: int = 92, bit_depth: BitDepth = 8) -> None:
        """Write the only picture to a file.

        Args:
            path: Its extension selects the format: .png, .jpg, .jpeg, .webp, .tif, .tiff, .avif or .jxl.
            quality: 1 to 100, for jpeg, webp, avif and jxl.
            bit_depth: Bits per channel: 8, or 16 for png and tiff.

        Raises:
            PictureError: The extension or the bit depth is not supported, or the render has several
                pictures.
        """
        suffix = Path(path).suffix.lower().lstrip(".")
        formats = {extension: name for name, extension in EXTENSIONS.items()}
        formats |= {"jpeg": "jpeg", "tiff": "tiff"}
        if suffix not in formats:
            raise PictureError(f"{path}: the name must end in {', '.join(sorted(formats))}")
        Path(path).write_bytes(encode(self.picture, formats[suffix], quality, bit_depth))


def stylize(
    content: PictureLike | Sequence[PictureLike],
    style: StyleLike | Sequence[StyleLike],
    recipe: Recipe | None = None,
    *,
    init: PictureLike | Sequence[PictureLike] | None = None,
    network: VGG19 | None = None,
    device: torch.device | str | None = None,
    observer: Observer | None = None,
    observe_seconds: float = 1.0,
    should_stop: Callable[[], bool] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Paint ``content`` in the style of ``style``.

    ``content`` is one picture, or a list of pictures of one shape with an equally long list of styles.
    The pictures of a list are optimised together, each as if it were alone.

    After an out-of-memory error the work since the last checkpoint is redone with less memory: with half
    the pictures at a time, then in strips. ``Result.concessions`` says so.

    Args:
        content: A path, bytes, a Pillow image, or an RGB tensor (3, H, W) in [0, 1]; or a list of these.
        style: A picture as for ``content``; or several, blended, as (picture, share) or (picture, share,
            mask), where the mask is a grey picture of the content's proportions, white where the style
            applies, black or transparent where it does not; or a list with one style per content.
        recipe: The knobs of the render. Default: ``Recipe()``.
        init: The pictures to start from, one per content, for a recipe whose init is "image".
        network: A loaded VGG19 on ``device``, which saves loading it. Default: the recipe's weights.
        device: Default: the first CUDA GPU, else Apple's GPU, else the CPU.
        observer: Called with the losses of every step, in batches. Reading losses waits for the device,
            so a batch is read about every ``observe_seconds``.
        observe_seconds: Time between two batches, in seconds.
        should_stop: Called between steps; the render is interrupted when it returns True.
        on_checkpoint: Called with a checkpoint after each segment except the last. ``Checkpoint.alone``
            extracts the checkpoint of one picture.
        resume: The checkpoint to resume from. The picture is bit for bit that of an uninterrupted render
            on the same kind of machine with the same number of threads.

    Returns:
        The pictures, each (1, 3, H, W) with its longest side at ``recipe.size``, and their losses.

    Raises:
        PictureError: A picture, mask or style cannot be used.
        WeightsError: The weights cannot be found, verified or loaded.
        CheckpointError: ``resume`` belongs to another render.
        DivergedError: The loss did not recover after repeated restarts.
        MemoryLimitError: The smallest way to render does not fit into memory.
        InterruptedRender: ``should_stop`` returned True.
    """
    began = time.perf_counter()
    recipe = recipe or Recipe()
    inputs = read_inputs(content, style, init, recipe)
    device = torch.device(device) if device is not None else default_device()
    network = network or _load_cached(identify(recipe), device)
    identity = fingerprint(recipe, network.digest, inputs.tensors(), shares=inputs.shares())
    if resume is not None and resume.render != identity:
        raise CheckpointError("the checkpoint is of another render: its pictures or recipe differ")

    def make_recorder(first_picture: int, at: Checkpoint | None) -> Recorder:
        return Recorder(
            began - (resume.seconds if resume is not None else 0.0),
            observer,
            observe_seconds,
            should_stop,
            step=at.steps if at is not None else 0,
            first_picture=first_picture,
        )

    alone = tuple(
        fingerprint(recipe, network.digest, one.tensors(), shares=one.shares())
        for one in (inputs.select(slice(k, k + 1)) for k in range(len(inputs)))
        if len(inputs) > 1 and on_checkpoint is not None
    )

    def on_cut(checkpoint: Checkpoint) -> None:
        if on_checkpoint is not None:
            on_checkpoint(replace(checkpoint, alone_renders=alone))

    setup = RenderSetup(inputs, recipe, network, device, identity)
    ladder = MemoryLadder(setup, make_recorder, on_cut)
    pictures, losses = ladder.run(None if resume is None else resume.to(device))
    return Result(
        pictures=pictures,
        losses=losses,
        recipe=recipe,
        steps=recipe.total_steps,
        seconds=time.perf_counter() - began,
        device=str(device),
        concessions=tuple(ladder.concessions),
    )


def default_device() -> torch.device:
    """Return the first CUDA device, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@lru_cache(maxsize=2)
def _load_cached(weights: WeightSet, device: torch.device) -> VGG19:
    return load_vgg19(weights, device)
