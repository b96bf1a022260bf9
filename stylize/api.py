"""``stylize()``: one render, from pictures to picture, observable at every step, resumable."""

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
    """What ``stylize`` returns: finished pictures and their final losses, in order."""

    pictures: tuple[Picture, ...]
    losses: tuple[Step, ...]
    recipe: Recipe
    steps: int
    seconds: float
    device: str
    concessions: tuple[str, ...] = ()
    """What had to be done to make do with the memory there is; mostly nothing."""

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

    One picture, or with ``content`` a list (and ``style`` a list as long) several of one shape, which
    are optimised together, each as if it were alone.

    Args:
        content: path, bytes, Pillow image, or RGB tensor (3, H, W) in [0, 1].
        style: the same, or several ``(picture, share)`` that are blended, or ``(picture, share, mask)``
            where the mask, a grey picture of the content's proportions, says where the style applies.
        recipe: how; default ``Recipe()``.
        init: the pictures to start from, for a recipe whose init is "image".
        network: a loaded VGG19, to save loading it for every call; default: the recipe's weights.
        device: default: the first GPU, or Apple's, or the CPU.
        observer: gets the losses of every step. Reading them waits for the device, so they come in
            batches, about every ``observe_seconds``.
        should_stop: asked between steps; True raises InterruptedRender.
        on_checkpoint: gets where the render stands, after each segment but the last; of several
            pictures ``Checkpoint.alone`` is that of one.
        resume: the checkpoint to go on from. The picture is, bit for bit, that of a render that was
            never interrupted (on the same kind of machine, with as many threads).

    Out of memory, the work is done again from the last cut in a smaller way: half the pictures at a
    time, then in strips. ``Result.concessions`` says so.

    Raises:
        PictureError, WeightsError, CheckpointError, DivergedError, MemoryLimitError, InterruptedRender.
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
    """The first CUDA device, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@lru_cache(maxsize=2)
def _load_cached(weights: WeightSet, device: torch.device) -> VGG19:
    return load_vgg19(weights, device)
