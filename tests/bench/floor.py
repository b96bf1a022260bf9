"""The floor: ``python tests/bench/floor.py [row ...]``.

What it costs to hand out tasks, how busy the devices are, how it grows with workers and with tasks, and how
soon the first step is made. Workers are real Ray actors on logical GPUs of this machine; what they render
with only sleeps, so that the floor is what is measured. Nothing here is a figure of a GPU.

    dispatch    CPU time of the driver for each task; a renderer that does nothing, 8 workers (target 2 ms)
    busy        share of their time for which 8 devices are held; renders of 1 s, inputs and outputs of 0.5 s
                each (target 97%)
    scale       throughput of 1 to 64 workers against that many times one (target 95%)
    memory      the driver's at 1,000 and at 100,000 tasks (target: flat within 50 MB)
    start       from ``stylefarm run`` to the first step; Ray's own start apart
    simulation  1,000 GPUs and 1,000,000 tasks with 1% of the workers lost every hour, in simulated time: see
                tests/bench/floor_simulation.py

Each row runs in a process of its own. All of them together take about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

from cluster.messages import DeviceInfo  # noqa: E402
from cluster.worker.renderer import (  # noqa: E402
    Encoded,
    Hold,
    Order,
    Painted,
    Reference,
    ShouldStop,
)
from jobs.records.loss_log import LossRow  # noqa: E402
from jobs.spec.output import ImageOptions  # noqa: E402
from stylize.recipe import Recipe  # noqa: E402


class Sleeper:
    """A renderer that takes as long as its content says: {"decode", "paint", "encode"} in seconds."""

    versions: dict[str, str] = {}  # noqa: RUF012 - the protocol's attribute, never changed

    def __init__(self, base: str, threads: int | None, index: int = 0) -> None:
        self.device = DeviceInfo("sleeper")

    def decode(self, data: bytes, name: str, image: ImageOptions | None = None) -> Any:
        picture = json.loads(data)
        # The style costs nothing: it is the same each time.
        time.sleep(picture.get("decode", 0.0))
        return picture

    def decode_mask(self, data: bytes, name: str) -> tuple[Any, str | None]:
        return self.decode(data, name), None

    def shape(self, picture: Any) -> Hashable:
        return None

    def paint(self, orders: Sequence[Order], should_stop: ShouldStop) -> list[Painted]:
        for order in orders:
            order.resumption.begin(0)
            layers = (1.0,) * len(order.task.recipe.style_layers)
            time.sleep(order.content.get("paint", 0.0))
            order.observe([LossRow(32, 1, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
        return [Painted(order.content) for order in orders]

    def thumbnail(self, picture: Any, image: ImageOptions, longest: int, quality: int) -> bytes:
        return b"small"

    def find_motion(self, frames: Iterable[Any]) -> bytes:
        return b"motion"

    def hold(
        self,
        content: Any,
        place: int,
        references: Sequence[Reference],
        motions: Sequence[bytes],
        recipe: Recipe,
    ) -> Hold:
        return Hold(None, recipe, 1.0, None)

    def encode(self, picture: Any, image: ImageOptions, about: Mapping[str, str]) -> Encoded:
        time.sleep(picture.get("encode", 0.0))
        return Encoded(b"picture", "png", "image/png", 1, 1)


def write_job(folder: Path, tasks: int, content: dict[str, float], **changes: Any) -> Path:
    """A job of so many tasks, whose content is one file under as many names."""
    import yaml

    from tests.support.farm import TINY_RECIPE, write_weights

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "content.png").write_text(json.dumps(content))
    (folder / "style.png").write_text("{}")
    write_weights(folder / "tiny.safetensors")
    with (folder / "pairs.jsonl").open("w") as rows:
        for seed in range(tasks):
            row = {"content": "content.png", "style": "style.png", "recipe.seed": seed}
            rows.write(json.dumps(row) + "\n")
    spec = {
        "name": "floor",
        "output": "out",
        "recipe": {**TINY_RECIPE, "init": "noise", "weights": "tiny.safetensors"},
        "pairs": [{"manifest": "pairs.jsonl"}],
        **changes,
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return folder / "job.yaml"


def make_floor(workers: int, content: dict[str, float], tasks: int) -> Floor:
    """A floor with a job of its own."""
    folder = Path(tempfile.mkdtemp(prefix="floor-", dir=SCRATCH))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Floor(workers, write_job(folder, tasks, content, workers={"max": workers}))


class Floor:
    """A run on logical GPUs, watched."""

    def __init__(self, workers: int, job: Path) -> None:
        self.workers, self.job = workers, job
        self.driver_seconds = 0.0
        """CPU time of the driver's own thread, from the first event to the last."""
        self.process_seconds = 0.0
        """The same of its whole process, Ray's threads and those that commit included."""
        self.ended: list[float] = []

    def run(self, gpus: int | None = None, renderer: str = "tests.bench.floor:Sleeper") -> Floor:
        import ray

        from cluster.events.events import Event, TaskDone
        from cluster.pools import ray_cluster
        from cluster.run.options import RunOptions
        from cluster.run.run_job import run_job
        from jobs.jobfile.load import load_job

        count = gpus or self.workers

        def connect(address: str | None) -> None:
            ray.init(
                address="local",
                num_gpus=count,
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=100 * 2**20,
            )

        ray_cluster.connect = connect
        begun: list[tuple[float, float]] = []

        def listen(event: Event) -> None:
            if isinstance(event, TaskDone):
                if not begun:
                    begun.append((time.thread_time(), time.process_time()))
                self.ended.append(time.monotonic())
                self.driver_seconds = time.thread_time() - begun[0][0]
                self.process_seconds = time.process_time() - begun[0][1]

        run_job(load_job(self.job), RunOptions(renderer=renderer), listen)
        return self

    def renders(self) -> dict[str, list[tuple[float, float]]]:
        """When each worker held its device, from begin to end, as the records tell."""
        from jobs.jobfile.load import load_job
        from jobs.records.commit import Records
        from jobs.storage.open import open_storage

        job = load_job(self.job)
        spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for record in Records(open_storage(job.spec.output, base=job.base)).all():
            (made,) = record.attempts
            began = made.started + record.seconds["fetch"] + record.seconds["wait"]
            spans[made.worker].append((began, began + record.seconds["render"]))
        return {worker: sorted(renders) for worker, renders in spans.items()}

    def busy(self) -> float:
        """The share of their time for which workers held their devices, from the first render to the last
        of each."""
        shares = [
            sum(end - begin for begin, end in renders) / (renders[-1][1] - renders[0][0])
            for renders in self.renders().values()
        ]
        return sum(shares) / len(shares)

    def rate(self) -> float:
        """Tasks a second of all workers, each from its first render's begin to its last's: workers that
        began at once would all end at once, and tasks counted by the clock come in bursts."""
        return sum(
            (len(renders) - 1) / (renders[-1][0] - renders[0][0])
            for renders in self.renders().values()
            if len(renders) > 1
        )


