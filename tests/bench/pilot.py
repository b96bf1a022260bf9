"""How well a pilot tells what a job takes: ``python tests/bench/pilot.py``.

Three jobs of different sizes are planned with ``stylefarm plan --pilot`` and then run on the inline pool,
both as whole commands. Printed is the time that was told for the whole run against the time it took (target:
within 20%). The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.farm import picture  # noqa: E402

JOBS: list[dict[str, Any]] = [
    {"recipe": {"size": 96}, "photos": 6},
    {"recipe": {"size": 160, "preset": "neural-style", "steps": 60}, "photos": 4},
    {"recipe": {"size": 256}, "photos": 3},
]


def stylefarm(*arguments: str | Path) -> tuple[str, float]:
    """What the command prints, and the seconds it takes."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", type=int, help="of 1, 2, 3; default: all")
    wanted = parser.parse_args().jobs or range(1, len(JOBS) + 1)
    for number, job in ((number, JOBS[number - 1]) for number in wanted):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "photos").mkdir()
            for k in range(job["photos"]):
                picture(k, 400, 300).save(folder / "photos" / f"{k}.png")
            picture(99, 320, 320).save(folder / "style.png")
            spec = {
                "output": "out",
                "recipe": job["recipe"],
                "pairs": [{"content": "photos/", "style": "style.png"}],
            }
            (folder / "job.yaml").write_text(yaml.safe_dump(spec))
            printed, pilot = stylefarm("plan", folder / "job.yaml", "--pilot", "--json")
            told = json.loads(printed)["wall_seconds"]
            _, took = stylefarm("run", folder / "job.yaml", "--pool", "inline", "--quiet")
        off = told / took - 1
        print(
            f"job {number}: {job['photos']} x {job['recipe']}: told {told:.1f} s, took {took:.1f} s: "
            f"{off:+.0%} ({'met' if abs(off) <= 0.2 else 'MISSED'}; the pilot took {pilot:.1f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
