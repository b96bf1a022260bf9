"""``Renderer``, the protocol by which a worker renders, and ``Painter``, its implementation by ``stylize``.

A render has three parts, decoding, painting and encoding, because only painting needs the device: one picture
is decoded or encoded while another is painted. The tests of ``cluster`` use stand-ins for ``Painter``.
"""

from __future__ import annotations

import gc
import importlib
import logging
import platform
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from cluster.messages import DeviceInfo
from cluster.worker.paint_thread import PaintThread, keep_to_one_core, wait_awake_briefly
from jobs.records.loss_log import LossRow
from jobs.records.record import InputRecord
from jobs.spec.output import ImageOptions
from jobs.tasks.films.part import Way
from jobs.tasks.task import Task
from stylize.errors import CheckpointError, MemberLostError
from stylize.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from stylize.network.vgg19 import VGG19
    from stylize.render.checkpoint import Checkpoint
    from stylize.render.graphs import Graphs
    from stylize.render.recorder import Step
    from stylize.team.team import Team

log = logging.getLogger(__name__)

Observe = Callable[[Sequence[LossRow]], None]
"""Takes the losses of a render's last steps, in order."""

ShouldStop = Callable[[], bool]
"""Returns whether the render must be interrupted."""

GivenFile = tuple[str, bytes]
"""A file with the motion between two frames: its name, for errors, and its bytes."""

DecodedStyle = Sequence[tuple[Any, float, Any | None]]
"""The decoded parts of a style: (picture, share, mask or None)."""


@dataclass(frozen=True, slots=True)
class Painted:
    """A painted picture."""

    picture: Any
    """The picture, in the renderer's own type."""
    concessions: tuple[str, ...] = ()
    """What was done to save memory, in sentences; usually nothing."""
    precision: str | None = None
    """The precision of the network's convolutions; None: the renderer has no network."""


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