SCRATCH: str | None = None


def tell(row: str, what: str, value: float, unit: str, target: str, met: bool | None) -> None:
    """Print one figure beside its target."""
    verdict = "" if met is None else ("met" if met else "MISSED")
    print(f"{row:11} {what:52} {value:10.2f} {unit:8} {target:14} {verdict}", flush=True)


def dispatch() -> None:
    floor = make_floor(8, {}, 3000).run()
    count = len(floor.ended) - 1
    own, whole = 1000 * floor.driver_seconds / count, 1000 * floor.process_seconds / count
    tell("dispatch", "driver's thread, CPU time a task", own, "ms", "<= 2 ms", own <= 2)
    tell("dispatch", "driver's process, all threads", whole, "ms", "", None)
    tell(
        "dispatch", "tasks a second on this machine, workers included", floor.rate(), "/s", "", None
    )


def busy() -> None:
    floor = make_floor(8, {"decode": 0.5, "paint": 1.0, "encode": 0.5}, 8 * 40).run()
    share = 100 * floor.busy()
    tell("busy", "devices held, 8 workers", share, "%", ">= 97%", share >= 97)


def scale() -> None:
    for workers in (1, 2, 4, 8, 16, 32, 64):
        subprocess.run(
            [
                sys.executable,
                __file__,
                "one-scale",
                "--workers",
                str(workers),
                "--scratch",
                SCRATCH or "",
            ],
            check=True,
        )


