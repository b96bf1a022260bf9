"""What a worker renders with. ``Painter`` is the real one; tests of the floor bring stand-ins.

A render has three parts, because only the middle one needs the device: decoding and encoding of one
picture overlap with the painting of another.
"""

from __future__ import annotations

import importlib
import logging
import platform
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from cluster.messages import DeviceInfo
from cluster.worker.paint_thread import PaintThread, keep_to_one_core, wait_awake_briefly
from jobs.records.loss_log import LossRow
from jobs.spec.output import ImageOptions
from jobs.tasks.task import Task
from stylize.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from stylize.network.vgg19 import VGG19
    from stylize.render.checkpoint import Checkpoint
    from stylize.render.recorder import Step

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
    def checkpoint(self) -> bytes | None:
        """The checkpoint that an earlier attempt left."""

    def begin(self, step: int) -> None:
        """The render begins after so many steps. Called again when a checkpoint turns out to be of no
        use."""

    def offer(self, make: Callable[[], bytes]) -> None:
        """Here is a checkpoint, which ``make`` makes if it is wanted."""


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to paint: everything there is to it, decoded."""

    task: Task
    content: Any
    styles: StyleParts
    init: Any | None
    observe: Observe
    resumption: Resumption


class Renderer(Protocol):
    """Pictures in, picture out. Made once for each device of a worker; ``paint`` is never called twice at
    once on one, the others may be."""

    device: DeviceInfo
    versions: dict[str, str]

    def decode(self, data: bytes, name: str) -> Any:
        """Bytes -> a picture of the renderer's own kind. Raises stylize.PictureError."""

    def shape(self, picture: Any) -> Hashable:
        """Equal for contents that can be painted together."""

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        """Render on the device: one picture, or several of one shape and recipe together. Raises
        stylize's errors; their pictures are of the renderer's kind."""

    def encode(self, picture: Any, image: ImageOptions) -> Encoded:
        """A painted picture -> its file."""


def make_renderer(path: str, base: str, threads: int | None, index: int = 0) -> Renderer:
    """The renderer at ``module:Class``, which is called with ``base``, ``threads`` and ``index``: that of
    its device, among those that this process sees."""
    module, _, name = path.partition(":")
    renderer: Renderer = getattr(importlib.import_module(module), name)(base, threads, index)
    return renderer


class Painter:
    """Renders with ``stylize`` on this process's device, and keeps the networks it has loaded."""

    NETWORKS = 2  # a job that sweeps over weights changes between two; each holds 80 MB

    def __init__(self, base: str, threads: int | None, index: int = 0) -> None:
        wait_awake_briefly()
        import torch

        from stylize.api import default_device

        self._thread = PaintThread(threads)
        self._base = Path(base)
        self._device = default_device()
        if self._device.type == "cuda":
            self._device = torch.device("cuda", index)
        self._networks: OrderedDict[str, VGG19] = OrderedDict()
        self.device = describe_device(self._device)
        self.versions = {
            "stylefarm": version("stylefarm"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    def decode(self, data: bytes, name: str) -> Any:
        """A ``stylize.pictures.picture.Picture``."""
        from stylize.pictures.codec import decode

        keep_to_one_core()
        return decode(data, name)

    def shape(self, picture: Any) -> Hashable:
        """Height and width."""
        return tuple(picture.rgb.shape)

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        """``stylize.pictures.picture.Picture``s, rendered by ``stylize.stylize``."""
        return self._thread.run(self._paint_here, orders, should_stop)

    def _paint_here(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        from stylize.render.checkpoint import Checkpoint

        if len(orders) > 1:
            return self._paint(orders, None, should_stop)
        (order,) = orders
        try:
            if order.resumption.checkpoint is not None:
                resume = Checkpoint.from_bytes(order.resumption.checkpoint)
                return self._paint(orders, resume, should_stop)
        except CheckpointError as error:  # damaged, or of pictures that were changed since
            log.info("task %s begins anew: %s", order.task.id, error)
        return self._paint(orders, None, should_stop)

    def _paint(
        self, orders: Sequence[Order], resume: Checkpoint | None, should_stop: ShouldStop
    ) -> list[Painted]:
        from stylize.api import stylize

        def observe(steps: Sequence[Step]) -> None:
            for picture, order in enumerate(orders):
                rows = [_row(step) for step in steps if step.picture == picture]
                if rows:
                    order.observe(rows)

        def offer(checkpoint: Checkpoint) -> None:
            for picture, order in enumerate(orders):
                order.resumption.offer(lambda k=picture: checkpoint.alone(k).to_bytes())  # type: ignore[misc]

        for order in orders:
            order.resumption.begin(0 if resume is None else resume.steps)
        first = orders[0]
        result = stylize(
            [order.content for order in orders],
            [list(order.styles) for order in orders],
            first.task.recipe,
            init=None if first.init is None else [cast("Any", order.init) for order in orders],
            network=self._network(first.task),
            device=self._device,
            observer=observe,
            should_stop=should_stop,
            on_checkpoint=offer,
            resume=resume,
        )
        return [Painted(picture, result.concessions) for picture in result.pictures]

    def encode(self, picture: Any, image: ImageOptions) -> Encoded:
        """The file in the job's format."""
        from stylize.pictures.codec import CONTENT_TYPES, EXTENSIONS, encode
        from stylize.pictures.picture import Picture

        keep_to_one_core()
        if image.alpha == "drop":
            picture = Picture(picture.rgb)
        data = encode(picture, image.format, image.quality, image.bit_depth)
        height, width = picture.rgb.shape[2:]
        return Encoded(
            data=data,
            extension=EXTENSIONS[image.format],
            content_type=CONTENT_TYPES[image.format],
            width=width,
            height=height,
        )

    def _network(self, task: Task) -> VGG19:
        from stylize.network.vgg19 import load_vgg19
        from stylize.network.weights import identify

        if task.weights_digest not in self._networks:
            weights = identify(task.recipe, self._base)
            self._networks[task.weights_digest] = load_vgg19(weights, self._device)
            while len(self._networks) > self.NETWORKS:
                self._networks.popitem(last=False)
        self._networks.move_to_end(task.weights_digest)
        return self._networks[task.weights_digest]


def _row(step: Step) -> LossRow:
    return LossRow(
        scale=step.scale,
        step=step.step,
        total=step.total,
        content=step.content,
        style=step.style,
        style_layers=step.style_layers,
        tv=step.tv,
        seconds=step.seconds,
    )


def describe_device(device: torch.device) -> DeviceInfo:
    """A device's name, memory and driver."""
    import torch

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return DeviceInfo(
            properties.name, memory_bytes=properties.total_memory, driver=driver_version()
        )
    if device.type == "cpu":
        import psutil

        return DeviceInfo("cpu", memory_bytes=psutil.virtual_memory().total)
    return DeviceInfo(device.type)


DRIVER_FILE = Path("/proc/driver/nvidia/version")


def driver_version() -> str | None:
    """NVIDIA's driver, as the kernel names it: "535.104.05"; None where there is none."""
    try:
        match = re.search(r"NVRM version:.*?\s(\d+\.\d[\d.]*)\s", DRIVER_FILE.read_text())
    except OSError:
        return None
    return match[1] if match else None
