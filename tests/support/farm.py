"""What the tests of the floor share: jobs on disk, tiny weights, the command, stand-in renderers."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from PIL import Image

from cluster.messages import Assignment, DeviceInfo, Outcome, WorkerSetup
from cluster.worker.renderer import Encoded, Hold, Order, Painted, Reference, ShouldStop
from cluster.worker.worker import Worker
from jobs.jobfile.job import Job
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.records.loss_log import LossRow
from jobs.records.record import TaskRecord
from jobs.spec.output import ImageOptions
from jobs.storage.open import open_storage
from jobs.tasks.task import Task
from stylize.errors import DivergedError, InterruptedRender, MemoryLimitError, PictureError
from stylize.recipe import Recipe
from tests.support import forked

ROOT = forked.ROOT

PATIENCE = 3
"""How much longer than a quiet machine takes is waited for what is bound to come: others may be at work."""

HURRY = "hurry"

LOOK_LONG = MappingProxyType(
    {"cluster.plan.look.LOOK_SECONDS": 600.0, "cluster.run.looking.LOOK_SECONDS": 600.0}
)
"""Settings with which pictures are looked at for longer than users would be let wait: on a busy machine that
takes long."""
"""The file that ends the patience of the stand-in's renders, beside the job file."""

TINY_RECIPE = {"size": 32, "start_size": None, "steps": 5, "weights_input": "caffe"}
"""Of pictures painted in a blink; the weights are added by ``write_job``."""


