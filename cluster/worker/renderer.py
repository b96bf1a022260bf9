"""``Renderer``, the protocol by which a worker renders, and ``Painter``, its implementation by ``stylize``.

A render has three parts, decoding, painting and encoding, because only painting needs the device: one picture
is decoded or encoded while another is painted. The tests of ``cluster`` use stand-ins for ``Painter``.
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
"""Takes the losses of a render's last steps, in order."""

ShouldStop = Callable[[], bool]
"""Returns whether the render must be interrupted."""

DecodedStyle = Sequence[tuple[Any, float, Any | None]]
"""The decoded parts of a style: (picture, share, mask or None)."""


@dataclass(frozen=True, slots=True)
class Painted:
    """A painted picture."""

    picture: Any
    """The picture, in the renderer's own type."""
    concessions: tuple[str, ...] = ()
    """What was done to save memory, in sentences; usually nothing."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The file of a finished picture."""

    data: bytes
    extension: str
    """The file name's extension, without the dot."""
    content_type: str
    """The MIME type."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


class Resumption(Protocol):
    """The checkpoint from which a render resumes, and the taker of the checkpoints that it makes.

    A renderer without checkpoints may ignore it.
    """

    @property
    def checkpoint(self) -> bytes | None:
        """The checkpoint that an earlier attempt left; None: start from the beginning."""

    def begin(self, step: int) -> None:
        """Note that the render begins.

        Args:
            step: The number of steps made before, >= 0. A render that finds its checkpoint unusable calls
                this again, with 0.

        Raises:
            StorageError: The loss log of the earlier attempt cannot be read.
        """

    def offer(self, make: Callable[[], bytes]) -> None:
        """Offer a checkpoint.

        Args:
            make: Returns the checkpoint's bytes; called before ``offer`` returns, or not at all.
        """


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to paint, with all its inputs decoded."""

    task: Task
    content: Any
    styles: DecodedStyle
    init: Any | None
    observe: Observe
    resumption: Resumption


class Renderer(Protocol):
    """Paints pictures on one device; a worker has one renderer per device.

    ``paint`` is called by one thread at a time; the other methods may be called meanwhile.
    """

    device: DeviceInfo
    """The device."""
    versions: dict[str, str]
    """The versions of the software that paints, by name, for the records."""

    def decode(self, data: bytes, name: str) -> Any:
        """Decode a picture's file.

        Args:
            data: The file's bytes.
            name: What the picture is, for error messages: ``content photos/a.jpg``.

        Returns:
            The picture, in the renderer's own type.

        Raises:
            PictureError: The file is no picture that can be used.
        """

    def decode_mask(self, data: bytes, name: str) -> tuple[Any, str | None]:
        """Decode a mask's file.

        Args:
            data: The file's bytes.
            name: What the mask is, for error messages: ``mask masks/sky.png``.

        Returns:
            The mask, in the renderer's own type, and why it is probably not the one that is meant, to be read
            after its name; None: nothing is doubtful.

        Raises:
            PictureError: The file is no picture that can be used.
        """

    def shape(self, picture: Any) -> Hashable:
        """Return a key that is equal for content pictures that can be painted together."""

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        """Paint on the device.

        Args:
            orders: One picture, or several of one shape, recipe and weights that are painted together.
            should_stop: Called between steps; the render is interrupted when it returns True.

        Returns:
            The painted pictures, in order.

        Raises:
            InterruptedRender: ``should_stop`` returned True.
            DivergedError: The loss did not recover; has the best pictures, in the renderer's own type.
            StylizeError: Any other reason for which the pictures cannot be painted.
        """

    def encode(self, picture: Any, image: ImageOptions) -> Encoded:
        """Encode a painted picture.

        Args:
            picture: The picture, in the renderer's own type.
            image: The job's ``image`` section: format, quality, bit depth, alpha.

        Returns:
            The file.
        """


def make_renderer(path: str, base: str, threads: int | None, index: int = 0) -> Renderer:
    """Import a renderer's class and make a renderer.

    Args:
        path: ``module:Class``; the class is called with the other arguments.
        base: The job file's folder, to which relative paths are relative.
        threads: CPU threads for painting, > 0; None: the library's default.
        index: The index of the device, among those that this process sees.

    Returns:
        The renderer.
    """
    module, _, name = path.partition(":")
    renderer: Renderer = getattr(importlib.import_module(module), name)(base, threads, index)
    return renderer


class Painter:
    """A ``Renderer`` that paints with ``stylize`` and keeps the networks it has loaded.

    Args:
        base: The job file's folder, to which paths of weights are relative.
        threads: CPU threads for painting, > 0; None: torch's default.
        index: The index of the CUDA device; ignored without CUDA.
    """

    NETWORKS = 2  # a job that sweeps over weights alternates between two; each takes 80 MB

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
        """Return a ``stylize.pictures.picture.Picture``; see ``Renderer.decode``."""
        from stylize.pictures.codec import decode

        keep_to_one_core()
        return decode(data, name)

    def decode_mask(self, data: bytes, name: str) -> tuple[Any, str | None]:
        """Return a ``stylize.pictures.mask.Mask`` and its doubt; see ``Renderer.decode_mask``."""
        from stylize.pictures.mask import read_mask

        keep_to_one_core()
        mask = read_mask(data, name)
        return mask, mask.doubt

    def shape(self, picture: Any) -> Hashable:
        """Return the shape of the picture's tensor, (1, 3, H, W)."""
        return tuple(picture.rgb.shape)

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        """Return ``stylize.pictures.picture.Picture``s from ``stylize.stylize``; see ``Renderer.paint``."""
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
        except CheckpointError as error:  # damaged, or its pictures have changed since
            log.info("task %s starts over: %s", order.task.id, error)
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
        """Return the file in the job's format; see ``Renderer.encode``."""
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
    """Return a device's name, memory and driver."""
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
"""Where the kernel names the version of NVIDIA's driver."""


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver, such as "535.104.05"; None without one."""
    try:
        match = re.search(r"NVRM version:.*?\s(\d+\.\d[\d.]*)\s", DRIVER_FILE.read_text())
    except OSError:
        return None
    return match[1] if match else None
