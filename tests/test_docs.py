"""What the README says is so: every command, every key, every file it names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from cluster.cli.app import app
from jobs.jobfile.parse import parse_job
from jobs.spec.job import SECTIONS
from tests.support.farm import stylefarm

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = sorted(typer.main.get_command(app).commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_and_has_an_example(command):
    assert f"stylefarm {command}" in README
    shown = stylefarm(command, "--help")
    assert shown.returncode == 0
    assert f"stylefarm {command}" in shown.stdout.split("Example")[-1]


def test_the_readme_names_no_command_that_is_not_there():
    named = set(re.findall(r"^\s*stylefarm ([a-z]+)", README, re.MULTILINE))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_job_file_is_documented(section):
    for key in SECTIONS[section].model_fields:
        assert f"`{key}`" in README or re.search(rf"^\s*(- )?{key}:", README, re.MULTILINE), key


def test_the_job_files_in_the_readme_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    jobs = [block for block in blocks if "pairs:" in block]
    assert jobs
    for text in jobs:
        parse_job(text.encode(), "README.md", ROOT)
        assert yaml.safe_load(text)["output"]


def test_the_example_job_files_are_valid():
    examples = sorted((ROOT / "jobs" / "examples").glob("*.yaml"))
    assert examples
    for example in examples:
        parse_job(example.read_bytes(), example.name, example.parent)


def test_every_path_in_the_readme_exists():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    links = re.findall(r"\]\(((?!http|#)[^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
        assert not tracked or link.rstrip("/") in tracked or (ROOT / link).is_dir(), link


def test_the_architecture_section_matches_the_folders():
    tree = README.split("## How it is built")[1].split("## ")[0]
    for room in ("stylize", "jobs", "cluster"):
        for path in (ROOT / room).glob("*.py"):
            if path.name != "__init__.py":
                assert path.name in tree, f"{room}/{path.name} is not in the README"