def picture(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    """Soft patches of colour."""
    patches = np.random.default_rng(seed).integers(40, 215, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def write_weights(path: Path) -> None:
    """A VGG19 of a few channels, in torchvision's layout."""
    from safetensors.torch import save_file

    from tests.stylize.support import TORCHVISION_CONVS, tiny_convs

    state = {}
    for index, (weight, bias) in zip(TORCHVISION_CONVS, tiny_convs(), strict=True):
        state[f"features.{index}.weight"], state[f"features.{index}.bias"] = weight, bias
    save_file(state, path)


def write_job(folder: Path, photos: int = 2, styles: int = 2, **changes: Any) -> Path:
    """A folder with pictures, tiny weights and a job; ``changes`` replace top-level keys."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, count, offset in (("photos", photos, 0), ("styles", styles, 100)):
        (folder / kind).mkdir(exist_ok=True)
        for k in range(count):
            picture(offset + k).save(folder / kind / f"{kind[0]}{k}.png")
    write_weights(folder / "tiny.safetensors")
    recipe = {**TINY_RECIPE, "weights": "tiny.safetensors", **changes.pop("recipe", {})}
    spec = {
        "name": "test",
        "output": "out",
        "recipe": recipe,
        "pairs": [{"content": "photos/", "style": "styles/"}],
        **changes,
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


def write_stand_in_job(folder: Path, directives: Sequence[dict[str, Any]], **changes: Any) -> Job:
    """A job whose contents are directives for ``StandIn``, one file each, and one style."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for k, directive in enumerate(directives):
        names.append(f"c{k:03}.png")
        (folder / names[-1]).write_text(json.dumps(directive))
    (folder / "style.png").write_text("{}")
    write_weights(folder / "tiny.safetensors")
    spec = {
        "output": "out",
        "recipe": {**TINY_RECIPE, "weights": "tiny.safetensors"},
        "pairs": [{"content": names, "style": "style.png"}],
        **changes,
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return load_job(folder / "job.yaml")


def write_film_job(
    folder: Path, directives: Sequence[dict[str, Any]], *, first: int = 1001, **changes: Any
) -> Job:
    """A job of one film of one shot, whose frames are directives for ``StandIn``; ``changes`` replace keys of
    its entry, and with ``job`` those of the job."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shots").mkdir(exist_ok=True)
    for number, directive in enumerate(directives, first):
        (folder / "shots" / f"a.{number:04}.png").write_text(json.dumps(directive))
    (folder / "style.png").write_text("{}")
    write_weights(folder / "tiny.safetensors")
    spec = {
        "output": "out",
        "recipe": {**TINY_RECIPE, "weights": "tiny.safetensors"},
        **changes.pop("job", {}),
        "pairs": [
            {"film": "shots/a.####.png", "style": "style.png", "cuts": "none", **changes},
        ],
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return load_job(folder / "job.yaml")


class chained:  # noqa: N801 - used like a function
    """A digest that changes with every step, from ``state`` after so many steps or from the content."""

    def __init__(self, content: Any, step: int = 0, state: str = "") -> None:
        self.step = step
        # How long a step takes is no part of it.
        named = {key: value for key, value in content.items() if key not in ("pace", "hurry")}
        self.state = state or json.dumps(named, sort_keys=True)

    def __next__(self) -> None:
        self.step += 1
        self.state = hashlib.sha256(f"{self.state}{self.step}".encode()).hexdigest()


def hurry(job: Path | Job, number: int | None = None) -> None:
    """From now on the steps of the stand-in take no time, where its directives name ``HURRY``: what was to be
    seen has been seen. Or only those of the render that has this number, its "n"."""
    name = HURRY if number is None else f"{HURRY}-{number}"
    (job.parent if isinstance(job, Path) else job.base).joinpath(name).touch()


class StandIn:
    """A renderer that does what its content file says: {"seconds" or "steps" (of a hundredth of one), "fail",
    "die_once", "checkpoint" (at a step, or at "every" so many), "shape", "chain", "pace", "hurry"}. A mask's
    says {"doubt"}. With {"until": "name"} it paints for as long as no file of this name is beside the job.
    Any picture's may say {"decode"}: "exit", "kill", "crash", "hang", or "hold", to hang with Python's lock.

    A frame's picture has a digest of those that it holds to, under "held"; "root_steps" are the steps of one
    that holds to none.

    With "chain" the picture is a digest that every step changes, as ``chained`` computes it.

    With "pace" a step takes so many seconds. With "hurry" it takes none once the file of this name, or of
    this name, "-" and its "n", is beside the job file, so that a render lasts until the test has seen what it
    waits for, and no longer.

    Of a render that fails as diverged, "good" are the last good pictures; "concessions" are as they come. Its
    device has as much memory as the label "memory-gb" of its Ray node says.
    """

    versions: dict[str, str] = {}  # noqa: RUF012 - the protocol's attribute, never changed

    def __init__(self, base: str, threads: int | None, index: int = 0) -> None:
        self._base = Path(base)
        self.device = DeviceInfo("stand-in", _labelled_memory(), "1.0")
        self.painting = 0
        self.batches: list[int] = []
        """How many were painted together, each time."""

    @staticmethod
    def decode(
        data: bytes, name: str, image: ImageOptions | None = None, *, keep_opaque: bool = False
    ) -> Any:
        try:
            found = json.loads(data)
        except ValueError:
            raise PictureError(f"{name} is not a picture") from None
        match found.get("decode"):
            case "exit":
                os._exit(7)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(10_000)
            case "hold":
                ctypes.PyDLL(None).sleep(10_000)
        return found

    def decode_painted(self, data: bytes, name: str, image: ImageOptions) -> Any:
        return self.decode(data, name, image)

    def decode_mask(self, data: bytes, name: str) -> tuple[Any, str | None]:
        mask = self.decode(data, name)
        return mask, mask.get("doubt")

    def shape(self, picture: Any) -> Hashable:
        return picture.get("shape")

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        self.painting += 1
        assert self.painting == 1, "two renders hold the device at once"
        self.batches.append(len(orders))
        assert len({self.shape(order.content) for order in orders}) == 1
        try:
            contents = [order.content for order in orders]
            until = time.monotonic() + max(c.get("seconds", 0.0) for c in contents)
            gates = [self._base / c["until"] for c in contents if "until" in c]
            key = "steps" if orders[0].hold else "root_steps"
            steps = max(c.get(key, c.get("steps", 1_000_000)) for c in contents)
            for content in contents:
                self._misbehave(content)
            begin, _, state = (orders[0].resumption.checkpoint or b"0:").decode().partition(":")
            begin = int(begin)
            chains = [chained(content, begin, state) for content in contents]
            hurry = {
                self._base / name
                for content in contents
                if "hurry" in content
                for name in (content["hurry"], f"{content['hurry']}-{content['n']}")
            }
            hurries = any(file.exists() for file in hurry)
            pace = max(content.get("pace", 0.01) for content in contents)
            for order in orders:
                order.resumption.begin(begin)
            for step in range(begin, steps + 1):
                for order in orders:
                    layers = (1.0,) * len(order.task.recipe.style_layers)
                    order.observe([LossRow(32, step, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
                if should_stop():
                    raise InterruptedRender("stopped")
                for order, chain in zip(orders, chains, strict=True):
                    every = order.content.get("every")
                    if step == order.content.get("checkpoint") or (every and step % every == 0):
                        made = f"{step}:{chain.state}".encode()
                        order.resumption.offer(lambda made=made: made)
                timed = all("steps" not in content for content in contents)
                over = timed and time.monotonic() >= until
                if step == steps or (over and all(gate.exists() for gate in gates)):
                    break
                if not hurries:
                    time.sleep(pace)
                    hurries = any(file.exists() for file in hurry)
                for chain in chains:
                    next(chain)
            return [
                Painted(
                    {**c, **held_by(order), **({"chain": chain.state} if "chain" in c else {})},
                    tuple(c.get("concessions", ())),
                )
                for c, chain, order in zip(contents, chains, orders, strict=True)
            ]
        finally:
            self.painting -= 1

    def thumbnail(self, picture: Any, image: ImageOptions, longest: int, quality: int) -> bytes:
        return b"small"

    @staticmethod
    def find_motion(frames: Iterable[Any], way: str = "dis") -> bytes:
        return json.dumps(list(frames), sort_keys=True).encode()

    @staticmethod
    def pack_motion(
        frame: Any, files: Iterable[tuple[tuple[str, bytes], tuple[str, bytes]]]
    ) -> bytes:
        names = [[forward[0], backward[0]] for forward, backward in files]
        return json.dumps({"frame": frame, "files": names}).encode()

    def hold(
        self,
        content: Any,
        place: int,
        references: Sequence[Reference],
        motions: Sequence[bytes],
        recipe: Recipe,
    ) -> Hold:
        stretches = [json.loads(motion) for motion in motions]
        if isinstance(stretches[0], list):
            frames = stretches[0] + [frame for more in stretches[1:] for frame in more[1:]]
            assert all(one[-1] == other[0] for one, other in pairwise(stretches))
            assert frames[place] == content
            assert all(frames[one.place] == one.content for one in references)
        return Hold([(one.index, one.picture) for one in references], recipe, 0.75, None)

    def encode(self, picture: Any, image: ImageOptions, about: Mapping[str, str]) -> Encoded:
        return Encoded(json.dumps(picture, sort_keys=True).encode(), "png", "image/png", 1, 1)

    def _misbehave(self, content: Any) -> None:
        fail = content.get("fail")
        if fail == "diverged":
            error = DivergedError("the loss became nan")
            error.pictures = tuple(content.get("good", ()))
            raise error
        if fail == "memory":
            raise MemoryError
        if fail == "limit":
            raise MemoryLimitError("out of memory: 9 x 9 px take about 1.0 GB; use a smaller size")
        if fail == "bug":
            raise KeyError("nobody foresaw this")
        if fail == "die":
            os.kill(os.getpid(), 9)
        if fail == "hang":
            time.sleep(10_000)
        once = content.get("die_once")
        if once and not (self._base / once).exists():
            (self._base / once).touch()
            os.kill(os.getpid(), 9)


class Echo(StandIn):
    """A renderer whose pictures are their contents, as they were read. A file ``fail-<name>`` beside the job
    file has the content of this name, without its ending, fail."""

    def decode(
        self,
        data: bytes,
        name: str,
        image: ImageOptions | None = None,
        *,
        keep_opaque: bool = False,
    ) -> Any:
        from stylize.pictures.codec import decode

        if (self._base / f"fail-{Path(name).stem.rpartition('::')[2]}").exists():
            return "the loss became nan"
        return decode(data, name, keep_opaque=keep_opaque)

    def shape(self, picture: Any) -> Hashable:
        return picture if isinstance(picture, str) else tuple(picture.rgb.shape)

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        for order in orders:
            if isinstance(order.content, str):
                raise DivergedError(order.content)
            order.resumption.begin(0)
            layers = (1.0,) * len(order.task.recipe.style_layers)
            order.observe([LossRow(32, 0, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
        return [Painted(order.content, ()) for order in orders]

    def find_motion(self, frames: Iterable[Any], way: str = "dis") -> bytes:
        return b"none"

    def hold(
        self,
        content: Any,
        place: int,
        references: Sequence[Reference],
        motion: bytes,
        recipe: Recipe,
    ) -> Hold:
        return Hold([], recipe, 0.75, None)

    def encode(self, picture: Any, image: ImageOptions, about: Mapping[str, str]) -> Encoded:
        from stylize.pictures.codec import CONTENT_TYPES, EXTENSIONS, encode

        data = encode(picture, image.format, image.quality, image.bit_depth, gamut=image.profile)
        height, width = picture.rgb.shape[2:]
        return Encoded(data, EXTENSIONS[image.format], CONTENT_TYPES[image.format], width, height)


def held_by(order: Order) -> dict[str, str]:
    """What a frame's picture says of those that it holds to; empty: it holds to none."""
    if order.hold is None:
        return {}
    text = json.dumps(order.hold.kept, sort_keys=True)
    return {"held": hashlib.sha256(text.encode()).hexdigest()}


def _labelled_memory() -> int | None:
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    gigabytes = ray.get_runtime_context().get_node_labels().get("memory-gb")
    return None if gigabytes is None else int(float(gigabytes) * 1e9)


STAND_IN = f"{__name__}:StandIn"
ECHO = f"{__name__}:Echo"


def attempt(worker: Worker, task: Task, attempt_id: str = "1-aa", **how: Any) -> Outcome:
    """Have a worker make one attempt."""
    (outcome,) = worker.run([Assignment(task, attempt_id, **how)])
    return outcome


def setup_of(job: Job, renderer: str = STAND_IN, **changes: Any) -> WorkerSetup:
    """What a worker of a job is told."""
    spec = job.spec
    storage = open_storage(spec.output, spec.storage, base=job.base)
    return WorkerSetup(
        output=storage.url,
        storage=spec.storage,
        base=str(job.base),
        inputs=spec.inputs,
        image=spec.image,
        renderer=renderer,
        **{"losses_every": spec.losses.every, **changes},
    )


def stylefarm(
    *arguments: str | Path,
    timeout: float = PATIENCE * 120,
    settings: forked.Settings = MappingProxyType({}),
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with ``settings`` of modules as ``forked.begin`` has them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    if sys.platform == "linux" and not any(name.startswith(forked.READ_EARLY) for name in env):
        return forked.run([*map(str, arguments)], environment, settings, timeout)
    return subprocess.run(
        command(*arguments, settings=settings),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )


def command(*arguments: str | Path, settings: forked.Settings = MappingProxyType({})) -> list[str]:
    """The command line of ``stylefarm`` with this very Python, and with ``settings`` as of ``stylefarm``."""
    if not settings:
        return [sys.executable, "-m", "cluster.cli", *map(str, arguments)]
    lines = [
        f"import {name.rpartition('.')[0]}\n{name} = {value!r}" for name, value in settings.items()
    ]
    lines += ["from cluster.cli.app import main", "main()"]
    return [sys.executable, "-c", "\n".join(lines), *map(str, arguments)]


def records_of(job: Path | Job) -> dict[str, TaskRecord]:
    """The records in a job's output, by the name of their content file."""
    loaded = load_job(job) if isinstance(job, Path) else job
    storage = open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)
    return {f"{Path(r.content).name}|{r.name}|{r.id}": r for r in Records(storage).all()}


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``condition`` returns once it is true; fails the test when that takes far too long."""
    until = time.monotonic() + PATIENCE * seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"still waiting after {PATIENCE * seconds} s")
