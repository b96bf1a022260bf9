"""What is around the painter: ``python tests/bench/around.py [--beside CHECKOUT]``.

CPU seconds of a worker for each task besides painting: read a JPEG of 12 megapixels, decode and resize
it, encode a picture of 1024 px, hash, write the loss log and the record. The renderer is the real one, but
for the painting, which only resizes. With ``--beside``, another checkout of this project is measured in turn
with this one, in the same environment. Times are those of whole processes, less those of a shorter job, so
that starting costs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FEW, MANY = 4, 52
"""Tasks of the shorter and of the longer job. What starting takes differs by a second from time to time."""


def write_jobs(folder: Path, pixels: tuple[int, int] = (4000, 3000), size: int = 1024) -> None:
    """Write the photos, a painting, and the job files few.yaml and many.yaml."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(
        0, 255, (pixels[1] // 10, pixels[0] // 10, 3), np.uint8
    )
    photo = folder / "photo.jpg"
    Image.fromarray(noise).resize(pixels, Image.Resampling.BICUBIC).save(photo, quality=90)
    Image.fromarray(noise[:64, :64]).save(folder / "style.png")
    for k in range(MANY):
        # Another file for each task, of the same pixels: bytes behind the end are allowed.
        (folder / f"{k:02}.jpg").write_bytes(photo.read_bytes() + bytes([k]))
    photo.unlink()
    for name, tasks in (("few", FEW), ("many", MANY)):
        pairs = {"content": [f"{k:02}.jpg" for k in range(tasks)], "style": "style.png"}
        spec = {"output": f"out-{name}", "recipe": {"size": size}, "pairs": [pairs]}
        (folder / f"{name}.yaml").write_text(json.dumps(spec))


def render(job: str) -> None:
    """Render a job with the stand-in, and print what it took; called in a process of its own."""
    from cluster.run.options import RunOptions
    from cluster.run.run_job import run_job
    from jobs.jobfile.load import load_job

    sys.modules["around"] = sys.modules["__main__"]
    options = RunOptions(pool="inline", overwrite=True, renderer="around:Resizer")
    result = run_job(load_job(Path(job)), options, lambda event: None)
    assert not result.counts.failed
    images = sorted((Path(job).parent / f"out-{Path(job).stem}" / "images").iterdir())
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "cpu": used.ru_utime + used.ru_stime,
                "peak": used.ru_maxrss * 1024,
                "pixels": _digest(images),
            }
        )
    )


def _digest(images: Sequence[Path]) -> str:
    """Return a digest of the pixels, whatever the files' compression."""
    from PIL import Image

    whole = hashlib.sha256()
    for path in images:
        with Image.open(path) as image:
            whole.update(image.tobytes())
    return whole.hexdigest()[:16]


def make_resizer() -> Any:
    """Return the class of the stand-in: the real renderer without painting."""
    from cluster.worker.renderer import Painted, Painter
    from jobs.records.loss_log import LossRow
    from stylize.pictures.picture import Picture
    from stylize.pictures.resize import resize, shape_at

    class Resizer(Painter):
        def paint(self, orders: Any, should_stop: Any) -> Any:
            done = []
            for order in orders:
                order.resumption.begin(0)
                recipe = order.task.recipe
                layers = (1.0,) * len(recipe.style_layers)
                rgb = order.content.rgb
                done.append(Painted(Picture(resize(rgb, *shape_at(*rgb.shape[2:], recipe.size)))))
                order.observe([LossRow(recipe.size, 1, 9.0, 1.0, 5.0, layers, 3.0, 0.0)])
            return done

    return Resizer


def __getattr__(name: str) -> Any:
    if name == "Resizer":
        return make_resizer()
    raise AttributeError(name)


def measure(build: Path, job: Path) -> dict[str, Any]:
    """Run ``render`` in a process of a build, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--render", str(job)],
        env=environment,
        cwd=build,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def per_task(build: Path, folder: Path) -> tuple[float, int, str]:
    """Return the CPU seconds of one task, the peak memory in bytes, and the digest of the pixels."""
    few, many = (measure(build, folder / f"{name}.yaml") for name in ("few", "many"))
    return (many["cpu"] - few["cpu"]) / (MANY - FEW), many["peak"], many["pixels"]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", type=Path, help="another checkout of this project")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--render", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.render:
        render(asked.render)
        return
    builds = [ROOT, *([] if asked.beside is None else [asked.beside.resolve()])]
    with tempfile.TemporaryDirectory() as folder:
        write_jobs(Path(folder))
        rounds = [[per_task(build, Path(folder)) for build in builds] for _ in range(asked.rounds)]
    for k, build in enumerate(builds):
        seconds = [one[k][0] for one in rounds]
        print(
            f"{build}: {statistics.median(seconds):.3f} CPU s a task ({min(seconds):.3f} to "
            f"{max(seconds):.3f}), peak {rounds[0][k][1] / 2**20:.0f} MiB, pixels {rounds[0][k][2]}"
        )
    if asked.beside is not None:
        ratios = [one[0][0] / one[1][0] for one in rounds]
        print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
