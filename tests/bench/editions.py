"""The painter beside another checkout: ``python tests/bench/editions.py --beside CHECKOUT [rows] [options]``.

Needs ``pip install -e '.[bench]'``. Everything is done in turn, in processes of their own, with what is
installed here and the code of one checkout or the other. All rows take about an hour on two cores.

    time256, time512  whole renders of studio: wall time, and the loss of the finished pictures by the
                      float32 ruler of the other checkout; with the default precision and with float32
    memory            bytes per pixel of the peak resident size in strips, from 1024 to 2048 px
    operations        operations started per step on a device other than the CPU
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio import pairs

ROOT = Path(__file__).resolve().parents[2]
VIEWS = frozenset(
    {
        *("view", "_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "diagonal"),
        *("expand", "permute", "select", "slice", "split", "squeeze", "t", "transpose", "unbind"),
        *("unsqueeze", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        "device",
    }
)
"""Calls that start no kernel."""


# -- what runs in the process of one checkout --------------------------------------------------------


def paint(content: str, style: str, knobs: str, out: str) -> None:
    """Render a picture, save it as numbers, and print seconds and peak resident bytes."""
    import numpy as np

    from stylize import Recipe, stylize

    began = time.perf_counter()
    result = stylize(content, style, Recipe.model_validate(json.loads(knobs)), device="cpu")
    seconds = time.perf_counter() - began
    np.save(out, result.picture.rgb[0].numpy())
    result.save(Path(out).with_suffix(".png"))
    status = Path("/proc/self/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "peak": int(peak) * 1024}))


def judge(content: str, style: str, size: str, *painted: str) -> None:
    """Print the float32 loss of finished pictures: that before the first step of a render from each."""
    import numpy as np
    import torch

    from stylize import Recipe, stylize

    made = Recipe(size=int(size), start_size=None, steps=1, init="image", precision="float32")
    losses = []
    for path in painted:
        rows: list[Any] = []
        picture = torch.from_numpy(np.load(path))
        stylize(content, style, made, init=picture, device="cpu", observer=rows.extend)
        losses.append(rows[0].total)
    print(json.dumps(losses))


def operations(precision: str) -> None:
    """Print the operations of a late step of studio at 256 px, counted on a device that only Python knows."""
    from unittest.mock import patch

    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils import backend_registration
    from torch.utils._python_dispatch import TorchDispatchMode

    from stylize import Recipe
    from stylize.losses.objective import Objective
    from stylize.network.vgg19 import VGG19
    from stylize.optimise.guard import Guard
    from stylize.pictures.pixel_spaces import CAFFE
    from stylize.recipe import Segment
    from stylize.render.recorder import Recorder
    from stylize.render.steps import descend
    from tests.stylize.support import tiny_convs

    device = "pythonsown"
    backend_registration._setup_privateuseone_for_python_backend(device)
    counted: Counter[str] = Counter()
    at_steps: list[int] = []

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = func.name().partition("::")[2].partition(".")[0]
            counted[name] += name not in VIEWS
            return func(*args, **(kwargs or {}))

    class Marking(Recorder):
        def tick(self, *args: Any) -> None:
            at_steps.append(counted.total())
            super().tick(*args)

        def flush(self) -> None:
            pass

    class Ended(Exception):  # noqa: N818
        pass

    class Ending(Guard):
        def finish(self, x: Any, total_B: Any) -> Any:
            raise Ended

    with FakeTensorMode(allow_non_fake_inputs=True):
        network = VGG19([(w.to(device), b.to(device)) for w, b in tiny_convs()], CAFFE)
        recipe = Recipe(size=256, start_size=None, precision=precision)  # type: ignore[arg-type]
        content, style = (torch.rand(1, 3, 256, w, device=device) for w in (272, 200))
        with patch("stylize.losses.objective.target_key", lambda *_: object()):
            objective = Objective(network, recipe, content, [[(style, 1.0)]])
        x = torch.rand(1, 3, 256, 272, device=device).requires_grad_()
        recorder = Marking(0.0, None, float("inf"), None)
        try:
            with Counting():
                descend(x, objective, Segment(256, 26, True, True), Ending(x), recorder)
        except Ended:
            pass
    print(at_steps[-1] - at_steps[-2])


# -- both in turn ------------------------------------------------------------------------------------


def run(checkout: Path, *words: object) -> Any:
    """What a function of this file prints in a process with the code of a checkout, as JSON."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), str(Path(__file__).parent)])}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)],
        env=env,
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{words} failed in {checkout}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def times(here: Path, there: Path, both: Sequence[tuple[Path, Path]], size: int, out: Path) -> None:
    """Whole renders of all pairs; prints each, and the ratio of the sums."""
    ways = {"there": (there, {}), "auto": (here, {}), "float32": (here, {"precision": "float32"})}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}
    for number, (content, style) in enumerate(both):
        files = {name: out / f"{size}-{number}-{name}.npy" for name in ways}
        for name, (checkout, knobs) in ways.items():
            made = json.dumps({"size": size, **knobs})
            seconds[name].append(
                run(checkout, "paint", content, style, made, files[name])["seconds"]
            )
        found = run(there, "judge", content, style, size, *files.values())
        for name, loss in zip(ways, found, strict=True):
            losses[name].append(loss / found[0])
        line = ", ".join(
            f"{name} {seconds[name][-1]:.1f} s {100 * losses[name][-1] - 100:+.2f}%"
            for name in ways
        )
        print(f"{size} px, {content.stem} in {style.stem}: {line}", flush=True)
    for name, target in (("auto", 0.5), ("float32", 0.75)):
        ratio = sum(seconds[name]) / sum(seconds["there"])
        loss = 100 * statistics.mean(losses[name]) - 100
        print(f"{size} px, {name}: {ratio:.3f} of the time (target {target}), loss {loss:+.2f}%")


