"""The public entry point ``stylize()``: a render that can be observed, interrupted and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from stylize.errors import CheckpointError, PictureError
from stylize.network.fastest import Precision, fastest
from stylize.network.vgg19 import VGG19, load_vgg19
from stylize.network.weights import WeightSet, identify
from stylize.pictures.codec import EXTENSIONS, BitDepth, encode, to_pil
from stylize.pictures.inputs import PictureLike, StyleLike, read_inputs
from stylize.pictures.picture import Picture, Reference
from stylize.recipe import Recipe
from stylize.render.checkpoint import Checkpoint, fingerprint
from stylize.render.graphs import Graphs
from stylize.render.out_of_memory import MemoryLadder, Painted, PaintOnce
from stylize.render.recorder import Observer, OnPreview, Recorder, Step
from stylize.render.render import Render
from stylize.render.setup import RenderSetup

if TYPE_CHECKING:
    from stylize.team.team import Team


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
    precision: Precision
    """The precision of the convolutions, which ``recipe`` may leave to be measured."""
    concessions: tuple[str, ...] = ()
    """Measures taken to fit the render into memory, and whether CUDA graphs failed, as sentences; usually
    empty."""

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
    references: Sequence[Reference] = (),
    network: VGG19 | None = None,
    device: torch.device | str | None = None,
    team: Team | None = None,
    observer: Observer | None = None,
    observe_seconds: float = 1.0,
    should_stop: Callable[[], bool] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    on_preview: OnPreview | None = None,
    resume: Checkpoint | None = None,
    graphs: Graphs = "off",
) -> Result:
    """Paint ``content`` in the style of ``style``.

    ``content`` is one picture, or a list of pictures of one shape with an equally long list of styles.
    The pictures of a list are optimised together, each as if it were alone.

    After an out-of-memory error the work since the last checkpoint is redone with less memory: with half
    the pictures at a time, then in strips. ``Result.concessions`` says so.

    Args:
        content: A path, bytes, a Pillow image, an array (H, W, 3) or, with opacity, (H, W, 4), of 8 or 16
            bits or floats in [0, 1], or an RGB tensor (3, H, W) in [0, 1]; or a list of these.
        style: A picture as for ``content``; or several, blended, as (picture, share) or (picture, share,
            mask), where the mask is a grey picture of the content's proportions, white where the style
            applies, black or transparent where it does not; or a list with one style per content.
        recipe: The knobs of the render. Default: ``Recipe()``.
        init: The pictures to start from, one per content, for a recipe whose init is "image".
        references: What each picture is to keep, one per content: where it is held it starts from there and
            hardly moves. Empty: nothing. ``stylize.film`` makes them for the frames of films.
        network: A loaded VGG19 on ``device``, which saves loading it. Default: the recipe's weights.
        device: Default: the first CUDA GPU, else Apple's GPU, else the CPU.
        team: Processes that paint together, each a band of every picture's rows, on several devices; with
            its own devices and network, instead of the two above. The picture is that of one device up to
            rounding. None: this process alone.
        observer: Called with the losses of every step, in batches. Reading losses waits for the device,
            so a batch is read about every ``observe_seconds``.
        observe_seconds: Time between two batches, in seconds.
        should_stop: Called between steps; the render is interrupted when it returns True.
        on_checkpoint: Called with a checkpoint after each segment except the last. ``Checkpoint.alone``
            extracts the checkpoint of one picture.
        on_preview: Called after each step with indices of pictures and a function, which returns these
            pictures as they are so far, at most 512 px and without alpha, if it is called. That waits for the
            device and changes nothing of the render. A team gives no previews.
        resume: The checkpoint to resume from. The picture is bit for bit that of an uninterrupted render
            on the same kind of machine with the same number of threads and the same ``graphs``.
        graphs: auto: an NVIDIA GPU replays the steps of a picture that is not in strips as CUDA graphs, where
            they can be recorded; the picture is the same up to rounding. off: it starts every operation of
            every step anew. That is the default until replays have been tested on a card.

    Returns:
        The pictures, each (1, 3, H, W) with its longest side at ``recipe.size``, and their losses.

    Raises:
        PictureError: A picture, mask or style cannot be used.
        WeightsError: The weights cannot be found, verified or loaded.
        CheckpointError: ``resume`` belongs to another render.
        DivergedError: The loss did not recover after repeated restarts.
        MemoryLimitError: The smallest way to render does not fit into memory.
        MemberLostError: A process of the team has ended.
        InterruptedRender: ``should_stop`` returned True.
        ValueError: ``graphs`` is neither, or auto with a team, whose steps are not recorded.
    """
    began = time.perf_counter()
    recipe = recipe or Recipe()
    inputs = read_inputs(content, style, init, recipe, references)
    if graphs not in ("auto", "off"):
        raise ValueError(f"graphs is {graphs!r}, and not auto or off")
    if graphs == "auto" and team is not None:
        raise ValueError("a team's steps are not recorded as CUDA graphs: leave graphs off")
    if team is not None:
        device, network = team.devices[0], team.network
    device = torch.device(device) if device is not None else default_device()
    network = network or _load_cached(identify(recipe), device)
    identity = fingerprint(recipe, network.digest, inputs.tensors(), shares=inputs.shares())
    if resume is not None and resume.render != identity:
        raise CheckpointError("the checkpoint is of another render: its pictures or recipe differ")
    if resume is not None:
        recipe = recipe.resumed_at(resume.segments, resume.steps)

    before = resume.seconds if resume is not None else 0.0

    def paint_here(
        setup: RenderSetup,
        first_picture: int,
        at: Checkpoint | None,
        strips: int,
        on_cut: Callable[[Checkpoint], None],
        concede: Callable[[str], None],
    ) -> Painted:
        recorder = Recorder(
            began - before,
            observer,
            observe_seconds,
            should_stop,
            step=at.steps if at is not None else 0,
            first_picture=first_picture,
        )
        render = Render(
            setup,
            recorder=recorder,
            on_cut=on_cut,
            strips=strips,
            concede=concede,
            at=at,
            on_preview=on_preview,
        )
        return render.run(), tuple(recorder.last)

    alone = tuple(
        fingerprint(recipe, network.digest, one.tensors(), shares=one.shares())
        for one in (inputs.select(slice(k, k + 1)) for k in range(len(inputs)))
        if len(inputs) > 1 and on_checkpoint is not None
    )

    def on_cut(checkpoint: Checkpoint) -> None:
        if on_checkpoint is not None:
            on_checkpoint(replace(checkpoint, alone_renders=alone))

    precision = _precision(recipe, device, resume)
    painted = recipe.model_copy(update={"precision": precision})
    setup = RenderSetup(inputs, painted, network, device, identity, graphs)
    paint: PaintOnce = paint_here
    if team is not None:
        paint = team.painter(observer, observe_seconds, should_stop, began - before)
    ladder = MemoryLadder(setup, paint, on_cut, 1 if team is None else len(team))
    # A team's members each move it to their own device.
    at = resume if resume is None or team is not None else resume.to(device)
    pictures, losses = ladder.run(at)
    return Result(
        pictures=pictures,
        losses=losses,
        recipe=recipe,
        steps=recipe.total_steps,
        seconds=time.perf_counter() - began,
        device=str(device),
        precision=precision,
        concessions=tuple(ladder.concessions),
    )


def _precision(recipe: Recipe, device: torch.device, resume: Checkpoint | None) -> Precision:
    """Return the recipe's precision, or the resumed render's, or the faster one, in this order."""
    if recipe.precision != "auto":
        return recipe.precision
    if resume is not None:
        return "bfloat16" if resume.precision == "bfloat16" else "float32"
    return fastest(device)


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
