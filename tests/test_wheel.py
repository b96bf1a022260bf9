"""The wheel has everything that the command needs, and works where no checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.farm import write_job

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("stylize", "jobs", "cluster")
DATA = {
    "jobs/examples/starter.yaml",
    "jobs/report/gallery.html.j2",
    *(f"{room}/py.typed" for room in ROOMS),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / room, source / room, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, "."],
        cwd=source,
        check=True,
    )
    (built,) = folder.glob("stylefarm-*.whl")
    return built


def test_it_has_every_module_and_what_they_read(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")
    }
    assert (modules | DATA) - names == set()
    assert not {name for name in names if name.startswith("tests/")}


def test_the_command_works_from_it(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    zipfile.ZipFile(wheel).extractall(installed)
    entry = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "stylefarm = cluster.cli.app:main" in entry.read_text()
    job = write_job(tmp_path / "shop", photos=1, styles=1)
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def command(*arguments: str) -> str:
        started = (
            "import cluster; from cluster.cli.app import main; print(cluster.__file__); main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", started, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        where, _, said = done.stdout.partition("\n")
        assert Path(where).is_relative_to(installed)
        return said + done.stderr

    command("init", "starter", "--photo", str(job.parent / "photos" / "p0.png"))
    assert (tmp_path / "starter" / "job.yaml").is_file()
    assert "1 to render" in command("plan", str(job))
    assert "1 done, 0 failed" in command("run", str(job), "--pool", "inline")
    assert "1 done" in command("report", str(job))
    assert (job.parent / "out" / "index.html").is_file()
