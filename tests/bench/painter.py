"""The painter against its peers, side by side: ``python tests/bench/painter.py [rows]``.

Needs ``pip install -e '.[bench]'``. Every row runs both sides in turn in this one call and prints their
ratio beside the target; what the machine does in between hits both. All rows take about an hour on two
cores; name some to run only these. With ``--json FILE`` the figures are written, too.

    steps      seconds a step at 256 and 512 px, against pastiche and neural-style
    strips     what strips cost in time, at 1024 px
    memory     bytes a pixel: slope of the peak resident size from 512 to 1024 to 2048 px
    start      process start to first step, against pastiche
    together   four pictures of 128 px at once against one after another
    notebook   time to the loss that the notebook's Adam has after 2,000 steps, 128 px
    thirty     the same after 30,000 steps, 96 px; its curve is data (``painter.py curve`` made it)
    neural     time to the loss that neural-style has after 500 L-BFGS iterations, 256 px
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CURVE = HERE / "data" / "notebook-96px.csv"
CURVE_STEPS = 30_000


@dataclass
class Figure:
    """One measured ratio and what it should be."""

    row: str
    what: str
    ours: float
    theirs: float
    ratio: float
    target: str
    met: bool


def write_pictures(folder: Path) -> tuple[Path, Path]:
    """A photo from scikit-image and a painting of the project's own, both square."""
    from PIL import Image
    from skimage import data

    from jobs.examples.paintings import draw

    content, style = folder / "content.png", folder / "style.png"
    Image.fromarray(data.astronaut()).save(content)
    painting = draw("flow")
    side = min(painting.size)
    painting.crop((0, 0, side, side)).convert("RGB").save(style)
    return content, style


def ours(content: Path, style: Path, knobs: dict[str, Any], **more: Any) -> list[list[float]]:
    """[seconds since process start, loss] of every step of a render in a process of its own."""
    done = _python(["painter.py", "render", str(content), str(style), json.dumps(knobs)], more)
    return [json.loads(line) for line in done.splitlines()]


def theirs(peer: str, content: Path, style: Path, size: int, steps: int, optimizer: str) -> Any:
    """The same of a peer."""
    done = _python(["peers.py", peer, str(content), str(style), str(size), str(steps), optimizer])
    return [json.loads(line) for line in done.splitlines()]


