"""The fences between the rooms hold, statically and when the code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def modules_after(statement: str) -> set[str]:
    """What a fresh Python has imported after a statement."""
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_the_contracts_are_kept():
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    checked = subprocess.run([tool], capture_output=True, text=True, cwd=ROOT, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    "modules",
    [
        (
            "jobs.tasks.todo",
            "jobs.jobfile.load",
            "jobs.records.commit",
            "jobs.report.summary",
            "jobs.storage.open",
            "jobs.inputs.reader",
        ),
        ("stylize", "stylize.recipe", "stylize.network.weights"),
        ("stylize.video.film", "stylize.video.writer"),
        (
            "cluster.cli.app",
            "cluster.plan.plan",
            "cluster.run.run_job",
            "cluster.driver.driver",
            "cluster.worker.worker",
        ),
        (
            "cluster.submit.log_view",
            "cluster.events.live",
            "cluster.submit.pack",
            "cluster.submit.status",
            "cluster.submit.submission",
        ),
    ],
    ids=lambda modules: modules[0],
)
def test_planning_needs_no_torch_and_no_ray(modules):
    heavy = {"torch", "torchvision", "ray", "boto3", "botocore", "PIL", "tifffile", "pyarrow"}
    # numpy, of the order book's tables of ids, takes a twentieth of a second.
    heavy |= {"numpy"} if "stylize" in modules else {"av", "cv2"}
    assert modules_after(f"import {', '.join(modules)}") & heavy == set()


@pytest.mark.parametrize(
    ("module", "rooms"),
    [
        ("boto3", {"jobs/storage/s3.py"}),
        (
            "ray",
            {
                "cluster/pools/ray_cluster.py",
                "cluster/pools/ray_pool.py",
                "cluster/pools/ray_actor.py",
                "cluster/pools/ray_metrics.py",
                "cluster/pools/ahead/ray_helpers.py",
                "cluster/floor/link.py",
                "cluster/floor/ray_manager.py",
                "cluster/submit/jobs_api.py",
            },
        ),
        (
            "yaml",
            {"jobs/jobfile/yaml_source.py", "cluster/schedule/kubernetes.py"},
        ),  # read; written
        ("apscheduler", {"cluster/schedule/service.py"}),
        ("filelock", {"cluster/schedule/service.py"}),
        ("jinja2", {"jobs/report/templates.py"}),
        ("starlette", {"cluster/serve/app.py"}),
        ("uvicorn", {"cluster/serve/server.py"}),
        (
            "PIL",
            {
                "stylize/pictures/reading/open.py",
                "stylize/pictures/reading/pages.py",
                "stylize/pictures/reading/decoders/by_pillow.py",
                "stylize/pictures/gamuts.py",
                "stylize/pictures/writing/by_pillow.py",
                "stylize/pictures/reading/decoders/iso_media.py",
                "stylize/pictures/codec.py",
                "stylize/pictures/mask.py",
                "stylize/pictures/inputs.py",
                "stylize/api.py",
            },
        ),
        (
            "tifffile",
            {
                "stylize/pictures/writing/tiff.py",
                "stylize/pictures/reading/pages.py",
                "stylize/pictures/reading/decoders/tiff.py",
            },
        ),
        ("pyarrow", {"jobs/arrow.py"}),
        ("cv2", {"stylize/film/cv.py"}),
        ("av", {"stylize/video/library.py"}),
    ],
)
def test_each_outside_library_has_one_door(module, rooms):
    pattern = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
    found = {
        str(path.relative_to(ROOT))
        for room in ("stylize", "jobs", "cluster")
        for path in (ROOT / room).rglob("*.py")
        if "examples" not in path.parts and pattern.search(path.read_text())
    }
    assert found == rooms