def one_scale(workers: int) -> None:
    seconds = 2.0
    floor = make_floor(workers, {"paint": seconds}, workers * 12).run()
    share = 100 * floor.rate() * seconds / workers
    what = f"{workers} workers, of {workers} x {1 / seconds:.2f} tasks/s"
    tell("scale", what, share, "%", ">= 95%", share >= 95)
    longest = max(end - begin for renders in floor.renders().values() for begin, end in renders)
    tell("scale", "  its longest render, for which it asked 2 s", longest, "s", "", None)


def memory() -> None:
    found = {}
    for tasks in (1_000, 100_000):
        # Made here, for that takes torch, which a driver has not.
        job = make_floor(8, {}, tasks).job
        done = subprocess.run(
            [sys.executable, __file__, "one-memory", "--job", str(job)],
            check=True,
            capture_output=True,
            text=True,
        )
        found[tasks] = float(re.findall(r"peak ([\d.]+)", done.stdout)[-1])
        tell("memory", f"driver's peak at {tasks:,} tasks", found[tasks], "MB", "", None)
    grown = found[100_000] - found[1_000]
    tell("memory", "more at 100,000", grown, "MB", "<= 50 MB", grown <= 50)


def one_memory(job: Path) -> None:
    import psutil

    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    Floor(8, job).run()
    over.set()
    watcher.join()
    print(f"peak {peak[0]:.1f}")


def start() -> None:
    """The real painter, through the command, from a cold process."""
    from tests.support.farm import picture

    folder = Path(tempfile.mkdtemp(prefix="start-", dir=SCRATCH))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("photo.png", "style.png"):
        picture(len(name)).resize((128, 128)).save(folder / name)
    (folder / "job.yaml").write_text(
        "output: out\nrecipe: {size: 128}\npairs: [{content: photo.png, style: style.png}]\n"
    )
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "run", folder / "job.yaml", "--json", "--verbose"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    at: dict[str, float] = {}
    for line in process.stdout:
        event, now = json.loads(line), time.monotonic() - began
        if event["event"] == "started":
            at.setdefault("job read", now)
        elif event["event"] == "progress":
            at.setdefault("Ray is up", now)  # the driver's first beat
            if event["workers"]:
                at.setdefault("a worker is up", now)
            if any(p["step"] > 0 for p in event["running"]):
                at.setdefault("first step", now)
        elif event["event"] == "done":
            at.setdefault("first step", now)
    process.wait()
    before = 0.0
    for what, when in at.items():
        tell("start", what, when, "s", f"(+{when - before:.2f} s)", None)
        before = when


def simulation() -> None:
    from tests.bench.floor_simulation import main as simulate

    simulate([])


ROWS: dict[str, Callable[[], None]] = {
    "dispatch": dispatch,
    "busy": busy,
    "scale": scale,
    "memory": memory,
    "start": start,
    "simulation": simulation,
}


def main() -> None:
    global SCRATCH
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--scratch", help="where outputs go; default: memory, where there is /dev/shm"
    )
    options = parser.parse_args()
    shared = Path("/dev/shm")
    SCRATCH = options.scratch or (str(shared) if shared.is_dir() else None)
    if options.rows == ["one-scale"]:
        one_scale(options.workers)
    elif options.rows == ["one-memory"]:
        one_memory(options.job)
    elif len(options.rows) == 1:
        ROWS[options.rows[0]]()
    else:
        for row in options.rows or ROWS:
            command = [sys.executable, __file__, row, "--scratch", SCRATCH or ""]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