def _python(words: Sequence[str], environment: dict[str, Any] | None = None) -> str:
    env = {**os.environ, **{k: str(v) for k, v in (environment or {}).items()}}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), env.get("PYTHONPATH", "")])
    script, *rest = words
    done = subprocess.run(
        [sys.executable, str(HERE / script), *rest], env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def render(content: str, style: str, knobs: str) -> None:
    """What ``ours`` runs: prints a line for every step, and last the peak resident size in bytes."""
    began = time.perf_counter()
    from stylize import Recipe, stylize

    recipe = Recipe.model_validate(json.loads(knobs))
    rows: list[tuple[float, float]] = []
    offset: list[float] = []

    def observe(steps: Any) -> None:
        rows.extend((step.seconds, step.total) for step in steps)

    before = time.perf_counter() - began
    stylize(content, style, recipe, observer=observe)
    offset.append(before)
    for seconds, total in rows:
        print(json.dumps([seconds + before, total]))


def per_step(rows: Sequence[Sequence[float]]) -> float:
    """The median gap between evaluations, the first two left out."""
    times = [row[0] for row in rows][1:]
    return statistics.median(b - a for a, b in itertools.pairwise(times))


# -- rows --------------------------------------------------------------------------------------------

SAME_TAPS = {"preset": "neural-style", "init": "content", "optimizer": "adam", "learning_rate": 1.0}


def steps(content: Path, style: Path) -> list[Figure]:
    """Adam on all sides; the same layers are looked at."""
    figures = []
    targets = {"float32": 0.8, "auto": 0.55}  # the latter where bfloat16 is faster
    for size, count, rounds in ((256, 12, 3), (512, 8, 2)):
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for precision in targets:
                knobs = {**SAME_TAPS, "size": size, "steps": count, "strips": "off"}
                found = per_step(ours(content, style, {**knobs, "precision": precision}))
                seconds[precision].append(found)
            for peer in ("pastiche", "neural-style"):
                seconds[peer].append(per_step(theirs(peer, content, style, size, count, "adam")))
        best = {name: min(found) for name, found in seconds.items()}
        for peer, (precision, target) in itertools.product(
            ("pastiche", "neural-style"), targets.items()
        ):
            ratio = best[precision] / best[peer]
            what = f"seconds a step at {size} px in {precision}, against {peer}"
            text = f"<= {target}"
            figures.append(
                Figure("steps", what, best[precision], best[peer], ratio, text, ratio <= target)
            )
    return figures


def strips(content: Path, style: Path) -> list[Figure]:
    """The same render with and without."""
    seconds: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(3):
        for how, found in seconds.items():
            knobs = {**SAME_TAPS, "size": 1024, "steps": 5, "strips": how}
            found.append(per_step(ours(content, style, knobs)))
    on, off = min(seconds["on"]), min(seconds["off"])
    what = "seconds a step at 1024 px, strips on against off"
    return [Figure("strips", what, on, off, on / off, "<= 1.4", on / off <= 1.4)]


def memory(content: Path, style: Path) -> list[Figure]:
    """Peak resident size of whole processes, Adam, and how right the prediction is."""
    from stylize import Recipe
    from stylize.memory import predict_bytes
    from stylize.network.strips import ALL_BLOCKS

    figures = []
    peaks: dict[tuple[int, str], int] = {}
    for size in (512, 1024, 2048):
        for how in ("on", "off"):
            knobs = {**SAME_TAPS, "size": size, "steps": 1, "strips": how}
            words = ["painter.py", "peak", str(content), str(style), json.dumps(knobs)]
            peaks[size, how] = int(_python(words))
            predicted = predict_bytes(
                Recipe(**knobs), size, size, strips=ALL_BLOCKS if how == "on" else 0
            )
            ratio = predicted / peaks[size, how]
            what = f"bytes at {size} px, strips {how}, predicted against measured"
            figures.append(
                Figure(
                    "memory",
                    what,
                    predicted,
                    peaks[size, how],
                    ratio,
                    "0.85 to 1.15",
                    abs(ratio - 1) <= 0.15,
                )
            )
    for small, large in ((512, 1024), (1024, 2048)):
        for how, target in (("on", 700.0), ("off", None)):
            slope = (peaks[large, how] - peaks[small, how]) / (large**2 - small**2)
            figures.append(
                Figure(
                    "memory",
                    f"bytes a pixel from {small} to {large} px, strips {how}",
                    slope,
                    700,
                    slope / 700,
                    "<= 700" if target else "(for comparison)",
                    target is None or slope <= target,
                )
            )
    return figures


def peak(content: str, style: str, knobs: str) -> None:
    """What ``memory`` runs: prints the peak resident size of this process, in bytes."""
    import resource

    from stylize import Recipe, stylize

    stylize(content, style, Recipe.model_validate(json.loads(knobs)))
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(kilobytes if platform.system() == "Darwin" else kilobytes * 1024)


def start(content: Path, style: Path) -> list[Figure]:
    """Both with caffe weights, files warm; the process's own start is part of it."""
    seconds: dict[str, list[float]] = {"ours": [], "pastiche": []}

    def first(run: Callable[[], Any]) -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    knobs = {**SAME_TAPS, "size": 64, "steps": 1}
    for _ in range(3):
        seconds["ours"].append(first(lambda: ours(content, style, knobs)))
        seconds["pastiche"].append(first(lambda: theirs("pastiche", content, style, 64, 1, "adam")))
    mine, peer = (statistics.median(seconds[name]) for name in ("ours", "pastiche"))
    what = "seconds from process start through one step at 64 px, against pastiche"
    return [Figure("start", what, mine, peer, mine / peer, "<= 0.5", mine / peer <= 0.5)]


def together(content: Path, style: Path) -> list[Figure]:
    """Four different parts of the photo, as pictures of 128 px."""
    from PIL import Image

    from stylize import Recipe, stylize

    photo = Image.open(content)
    side = photo.width // 2
    corners = [(x, y, x + side, y + side) for x in (0, side) for y in (0, side)]
    pictures = [photo.crop(corner) for corner in corners]
    network = _network()
    figures = []
    for preset in ("studio", "neural-style"):
        recipe = Recipe(preset=preset, size=128, start_size=None, steps=20)
        apart, joint = [], []
        for _ in range(3):
            apart.append(
                sum(stylize(one, str(style), recipe, network=network).seconds for one in pictures)
            )
            joint.append(stylize(pictures, [str(style)] * 4, recipe, network=network).seconds)
        one_by_one, at_once = min(apart), min(joint)
        ratio = one_by_one / at_once
        what = f"4 pictures of 128 px with {preset}, one after another against together"
        figures.append(Figure("together", what, at_once, one_by_one, ratio, ">= 1.1", ratio >= 1.1))
    return figures


NOTEBOOK = {"preset": "notebook", "weights": "caffe", "size": 128}
FAST = {"optimizer": "lbfgs", "learning_rate": 1.0, "preconditioner": "frequency", "history": 20}


def notebook(content: Path, style: Path) -> list[Figure]:
    """The notebook's objective; its own optimiser runs in this painter, whose steps are the faster."""
    slow = ours(content, style, {**NOTEBOOK, "steps": 2000})
    target = slow[-1][1]
    found = []
    for name, knobs in (
        ("plain L-BFGS", {"steps": 120, "preconditioner": "none"}),
        ("L-BFGS as in studio", {"steps": 90}),
        ("the same, 64 > 128 px", {"start_size": 64, "steps": 60, "refine_steps": 60}),
    ):
        quick = ours(content, style, {**NOTEBOOK, **FAST, **knobs})
        found.append(_race("notebook", f"{name}: {{}} steps", quick, slow, target, 1 / 30))
    return found


def thirty(content: Path, style: Path) -> list[Figure]:
    """Against the stored curve; a step's time is measured now, on both sides."""
    if not CURVE.is_file():
        raise SystemExit(f"{CURVE} is missing; python tests/bench/painter.py curve writes it")
    with CURVE.open() as lines:
        last = list(csv.DictReader(lines))[-1]
    knobs = {**NOTEBOOK, "size": 96}
    sample = ours(content, style, {**knobs, "steps": 60})
    whole = sample[0][0] + per_step(sample) * int(last["step"])
    slow = [[0.0, math.inf], [whole, float(last["total"])]]
    found = []
    for name, more, target in (
        (
            "plain L-BFGS (history 50)",
            {"steps": 1500, "history": 50, "preconditioner": "none"},
            1 / 20,
        ),
        ("L-BFGS as in studio", {"steps": 900}, 1 / 50),
        (
            "the same, 48 > 68 > 96 px",
            {"start_size": 48, "size_factor": 2**0.5, "steps": 200, "refine_steps": 420},
            1 / 50,
        ),
    ):
        quick = ours(content, style, {**knobs, **FAST, **more})
        found.append(
            _race("thirty", f"{name}: {{}} steps", quick, slow, float(last["total"]), target)
        )
    return found


def neural(content: Path, style: Path) -> list[Figure]:
    """neural-style's objective, which in the release on PyPI has an absolute total variation."""
    from PIL import Image

    # At the size they are painted: no side resizes them, each in its own way.
    content, style = (path.with_stem(f"{path.stem}-256") for path in (content, style))
    for path in (content, style):
        source = path.with_stem(path.stem.removesuffix("-256"))
        Image.open(source).resize((256, 256), Image.Resampling.LANCZOS).save(path)
    slow = theirs("neural-style", content, style, 256, 500, "lbfgs")
    # Its pixels are 0 to 256 where ours are 0 to 255, and squared Gram matrices go with their fourth power.
    target = min(loss for _, loss in slow) / (256 / 255) ** 4
    quick = ours(
        content,
        style,
        {
            "preset": "neural-style",
            **FAST,
            "tv": "absolute",
            "size": 256,
            "init": "content",
            "history": 100,
            "steps": 340,
        },
    )
    what = "L-BFGS as in studio from the photo, history 100: {} steps"
    return [_race("neural", what, quick, slow, target, 0.5)]


def _race(row: str, what: str, quick: Any, slow: Any, target: float, wanted: float) -> Figure:
    """Wall time until ``quick``, at its last size, is at the target, against all of ``slow``'s."""
    whole = slow[-1][0] - slow[0][0]
    reached = [(k, seconds) for k, (seconds, loss) in enumerate(quick) if loss <= target]
    # A coarse size's loss is that of another picture: only what comes after the last above counts.
    above = max((k for k, (_, loss) in enumerate(quick) if loss > target), default=-1)
    after = [(k, seconds) for k, seconds in reached if k > above]
    if not after:
        lowest = min(loss for _, loss in quick)
        what = what.format(
            f"not reached, {lowest / target:.2f} times the loss after {len(quick) - 1}"
        )
        return Figure(row, what, math.inf, whole, math.inf, f"<= {wanted:.3f}", False)
    step, seconds = after[0]
    mine = seconds - quick[0][0]
    ratio = mine / whole
    return Figure(row, what.format(step), mine, whole, ratio, f"<= {wanted:.3f}", ratio <= wanted)


def curve() -> None:
    """Write the notebook's 30,000 steps at 96 px, every hundredth, as data."""
    from stylize import Recipe, stylize

    with tempfile.TemporaryDirectory() as folder:
        content, style = write_pictures(Path(folder))
        CURVE.parent.mkdir(exist_ok=True)
        with CURVE.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["step", "total"])

            def observe(rows: Any) -> None:
                writer.writerows([r.step, f"{r.total:.6g}"] for r in rows if r.step % 100 == 0)
                stream.flush()

            knobs = {**NOTEBOOK, "size": 96, "steps": CURVE_STEPS}
            stylize(str(content), str(style), Recipe.model_validate(knobs), observer=observe)


def _network() -> Any:
    from stylize import Recipe
    from stylize.network.vgg19 import load_vgg19
    from stylize.network.weights import identify

    return load_vgg19(identify(Recipe()))


ROWS: dict[str, Callable[[Path, Path], list[Figure]]] = {
    "steps": steps,
    "strips": strips,
    "memory": memory,
    "start": start,
    "together": together,
    "notebook": notebook,
    "thirty": thirty,
    "neural": neural,
}


def main() -> None:
    """Run the rows that were asked for."""
    internal = {"render": render, "peak": peak, "curve": curve}
    if len(sys.argv) > 1 and sys.argv[1] in internal:
        internal[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        content, style = write_pictures(Path(folder))
        for row in options.rows or ROWS:
            for figure in ROWS[row](content, style):
                figures.append(figure)
                mark = "met   " if figure.met else "MISSED"
                print(
                    f"{mark} {figure.row:9} {figure.what}: {figure.ours:.4g} / {figure.theirs:.4g} = "
                    f"{figure.ratio:.3f} (target {figure.target})",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps([asdict(f) for f in figures], indent=1))


if __name__ == "__main__":
    main()
