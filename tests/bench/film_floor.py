"""Films on the floor: ``python tests/bench/film_floor.py [row ...]``.

What a film costs the floor, and how much sooner it is done on more workers. Frames that hold to others take
half of the time of those that do not. Nothing here is a figure of a GPU.

    simulated   makespan of one shot of 64 frames on 1 to 64 workers, in simulated time: driver, backlog and
                what frames hold to are the real ones; renders of 60 s, almost alike or spread by a third,
                fetching and storing of 0.5 s each
                (target: on 8 at least 5 times shorter than on 1)
    shots       the same of 1,000 frames in shots of 64, on up to 256 workers
    makespan    one shot of 64 frames on 8 workers against 1, on real Ray actors that sleep, 8 s for a root
                (target: at least 5 times shorter)
    finding     makespan of one shot of 257 frames in simulated time, with motion found by the workers that
                need it, and ahead on two cores
    ahead       one shot of 33 frames of 640 x 360 on one worker that sleeps, 2 s for a root, beside a free
                core: with motion found ahead, and by the worker, in turn
    memory      the driver's at 1,000 and at 10,000 frames of one shot (target: flat within 50 MB)
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cluster.worker.renderer import Order, Painted, Painter, ShouldStop  # noqa: E402
from jobs.records.loss_log import LossRow  # noqa: E402
from jobs.tasks.films.frames import Numbered, named_frames  # noqa: E402
from jobs.tasks.films.spots import Shots, spots  # noqa: E402
from jobs.tasks.films.stretch import Stretch, stretches_of  # noqa: E402
from jobs.tasks.identity import Draft, Kind  # noqa: E402
from jobs.tasks.task import Task, make_task  # noqa: E402
from tests.bench import floor  # noqa: E402
from tests.bench.floor import Floor, Sleeper, tell  # noqa: E402
from tests.bench.floor_simulation import (  # noqa: E402
    RECIPE,
    STYLE,
    Clock,
    SimulatedPool,
    World,
    simulate_run,
)

CHILD = 0.5
"""The time of a frame that holds to others, of that of one that does not."""


class FilmSleeper(Sleeper):
    """A renderer that sleeps, half as long for frames that hold to others."""

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        for order in orders:
            order.resumption.begin(0)
            time.sleep(order.content.get("paint", 0.0) * (CHILD if order.hold else 1.0))
        return [Painted(order.content) for order in orders]

    def encode(self, picture, image, about):  # type: ignore[no-untyped-def]
        encoded = super().encode(picture, image, about)
        return encoded.__class__(json.dumps(picture).encode(), "png", "image/png", 1, 1)


class FilmPool(SimulatedPool):
    """A simulated pool in which frames that hold to others take half of the time."""

    def part_of(self, task: Task) -> float:
        return CHILD if task.part is not None and task.part.needs else 1.0


class EvenPool(FilmPool):
    """The same, with renders that take almost as long as each other, as frames of one film do."""

    def __init__(self, world: World, clock: Clock) -> None:
        super().__init__(world, clock)
        spread = self._random.uniform
        self._random.uniform = lambda low, high: spread(0.99, 1.01)  # type: ignore[method-assign]


def frames_of(shots: Shots) -> Iterator[Task]:
    frames = named_frames(Numbered("a.", 6, ".png"), range(shots[-1][1]))
    kind, numbers = Kind(RECIPE, "digest"), dict[int, int]()
    for spot in spots(frames, shots):
        needs = [numbers[need] for need in spot.needs]
        draft = Draft(frames.uris[spot.index], STYLE, None, kind, spot=spot, needs=needs)
        numbers[spot.index] = draft.number
        yield make_task(draft, "{film}.{number}")


FOUND_IN = 6.0
"""Seconds in which a core reads 17 frames of 1080p and finds the motion between them."""


class FindingPool(EvenPool):
    """The same, where motion is found by whoever needs it and finds none, or ahead by so many cores, in the
    order in which it will be needed."""

    cores = 0

    def __init__(self, world: World, clock: Clock) -> None:
        super().__init__(world, clock)
        self._found: dict[Stretch, float] = {}
        for number, stretch in enumerate(self.order if self.cores else ()):
            self._found[stretch] = FOUND_IN * (number // self.cores + 1)

    order: Sequence[Stretch] = ()

    def fetch_of(self, task: Task) -> float:
        seconds, now = super().fetch_of(task), self._clock.now
        for stretch in () if task.part is None or not task.part.needs else stretches_of(task.part):
            if self._found.get(stretch, math.inf) > now + seconds:
                seconds += FOUND_IN
                self._found[stretch] = min(self._found.get(stretch, math.inf), now + seconds)
        return seconds


def finding() -> None:
    shots: Shots = [(0, 257)]
    order = dict.fromkeys(
        stretch
        for task in frames_of(shots)
        if task.part is not None
        for stretch in stretches_of(task.part)
    )
    for root in (60.0, 10.0, 3.0):
        for workers in (1, 8, 16):
            spans = {}
            for cores in (0, 2):
                pool = type("Pool", (FindingPool,), {"cores": cores, "order": tuple(order)})
                world = World(257, workers, root, lost_an_hour=0.0)
                spans[cores] = simulate_run(world, frames_of(shots), pool).makespan
            row = f"a root in {root:g} s, {workers} workers"
            tell("finding", f"{row}, by workers", spans[0], "s", "", None)
            tell("finding", "  ahead on 2 cores, of that", spans[2] / spans[0], "", "", None)


def _simulated(shots: Shots, workers: Sequence[int]) -> None:
    for what, make_pool in (("alike", EvenPool), ("spread", FilmPool)):
        alone = 0.0
        for count in workers:
            world = World(shots[-1][1], count, 60.0, lost_an_hour=0.0)
            result = simulate_run(world, frames_of(shots), make_pool)
            assert result.done == shots[-1][1]
            alone = alone or result.makespan
            shorter = alone / result.makespan
            is_goal = (what, count, len(shots)) == ("alike", 8, 1)
            target, met = (">= 5", shorter >= 5) if is_goal else ("", None)
            row = f"{shots[-1][1]:,} frames, {len(shots)} shots, {what}, {count} workers"
            tell("simulated", row, result.makespan, "s", "", None)
            tell("simulated", "  times shorter than on one", shorter, "x", target, met)


def simulated() -> None:
    _simulated([(0, 64)], (1, 2, 4, 8, 16))


def shots() -> None:
    cuts = [*range(0, 1000, 64), 1000]
    _simulated(list(itertools.pairwise(cuts)), (1, 8, 64, 256))


def make_film(frames: int, workers: int, paint: float) -> Path:
    """A job of one film of one shot."""
    import yaml

    from tests.support.farm import TINY_RECIPE, write_weights

    folder = Path(tempfile.mkdtemp(prefix="film-", dir=floor.SCRATCH))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "shots").mkdir()
    for number in range(frames):
        (folder / f"shots/a.{number:06}.png").write_text(json.dumps({"paint": paint}))
    (folder / "style.png").write_text("{}")
    write_weights(folder / "tiny.safetensors")
    spec = {
        "output": "out",
        "recipe": {**TINY_RECIPE, "weights": "tiny.safetensors"},
        "pairs": [{"film": "shots/a.######.png", "style": "style.png", "cuts": "none"}],
        "workers": {"max": workers},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return folder / "job.yaml"


def makespan() -> None:
    took = {}
    for workers in (1, 8):
        made = Floor(workers, make_film(64, workers, 8.0)).run(
            renderer="tests.bench.film_floor:FilmSleeper"
        )
        spans = [span for renders in made.renders().values() for span in renders]
        took[workers] = max(end for _, end in spans) - min(begin for begin, _ in spans)
        tell("makespan", f"64 frames on {workers} workers", took[workers], "s", "", None)
    shorter = took[1] / took[8]
    tell("makespan", "  times shorter", shorter, "x", ">= 5", shorter >= 5)


class Seer(Painter):
    """The painter, but for painting: it sleeps, half as long for frames that hold to others."""

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        for order in orders:
            order.resumption.begin(0)
            layers = (1.0,) * len(order.task.recipe.style_layers)
            time.sleep(SEEN * (CHILD if order.hold else 1.0))
            order.observe([LossRow(32, 1, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
        return [Painted(order.content) for order in orders]


SEEN = 2.0
"""Seconds that the render of a root takes in ``ahead``."""


def make_pictures(frames: int) -> Path:
    """A job of one film of one shot, in real pictures."""
    import cv2

    job = make_film(frames, 1, 0.0)
    ground = np.random.default_rng(0).integers(0, 255, (45, 98, 3), np.uint8)
    wide = cv2.resize(ground, (784, 360), interpolation=cv2.INTER_CUBIC)
    for number in range(frames):
        picture = np.ascontiguousarray(wide[:, 4 * number : 4 * number + 640])
        assert cv2.imwrite(str(job.parent / f"shots/a.{number:06}.png"), picture)
    assert cv2.imwrite(str(job.parent / "style.png"), wide[:64, :64])
    return job


TURNS = 3


def ahead() -> None:
    found: dict[str, list[tuple[float, float]]] = {"ahead": [], "by the worker": []}
    for _ in range(TURNS):
        for how, spans in found.items():
            done = subprocess.run(
                [sys.executable, __file__, "one-ahead", "--job", how],
                check=True,
                capture_output=True,
                text=True,
            )
            first, last = re.findall(r"([\d.]+) ([\d.]+)$", done.stdout.strip())[-1]
            spans.append((float(first), float(last)))
    for at, what in enumerate(("to the first frame that is held", "to the last")):
        medians = {
            how: sorted(span[at] for span in spans)[TURNS // 2] for how, spans in found.items()
        }
        for how, median in medians.items():
            tell("ahead", f"from the root {what}, {how}", median, "s", "", None)
        tell("ahead", "  ratio", medians["ahead"] / medians["by the worker"], "", "", None)


def one_ahead(how: str) -> None:
    from cluster.run.run_job import Run

    if how != "ahead":

        @contextlib.contextmanager
        def nothing(self: Run, pool: object) -> Iterator[Any]:
            yield self._reader, self._looking

        Run._motion_ahead = nothing  # type: ignore[method-assign]
    made = Floor(1, make_pictures(33)).run(renderer="tests.bench.film_floor:Seer", cpus=3)
    print(f"{made.ended[1] - made.ended[0]:.2f} {made.ended[-1] - made.ended[0]:.2f}")


def memory() -> None:
    found = {}
    for frames in (1_000, 10_000):
        job = make_film(frames, 8, 0.0)  # made here, for that takes torch, which a driver has not
        done = subprocess.run(
            [sys.executable, __file__, "one-memory", "--job", str(job)],
            check=True,
            capture_output=True,
            text=True,
        )
        found[frames] = float(re.findall(r"peak ([\d.]+)", done.stdout)[-1])
        tell("memory", f"driver's peak at {frames:,} frames", found[frames], "MB", "", None)
    grown = found[10_000] - found[1_000]
    tell("memory", "more at 10,000", grown, "MB", "<= 50 MB", grown <= 50)


def one_memory(job: Path) -> None:
    import psutil

    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    Floor(8, job).run(renderer="tests.bench.film_floor:FilmSleeper")
    over.set()
    watcher.join()
    print(f"peak {peak[0]:.1f}")


ROWS: dict[str, Callable[[], None]] = {
    "simulated": simulated,
    "shots": shots,
    "makespan": makespan,
    "finding": finding,
    "ahead": ahead,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    floor.SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112
    if options.rows == ["one-ahead"]:
        one_ahead(str(options.job))
    elif options.rows == ["one-memory"]:
        one_memory(options.job)
    elif len(options.rows) == 1:
        ROWS[options.rows[0]]()
    else:
        for row in options.rows or ROWS:
            subprocess.run([sys.executable, __file__, row], check=True)


if __name__ == "__main__":
    main()
