"""What the tests of the floor share: jobs on disk, tiny weights, the command, stand-in renderers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from cluster.renderer import Encoded, Observe, Painted, Resumption, ShouldStop, StyleParts
from jobs.load import Job, load_job
from jobs.losslog import LossRow
from jobs.records import Records
from jobs.spec import ImageOptions
from jobs.storage import open_storage
from jobs.tasks import Task, TaskRecord
from stylize.errors import DivergedError, InterruptedRender, MemoryLimitError, PictureError

ROOT = Path(__file__).resolve().parents[1]

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


class StandIn:
    """A renderer that does what its content file says: {"seconds" or "steps" (of a hundredth of one), "fail",
    "die_once", "checkpoint"}.

    Of a render that fails as diverged, "good" are the last good pictures; "concessions" are as they come.
    """

    device = "stand-in"
    versions: dict[str, str] = {}  # noqa: RUF012 - the protocol's attribute, never changed
    painting = 0

    def __init__(self, base: str, threads: int | None) -> None:
        self._base = Path(base)

    def decode(self, data: bytes, name: str) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            raise PictureError(f"{name} is not a picture") from None

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
        StandIn.painting += 1
        assert StandIn.painting == 1, "two renders hold the device at once"
        try:
            until = time.monotonic() + content.get("seconds", 0.0)
            steps = content.get("steps", 1_000_000)
            self._misbehave(content)
            begin = int(resumption.found or b"0")
            resumption.begin(begin)
            for step in range(begin, steps + 1):
                layers = (1.0,) * len(task.recipe.style_layers)
                observe([LossRow(32, step, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
                if should_stop():
                    raise InterruptedRender("stopped")
                if step == content.get("checkpoint"):
                    resumption.offer(str(step).encode)
                if step == steps or ("steps" not in content and time.monotonic() >= until):
                    break
                time.sleep(0.01)
            return Painted(content, tuple(content.get("concessions", ())))
        finally:
            StandIn.painting -= 1

    def encode(self, picture: Any, image: ImageOptions) -> Encoded:
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
        once = content.get("die_once")
        if once and not (self._base / once).exists():
            (self._base / once).touch()
            os.kill(os.getpid(), 9)


STAND_IN = f"{__name__}:StandIn"


def stylefarm(
    *arguments: str | Path, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        check=False,
    )


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``stylefarm`` with this very Python."""
    return [sys.executable, "-m", "cluster.cli", *map(str, arguments)]


def records_of(job: Path | Job) -> dict[str, TaskRecord]:
    """The records in a job's output, by the name of their content file."""
    loaded = load_job(job) if isinstance(job, Path) else job
    storage = open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)
    return {f"{Path(r.content).name}|{r.name}|{r.id}": r for r in Records(storage).all()}


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``condition`` returns once it is true; fails the test when that takes too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"still waiting after {seconds} s")