class Preview(Protocol):
    """The taker of a picture as it is so far. A renderer that cannot show it may ignore this."""

    @property
    def due(self) -> bool:
        """Whether it is time for a picture."""

    def take(self, picture: Any) -> None:
        """Take the picture, in the renderer's own type, at most 512 px large; returns at once."""


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
class Reference:
    """A finished frame that another frame of its film is to agree with.

    ``Order.task.part`` says where both are in the film, and which frames are between them.
    """

    index: int
    """The finished frame's index in the film, from 0."""
    picture: Any
    """Its finished picture, decoded as contents are."""
    place: int
    """Its place among the frames between which motion is known, from 0."""
    content: Any
    """The frame that was painted, decoded."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What a frame is to keep of those that it holds to, and how it is painted then."""

    kept: Any
    """What it keeps, in the renderer's own type."""
    recipe: Recipe
    """The knobs with which it is painted: it begins painted, and needs fewer steps than the task says."""
    share: float
    """How firmly its pixels are held, 0 to 1, as their mean."""
    confidence: Any
    """How firmly each pixel is held, as a mask in the renderer's own type."""
    flow: tuple[InputRecord, ...] = ()
    """The files that the motion between it and them was read from, if it was; the worker sets them."""


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to paint, with all its inputs decoded."""

    task: Task
    content: Any
    styles: DecodedStyle
    init: Any | None
    observe: Observe
    resumption: Resumption
    preview: Preview | None = None
    """Takes the picture as it is so far; None: nobody asks for it."""
    hold: Hold | None = None
    """What the picture is to keep; None: it holds to nothing. Of pictures that are painted together all have
    one, or none."""

    @property
    def recipe(self) -> Recipe:
        """The knobs with which it is painted."""
        return self.task.recipe if self.hold is None else self.hold.recipe


class Renderer(Protocol):
    """Paints pictures on one device; a worker has one renderer per device.

    ``paint`` is called by one thread at a time; the other methods may be called meanwhile. Those that decode
    frames and find motion are static: they are called in processes without a device, too.
    """

    device: DeviceInfo
    """The device."""
    versions: dict[str, str]
    """The versions of the software that paints, by name, for the records."""

    @staticmethod
    def decode(data: bytes, name: str, image: ImageOptions, *, keep_opaque: bool = False) -> Any:
        """Decode a picture's file.

        Args:
            data: The file's bytes.
            name: What the picture is, for error messages: ``content photos/a.jpg``.
            image: The job's ``image`` section: profile.
            keep_opaque: Whether an alpha channel counts in which all pixels are opaque, as in frames of a
                film, whose pictures are to be of one kind.

        Returns:
            The picture, in the renderer's own type.

        Raises:
            PictureError: The file is no picture that can be used.
        """

    @staticmethod
    def decode_painted(data: bytes, name: str, image: ImageOptions) -> Any:
        """Decode a file of ``encode``, for a frame that holds to it: with what was painted where it is clear.

        Args:
            data: The file's bytes.
            name: What the picture is, for error messages.
            image: The job's ``image`` section: profile.

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

    @staticmethod
    def find_motion(frames: Iterable[Any], way: Way = "dis") -> bytes:
        """Find the motion between each two neighbours of several frames, on one core of the CPU.

        Args:
            frames: The decoded frames, in order; two are held at a time.
            way: How it is found: ``dis`` or ``raft``.

        Returns:
            The motion, as a file, for ``hold``.

        Raises:
            PictureError: The frames have several sizes.
            WeightsError: The weights of what finds it cannot be had.
        """

    @staticmethod
    def pack_motion(frame: Any, files: Iterable[tuple[GivenFile, GivenFile]]) -> bytes:
        """Bring motion that is known into the form of ``find_motion``, on one core of the CPU.

        Args:
            frame: One of the decoded frames.
            files: The files with the motion from each frame to the next one, and from that one back; two are
                held at a time.

        Raises:
            PictureError: A file cannot be used, or has other proportions than the frame.
        """

    def hold(
        self,
        content: Any,
        place: int,
        references: Sequence[Reference],
        motions: Sequence[bytes],
        recipe: Recipe,
    ) -> Hold:
        """Return what a frame is to keep of those that it holds to, on one core of the CPU.

        Args:
            content: The decoded frame.
            place: Its place among the frames between which the motion is.
            references: The frames that it holds to.
            motions: What ``find_motion`` returned for these frames; for several stretches of them, of which
                each begins with the frame with which the one before ends.
            recipe: The task's recipe.

        Raises:
            PictureError: The motion or a frame cannot be used.
        """

    def encode(self, picture: Any, image: ImageOptions, about: Mapping[str, str]) -> Encoded:
        """Encode a painted picture.

        Args:
            picture: The picture, in the renderer's own type.
            image: The job's ``image`` section: format, quality, bit depth, profile, alpha, metadata.
            about: What the file may say about itself, by name.

        Returns:
            The file.
        """

    def thumbnail(self, picture: Any, image: ImageOptions, longest: int, quality: int) -> bytes:
        """Return a small copy of a picture or a mask, in sRGB, made on one core of the CPU.

        Args:
            picture: The picture or the mask, in the renderer's own type.
            image: The job's ``image`` section: profile, alpha.
            longest: The longest side at most, in pixels.
            quality: 1 to 100.

        Returns:
            The bytes of a WebP file.
        """


def make_renderer(
    path: str,
    base: str,
    threads: int | None,
    index: int = 0,
    members: int = 1,
    cuda_graphs: Graphs = "off",
) -> Renderer:
    """Import a renderer's class and make a renderer.

    Args:
        path: ``module:Class``; the class is called with the other arguments, and with the last two only
            where they are not the defaults.
        base: The job file's folder, to which relative paths are relative.
        threads: CPU threads for painting, > 0; None: the library's default.
        index: The index of the device, among those that this process sees.
        members: The number of devices, from ``index`` on, that paint each picture together.
        cuda_graphs: Whether NVIDIA GPUs replay steps as CUDA graphs.

    Returns:
        The renderer.
    """
    module, _, name = path.partition(":")
    more: dict[str, Any] = {}
    if members > 1:
        more["members"] = members
    if cuda_graphs != "off":
        more["cuda_graphs"] = cuda_graphs
    renderer: Renderer = getattr(importlib.import_module(module), name)(
        base, threads, index, **more
    )
    return renderer


