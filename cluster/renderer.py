"""What a worker renders with. ``Painter`` is the real one; tests of the floor bring stand-ins.

A render has three parts, because only the middle one needs the device: decoding and encoding of one
picture overlap with the painting of another.
"""

from __future__ import annotations

import importlib
import logging
import platform
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jobs.losslog import LossRow
from jobs.spec import ImageOptions
from jobs.tasks import Task
from stylize.errors import CheckpointError

if TYPE_CHECKING:
    from stylize.recorder import Step
    from stylize.vgg import VGG19

log = logging.getLogger(__name__)

Observe = Callable[[Sequence[LossRow]], None]
ShouldStop = Callable[[], bool]
StyleParts = Sequence[tuple[Any, float, Any | None]]
"""A style as it was decoded: (picture, share, mask or None)."""


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture of the renderer's own kind, and what had to be done for lack of memory."""

    picture: Any
    concessions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished picture's file."""

    data: bytes
    extension: str
    content_type: str
    width: int
    height: int


class Resumption(Protocol):
    """How a render is gone on with, and how that is made possible. A renderer that knows no checkpoints
    need not look at it."""

    @property
    def found(self) -> bytes | None:
        """The checkpoint that an earlier attempt left."""

    def begin(self, step: int) -> None:
        """The render begins after so many steps. Called again when a checkpoint turns out to be of no
        use."""

    def offer(self, make: Callable[[], bytes]) -> None:
        """Here is a checkpoint, which ``make`` makes if it is wanted."""


class Renderer(Protocol):
    """Pictures in, picture out. Made once in each worker; ``paint`` is never called twice at once."""

    device: str
    versions: dict[str, str]

    def decode(self, data: bytes, name: str) -> Any:
        """Bytes -> a picture of the renderer's own kind. Raises stylize.PictureError."""

    def paint(
        self,
        task: Task,
        content: Any,
        styles: StyleParts,
        init: Any | None,
        observe: Observe,
        should_stop: ShouldStop,
        resumption: Resumption,
    ) -> Painted:
        """Render on the device. Raises stylize's errors; their pictures are of the renderer's kind."""

    def encode(self, picture: Any, image: ImageOptions) -> Encoded:
        """A painted picture -> its file."""


def make_renderer(path: str, base: str, threads: int | None) -> Renderer:
    """The renderer at ``module:Class``, which is called with ``base`` and ``threads``."""
    module, _, name = path.partition(":")
    renderer: Renderer = getattr(importlib.import_module(module), name)(base, threads)
    return renderer


class Painter:
    """Renders with ``stylize`` on this process's device, and keeps the networks it has loaded."""

    NETWORKS = 2  # a job that sweeps over weights changes between two; each holds 80 MB

    def __init__(self, base: str, threads: int | None) -> None:
        import torch

        from stylize.loop import default_device

        if threads is not None:
            torch.set_num_threads(threads)
        self._base = Path(base)
        self._device = default_device()
        self._networks: OrderedDict[str, VGG19] = OrderedDict()
        self.device = _device_name(self._device)
        self.versions = {
            "stylefarm": version("stylefarm"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    def decode(self, data: bytes, name: str) -> Any:
        """A ``stylize.images.Picture``."""
        from stylize.images import decode

        return decode(data, name)

    def paint(
        self,
        task: Task,
        content: Any,
        styles: StyleParts,
        init: Any | None,
        observe: Observe,
        should_stop: ShouldStop,
        resumption: Resumption,
    ) -> Painted:
        """A ``stylize.images.Picture``, rendered by ``stylize.stylize``."""
        from stylize.checkpoint import Checkpoint
        from stylize.loop import stylize

        def paint(resume: Checkpoint | None) -> Painted:
            resumption.begin(0 if resume is None else resume.steps)
            result = stylize(
                content,
                list(styles),
                task.recipe,
                init=init,
                network=self._network(task),
                device=self._device,
                observer=lambda steps: observe([_row(step) for step in steps]),
                should_stop=should_stop,
                on_checkpoint=lambda checkpoint: resumption.offer(checkpoint.to_bytes),
                resume=resume,
            )
            return Painted(result.picture, result.concessions)

        try:
            if resumption.found is not None:
                return paint(Checkpoint.from_bytes(resumption.found))
        except CheckpointError as error:  # damaged, or of pictures that were changed since
            log.info("task %s begins anew: %s", task.id, error)
        return paint(None)

    def encode(self, picture: Any, image: ImageOptions) -> Encoded:
        """The file in the job's format."""
        from stylize.images import CONTENT_TYPES, EXTENSIONS, Picture, encode

        if image.alpha == "drop":
            picture = Picture(picture.rgb)
        data = encode(picture, image.format, image.quality, image.bit_depth)
        height, width = picture.rgb.shape[2:]
        return Encoded(data, EXTENSIONS[image.format], CONTENT_TYPES[image.format], width, height)

    def _network(self, task: Task) -> VGG19:
        from stylize.vgg import load_vgg19
        from stylize.weights import identify

        if task.weights_digest not in self._networks:
            weights = identify(task.recipe, self._base)
            self._networks[task.weights_digest] = load_vgg19(weights, self._device)
            while len(self._networks) > self.NETWORKS:
                self._networks.popitem(last=False)
        self._networks.move_to_end(task.weights_digest)
        return self._networks[task.weights_digest]


def _row(step: Step) -> LossRow:
    return LossRow(
        step.scale,
        step.step,
        step.total,
        step.content,
        step.style,
        step.style_layers,
        step.tv,
        step.seconds,
    )


def _device_name(device: Any) -> str:
    if device.type == "cuda":
        import torch

        return f"cuda ({torch.cuda.get_device_name(device)})"
    return str(device.type)