def memory(here: Path, there: Path, pair: tuple[Path, Path], out: Path) -> None:
    """Slopes of the peak resident size."""
    slopes = {}
    for name, checkout in (("here", here), ("there", there)):
        peaks = [
            run(
                checkout,
                "paint",
                *_square(pair, size, out),
                json.dumps({"size": size, "start_size": None, "steps": 2, "strips": "on"}),
                out / "peak.npy",
            )["peak"]
            for size in (1024, 2048)
        ]
        slopes[name] = (peaks[1] - peaks[0]) / (2048**2 - 1024**2)
        print(f"{name}: {peaks[0] / 2**20:.0f} MiB at 1024 px, {peaks[1] / 2**20:.0f} at 2048 px")
    ratio = slopes["here"] / slopes["there"]
    print(
        f"bytes per pixel: {slopes['here']:.0f} / {slopes['there']:.0f} = {ratio:.3f} (target 0.333)"
    )


def _square(pair: tuple[Path, Path], size: int, out: Path) -> list[Path]:
    from PIL import Image

    files = []
    for path in pair:
        files.append(out / f"{path.stem}-{size}.png")
        Image.open(path).convert("RGB").resize((size, size)).save(files[-1])
    return files


def main() -> None:
    """Run the rows that were asked for."""
    internal = {"paint": paint, "judge": judge, "operations": operations}
    if len(sys.argv) > 2 and sys.argv[1] in internal:
        internal[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = ["time256", "time512", "memory", "operations"]
    parser.add_argument("rows", nargs="*", choices=[*rows, []], help="default: all")
    parser.add_argument(
        "--beside", type=Path, required=True, help="another checkout of this project"
    )
    parser.add_argument("--pictures", type=Path, help="a folder with photos/ and paintings/")
    parser.add_argument("--out", type=Path, help="keep the pictures there")
    asked = parser.parse_args()
    there = asked.beside.resolve()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(asked.out or folder)
        out.mkdir(parents=True, exist_ok=True)
        both = pairs(asked.pictures, Path(folder))
        for row in asked.rows or rows:
            if row.startswith("time"):
                times(ROOT, there, both, int(row.removeprefix("time")), out)
            elif row == "memory":
                memory(ROOT, there, both[0], out)
            else:
                for precision in ("float32", "bfloat16"):
                    mine, its = (run(tree, "operations", precision) for tree in (ROOT, there))
                    print(f"{precision}: {mine} / {its} = {mine / its:.3f} operations (target 0.5)")


if __name__ == "__main__":
    main()