class Painter:
    """A ``Renderer`` that paints with ``stylize`` and keeps the networks it has loaded.

    Args:
        base: The job file's folder, to which paths of weights are relative.
        threads: CPU threads for painting, > 0; None: torch's default.
        index: The index of the CUDA device; ignored without CUDA.
        members: The number of devices, from ``index`` on, that paint each picture together; without CUDA,
            of processes on the CPU.
        cuda_graphs: Whether NVIDIA GPUs replay steps as CUDA graphs.
    """

    NETWORKS = 2  # a job that sweeps over weights alternates between two; each takes 80 MB

    def __init__(
        self,
        base: str,
        threads: int | None,
        index: int = 0,
        members: int = 1,
        cuda_graphs: Graphs = "off",
    ) -> None:
        wait_awake_briefly()
        with _collecting_no_garbage():
            import torch

            from stylize.api import default_device
            from stylize.pictures.reading.open import keep_memory

        keep_memory()
        self._thread = PaintThread(threads)
        self._base = Path(base)
        self._device = default_device()
        if self._device.type == "cuda":
            self._device = torch.device("cuda", index)
        self._threads = threads
        self._cuda_graphs = cuda_graphs
        self._members = [self._device]
        if members > 1:
            self._members = devices_of_members(self._device, members)
        self._networks: OrderedDict[str, VGG19] = OrderedDict()
        self._team: Team | None = None
        self.device = describe_device(self._device)
        if members > 1:
            self.device = replace(self.device, name=f"{members} x {self.device.name}")
        self.versions = {
            "stylefarm": version("stylefarm"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    @staticmethod
    def decode(data: bytes, name: str, image: ImageOptions, *, keep_opaque: bool = False) -> Any:
        """Return a ``stylize.pictures.picture.Picture``; see ``Renderer.decode``."""
        from stylize.pictures.codec import decode
        from stylize.pictures.picture import Picture

        keep_to_one_core()
        picture = decode(data, name, image.profile, keep_opaque=keep_opaque)
        # Whose file will have no alpha is painted as it is shown, on white.
        has_alpha = image.alpha == "keep" and image.format != "jpeg"
        return picture if has_alpha else Picture(picture.rgb)

    @staticmethod
    def decode_painted(data: bytes, name: str, image: ImageOptions) -> Any:
        """Return a ``stylize.pictures.picture.Picture``; see ``Renderer.decode_painted``."""
        from stylize.pictures.codec import decode_painted

        keep_to_one_core()
        return decode_painted(data, name, image.profile)

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

        def preview(pictures: range, make: Callable[[], Sequence[Any]]) -> None:
            takers = [orders[k].preview for k in pictures]
            if any(taker is not None and taker.due for taker in takers):
                for taker, picture in zip(takers, make(), strict=True):
                    if taker is not None:
                        taker.take(picture)

        for order in orders:
            order.resumption.begin(0 if resume is None else resume.steps)
        first = orders[0]
        team = self._team_with(first.task) if len(self._members) > 1 else None
        result = stylize(
            [order.content for order in orders],
            [list(order.styles) for order in orders],
            first.recipe,
            references=[order.hold.kept for order in orders if order.hold is not None],
            init=None if first.init is None else [cast("Any", order.init) for order in orders],
            network=None if team else self._network(first.task),
            device=None if team else self._device,
            team=team,
            graphs=self._cuda_graphs,
            observer=observe,
            should_stop=should_stop,
            on_checkpoint=offer,
            on_preview=preview if any(order.preview for order in orders) else None,
            resume=resume,
        )
        return [
            Painted(picture, result.concessions, result.precision) for picture in result.pictures
        ]

    @staticmethod
    def find_motion(frames: Iterable[Any], way: Way = "dis") -> bytes:
        """Return the file of ``stylize.film.flow_file``; see ``Renderer.find_motion``."""
        from stylize.film.flow_file import find_motions
        from stylize.film.references import frame_of

        keep_to_one_core()
        assert way != "given"
        return find_motions((frame_of(frame) for frame in frames), way)

    @staticmethod
    def pack_motion(frame: Any, files: Iterable[tuple[GivenFile, GivenFile]]) -> bytes:
        """Return the file of ``stylize.film.flow_file``; see ``Renderer.pack_motion``."""
        from stylize.film.flow_file import pack_motions
        from stylize.film.references import frame_of
        from stylize.film.sources.given import given_motions

        keep_to_one_core()
        small = frame_of(frame)
        return pack_motions(small, given_motions(small, files))

    def hold(
        self,
        content: Any,
        place: int,
        references: Sequence[Reference],
        motions: Sequence[bytes],
        recipe: Recipe,
    ) -> Hold:
        """Return a ``stylize.pictures.picture.Reference``; see ``Renderer.hold``."""
        from stylize.film.flow_file import read_motions
        from stylize.film.motions import between
        from stylize.film.references import Neighbour, frame_of, held_recipe, reference
        from stylize.pictures.mask import Mask

        keep_to_one_core()
        stretches = [read_motions(motion) for motion in motions]
        neighbours = [
            Neighbour(one.picture, *between(stretches, place, one.place), frame_of(one.content))
            for one in references
        ]
        kept = reference(frame_of(content), neighbours)
        mask = Mask(kept.weight[0, 0].numpy(), doubt=None)
        return Hold(kept, held_recipe(recipe, kept), float(kept.weight.mean()), mask)

    def encode(self, picture: Any, image: ImageOptions, about: Mapping[str, str]) -> Encoded:
        """Return the file in the job's format; see ``Renderer.encode``."""
        from stylize.pictures.codec import CONTENT_TYPES, EXTENSIONS, encode

        keep_to_one_core()
        data = encode(
            picture,
            image.format,
            image.quality,
            image.bit_depth,
            gamut=image.profile,
            about=about if image.metadata == "recipe" else None,
        )
        height, width = picture.rgb.shape[2:]
        return Encoded(
            data=data,
            extension=EXTENSIONS[image.format],
            content_type=CONTENT_TYPES[image.format],
            width=width,
            height=height,
        )

    def thumbnail(self, picture: Any, image: ImageOptions, longest: int, quality: int) -> bytes:
        """Return the copy as a WebP file; see ``Renderer.thumbnail``."""
        from stylize.pictures.small import small_webp

        keep_to_one_core()
        return small_webp(picture, longest, quality, gamut=image.profile)

    def _team_with(self, task: Task) -> Team:
        """Return the team with a task's weights. Only one holds the devices at a time."""
        from stylize.team.team import Team

        network = self._network(task)
        if self._team is None or self._team.network is not network:
            if self._team is not None:
                self._team.close()
            each = None if self._threads is None else max(1, self._threads // len(self._members))
            self._team = Team(self._members, network, each)
        return self._team

    def _network(self, task: Task) -> VGG19:
        import torch

        from stylize.network.vgg19 import load_vgg19
        from stylize.network.weights import identify

        if task.weights_digest not in self._networks:
            weights = identify(task.recipe, self._base)
            device = self._device if len(self._members) == 1 else torch.device("cpu")
            self._networks[task.weights_digest] = load_vgg19(weights, device)
            while len(self._networks) > self.NETWORKS:
                self._networks.popitem(last=False)
        self._networks.move_to_end(task.weights_digest)
        return self._networks[task.weights_digest]


@contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """Import much while entered, without that Python looks for garbage among it, then or ever.

    That is a tenth of the time PyTorch takes to import, and each later look would stop the painting longer.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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


def devices_of_members(first: torch.device, members: int) -> list[torch.device]:
    """Return the devices that paint together, of which the first is given.

    Raises:
        MemberLostError: This process sees too few GPUs.
    """
    import torch

    if first.type != "cuda":
        return [first] * members
    seen = torch.cuda.device_count()
    last = (first.index or 0) + members
    if last > seen:
        raise MemberLostError(
            f"workers.gpus is {members}, to paint a picture together, and this process sees {seen} GPUs"
        )
    return [torch.device("cuda", index) for index in range(last - members, last)]


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
