"""The READMEs say what is so.

A thing is *documented* where it is the subject of a table's row: where the row's first cell has it as code.
The table's first heading says what its rows are about, and each thing is documented in exactly one README:

* a key of the job file in a table ``key``, once for each section that has it (a style's forms are one);
* a knob in a table ``knob``, a preset in ``preset``, an exit status in ``exit status``, a command in
  ``command``, an event in ``event``, a kind of failure in ``failure kind``;
* an option in a table ``option`` whose column ``commands`` names the commands that take it: once for each of
  them, in the README of the command's family (``FAMILIES``), as ``run`` and ``submit`` have the same options;
* a module in a table ``file`` of its own folder's README.

Nothing else may be the subject of such a row. Beyond the tables: a ``yaml`` block is a job file, or a part of
one that the least job completes; a ``python`` block runs, in a folder of its own, with renders of two steps;
a line of a ``console`` block is taken by our command's parser where it calls that, and the targets, files and
modules that it names exist; ``json`` and ``text`` are anything. What prose has as code is checked, too:
``stylefarm ...``, ``--options``, ``section.keys``, ``make ...`` and paths of files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml

from cluster.cli.app import app
from cluster.events.events import Event
from cluster.events.json_lines import to_json
from cluster.messages import FailureKind
from cluster.pools.ray_metrics import COUNTERS, GAUGES, HISTOGRAMS
from jobs.errors import ExitStatus
from jobs.jobfile.parse import parse_job
from jobs.spec import styles
from jobs.spec.job import SECTIONS
from jobs.spec.values import Section
from stylize.presets import PRESETS
from stylize.recipe import Recipe
from tests.support.farm import stylefarm

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
ROOMS = ("stylize", "jobs", "cluster")

FAMILIES = {
    "cluster/cli": ("init", "report", "schema"),
    "cluster/plan": ("plan", "doctor"),
    "cluster/run": ("run", "promote"),
    "cluster/submit": ("submit", "list", "status", "logs", "cancel"),
    "cluster/floor": ("floor", "set", "pause", "resume"),
    "cluster/schedule": ("schedule",),
    "cluster/serve": ("serve",),
}
"""Whose README documents the options of which commands."""

COMMAND: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = COMMAND.commands


def options_of(command: str) -> set[str]:
    """Every spelling of every option, short ones and negations included."""
    return {
        spelling
        for option in COMMANDS[command].params
        if option.param_type_name == "option"
        for spelling in (*option.opts, *option.secondary_opts)
        if spelling != "--help"
    }


# --- reading a README -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A block of code between fences."""

    place: str
    language: str
    code: str


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    about: str
    """The first heading of its table."""
    cells: dict[str, str]

    @property
    def subjects(self) -> list[str]:
        """What its first cell has as code, of options without what they are given."""
        spans = codes(self.cells[self.about])
        if self.about == "option":
            return [span.split()[0] for span in spans if span.startswith("-")]
        return spans


def codes(text: str) -> list[str]:
    """What stands as code in a line of prose."""
    return re.findall(r"`([^`]+)`", " ".join(text.split()))


@dataclass(frozen=True)
class Readme:
    """One README.md, taken apart."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def folder(self) -> Path:
        return self.path.parent

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        language, code, place = None, [], ""
        for number, line in enumerate(self.path.read_text("utf-8").splitlines(), 1):
            if not line.startswith("```"):
                code.append(line)
            elif language is None:
                language, code, place = line[3:].strip(), [], f"{self.name}:{number}"
            else:
                found.append(Block(place, language, "\n".join(code) + "\n"))
                language = None
        assert language is None, f"{place} is not closed"
        return found

    @cached_property
    def prose(self) -> str:
        """Everything outside of blocks."""
        return re.sub(r"^```.*?^```$", "", self.path.read_text("utf-8"), flags=re.M | re.S)

    @cached_property
    def rows(self) -> list[Row]:
        found, headings = [], None
        for line in self.prose.splitlines():
            if not line.startswith("|"):
                headings = None
                continue
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if headings is None:
                headings = cells
            elif not set(line) <= set("|-: "):
                assert len(cells) == len(headings), f"{self.name}: {line}"
                found.append(Row(headings[0], dict(zip(headings, cells, strict=True))))
        return found

    @cached_property
    def anchors(self) -> set[str]:
        """Its headings as GitHub links to them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.M)
        return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}

    @cached_property
    def links(self) -> list[str]:
        without_code = re.sub(r"`[^`]*`", "code", self.prose)
        return [t for t in re.findall(r"\]\(([^)\s]+)\)", without_code) if "://" not in t]


@cache
def tracked() -> frozenset[str]:
    """What git has; empty where there is no git."""
    if shutil.which("git") is None:
        return frozenset()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    return frozenset(listed.stdout.decode().split("\0")) - {""}


def is_there(path: Path) -> bool:
    """Whether a file, or a folder with files, comes with the project."""
    if not path.exists() or not path.is_relative_to(ROOT):
        return False
    name = path.relative_to(ROOT).as_posix()
    below = "" if name == "." else f"{name}/"
    return not tracked() or name in tracked() or any(t.startswith(below) for t in tracked())


def find_readmes() -> list[Readme]:
    names = [name for name in tracked() if Path(name).name == "README.md"]
    paths = [ROOT / name for name in names] or [
        ROOT / "README.md",
        *(path for room in ROOMS for path in (ROOT / room).rglob("README.md")),
    ]
    return [Readme(path) for path in sorted(paths) if path.exists()]


READMES = find_readmes()
BY_FOLDER = {readme.folder: readme for readme in READMES}
FOLDERS = sorted(
    {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    | {ROOT / "cluster" / "deploy"}
)
every_readme = pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)


def blocks_in(*languages: str) -> list[Any]:
    blocks = [b for readme in READMES for b in readme.blocks if b.language in languages]
    assert blocks, languages
    return [pytest.param(block, id=block.place) for block in blocks]


def documented(about: str) -> Counter[str]:
    """The subjects of all tables of a kind, which must stand in one README."""
    found = {r.name: [row for row in r.rows if row.about == about] for r in READMES}
    having = {name for name, rows in found.items() if rows}
    assert len(having) == 1, f"tables of a {about} are in {sorted(having) or 'no README'}"
    return Counter(subject for rows in found.values() for row in rows for subject in row.subjects)


def check_same(found: Counter[Any], wanted: Counter[Any]) -> None:
    assert {"unknown": found - wanted, "not documented": wanted - found} == {
        "unknown": Counter(),
        "not documented": Counter(),
    }


# --- each thing is documented once ----------------------------------------------------------------


def test_every_key_of_the_job_file_is_documented_once():
    keys: Counter[str] = Counter()
    for section, model in SECTIONS.items():
        if section == "pairs[].style[]":
            forms = [part for part in vars(styles).values() if is_section(part)]
            assert model in forms
            keys.update({key for form in forms for key in form.model_fields})
        elif model is not Recipe:
            keys.update(list(model.model_fields))
    check_same(documented("key"), keys)


def is_section(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Section) and thing is not Section


@pytest.mark.parametrize(
    ("about", "things"),
    [
        ("knob", Recipe.model_fields),
        ("preset", PRESETS),
        ("command", COMMANDS),
        ("exit status", [str(int(status)) for status in ExitStatus]),
        ("event", [kind.event for kind in get_args(Event)]),
        ("failure kind", get_args(FailureKind)),
    ],
)
def test_each_is_documented_once(about, things):
    check_same(documented(about), Counter(list(things)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_option_is_documented_once_for_each_command(family):
    found: Counter[tuple[str, str]] = Counter()
    for row in BY_FOLDER[ROOT / family].rows:
        if row.about == "option":
            commands = [command.strip() for command in row.cells["commands"].split(",")]
            found.update((command, option) for command in commands for option in row.subjects)
    wanted = Counter((name, option) for name in FAMILIES[family] for option in options_of(name))
    check_same(found, wanted)


def test_every_command_has_a_family_and_options_stand_nowhere_else():
    assert sorted(COMMANDS) == sorted(name for family in FAMILIES.values() for name in family)
    having = {r.folder for r in READMES if any(row.about == "option" for row in r.rows)}
    assert having == {ROOT / family for family in FAMILIES}


def test_every_event_is_documented_with_its_fields_and_metrics():
    rows = {
        row.subjects[0]: row
        for row in BY_FOLDER[ROOT / "cluster/events"].rows
        if row.about == "event"
    }
    for kind in get_args(Event):
        line = to_json(kind(**dict.fromkeys((field.name for field in fields(kind)), 0)))
        named = rows[kind.event].cells["JSON fields"].split(", ")
        assert ["event", *named] == list(json.loads(line))
    metrics = {name for row in rows.values() for name in codes(row.cells["metric"])}
    assert metrics == {*COUNTERS, *GAUGES, *HISTOGRAMS}


# --- the folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_folder_has_a_readme_that_names_its_files(folder):
    assert folder in BY_FOLDER, f"{folder.relative_to(ROOT)} has no README.md"
    readme = BY_FOLDER[folder]
    named = Counter(s for row in readme.rows if row.about == "file" for s in row.subjects)
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    others = {p.name for p in folder.iterdir() if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert {name for name in named if name.endswith(".py")} == modules
    assert set(named) - modules <= others
    assert max(named.values()) == 1
    if not modules:
        assert set(named) == others - {"README.md"}
    assert any(block.language in ("python", "console") for block in readme.blocks)
    linked = {(folder / link).resolve() for link in readme.links}
    assert {path for path in FOLDERS if path.parent == folder} <= linked | {
        r.parent for r in linked
    }


# --- blocks ---------------------------------------------------------------------------------------

REST_OF_A_JOB = {
    "output": "output: out\n",
    "pairs": "pairs: [{content: photo.jpg, style: wave.jpg}]\n",
}


@pytest.mark.parametrize("block", blocks_in("yaml", "yml"))
def test_every_yaml_block_is_a_job_file_or_a_part_of_one(block):
    given = yaml.safe_load(block.code)
    rest = "".join(text for key, text in REST_OF_A_JOB.items() if key not in given)
    parse_job((block.code + rest).encode(), block.place, ROOT)


def test_the_example_job_files_are_valid():
    examples = sorted((ROOT / "jobs" / "examples").glob("*.yaml"))
    assert examples
    for example in examples:
        parse_job(example.read_bytes(), example.name, example.parent)


RUN_BLOCKS = """
import json, pathlib, traceback
failed = {}
for place, code in json.loads(pathlib.Path("../blocks.json").read_text("utf-8")):
    try:
        exec(compile(code, place, "exec"), {"__name__": "__main__"})
    except BaseException:
        failed[place] = traceback.format_exc()
pathlib.Path("../failed.json").write_text(json.dumps(failed), "utf-8")
"""


def test_every_python_block_runs(tmp_path):
    """All in one process, in a folder with pictures, and with the examples where the root has them."""
    blocks = [parameter.values[0] for parameter in blocks_in("python")]
    assert blocks
    here = tmp_path / "here"
    (here / "jobs").mkdir(parents=True)
    (here / "jobs" / "examples").symlink_to(ROOT / "jobs" / "examples")
    for name in ("harbour.jpg", "wave.jpg", "shot.0001.png", "shot.0002.png"):
        (here / name).symlink_to(ROOT / "jobs" / "examples" / "first-light.jpg")
    (tmp_path / "run.py").write_text(RUN_BLOCKS, "utf-8")
    code = [(block.place, quick(block.code)) for block in blocks]
    (tmp_path / "blocks.json").write_text(json.dumps(code), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "../run.py"], cwd=here, env=environment, check=True)
    failed = json.loads((tmp_path / "failed.json").read_text("utf-8"))
    assert not failed, "\n".join(failed.values())


def quick(code: str) -> str:
    """The same with renders of two steps at 32 px in the place of whole ones."""
    return re.sub(r"Recipe\(size=\d+\)", "Recipe(size=32, start_size=None, steps=2)", code)


ENDS = {"&&", "||", "|", ";", "&", "(", ")", "do", "done", "then"}
"""What ends a command in a line of shell, or stands before the next."""

TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))

EXTRAS = re.findall(
    r"^(\w+) = \[",
    PYPROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0],
    re.M,
)


def commands_in(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell, without what they are given in the environment or sent on to."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    command: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if redirected or word in (">", ">>", "<"):
            redirected = not redirected
        elif word in ENDS:
            if command:
                yield command
            command = []
        elif command or not re.fullmatch(r"\w+=.*", word):
            command.append(word)


def problems_with(line: str) -> list[str]:
    """What is wrong with a line of shell, as far as it is about us."""
    return [
        f"{shlex.join(words)}: {what}" for words in commands_in(line) for what in problems_of(words)
    ]


def problems_of(words: list[str]) -> Iterator[str]:
    if words[:3] == ["python", "-m", "cluster.cli"]:
        words = ["stylefarm", *words[3:]]
    if words[0] == "stylefarm":
        yield from refusals(words[1:])
    elif words[0] == "make":
        yield from (f"no target {word}" for word in words[1:] if word not in TARGETS)
    elif words[:2] == ["python", "-m"]:
        if importlib.util.find_spec(words[2]) is None:
            yield "no such module"
    elif words[0] == "python":
        if not is_there(ROOT / words[1]):
            yield "no such file"
    elif words[:2] == ["pip", "install"]:
        extras = re.findall(r"\.\[(\w+)\]", " ".join(words))
        yield from (f"no extra {extra}" for extra in extras if extra not in EXTRAS)


def refusals(words: list[str]) -> Iterator[str]:
    """Why our parser does not take a command line; it runs nothing."""
    name, rest = words[0], words[1:]
    if name in ("--version", "--help"):
        return
    if name not in COMMANDS:
        yield "no such command"
        return
    try:
        COMMANDS[name].make_context(name, rest)
    except Exception as error:  # typer's own, or click's
        # What an example names need not be here.
        if type(error).__name__ != "Exit" and "does not exist" not in str(error):
            yield str(error) or type(error).__name__


@pytest.mark.parametrize("block", blocks_in("console", "bash", "sh"))
def test_every_line_of_shell_is_taken(block):
    lines = block.code.replace("\\\n", " ").splitlines()
    assert [problem for line in lines for problem in problems_with(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "stylefarm run job.yaml --jsn",
        "stylefarm run job.yaml --limit many",
        "stylefarm run job.yaml more.yaml",
        "stylefarm run",
        "A=1 stylefarm runn x",
        "cat x | stylefarm list y > z",
        "cd x && python -m cluster.cli plan",
        "python -m cluster.cly",
        "python tests/bench/flor.py",
        "make tset",
        "pip install '.[demos]'",
    ],
)
def test_a_line_of_shell_that_is_wrong_is_found(line):
    assert problems_with(line)


# --- prose ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_folder_can_be_tried_alone(folder):
    _, heading, block = BY_FOLDER[folder].path.read_text("utf-8").lower().partition("try it alone")
    assert heading
    assert re.search("^```(python|console)$", block, re.M)


@every_readme
def test_every_link_leads_somewhere(readme):
    for link in readme.links:
        path, _, anchor = link.partition("#")
        target = (readme.folder / path).resolve() if path else readme.path
        assert is_there(target), link
        if anchor:
            target = target / "README.md" if target.is_dir() else target
            assert anchor in Readme(target).anchors, link


LEAVE_OPTIONS = set(
    re.findall(r'"(--[a-z-]+)"', (ROOT / "cluster" / "leave.py").read_text("utf-8"))
)
ALL_OPTIONS = {"--help", "--version", *LEAVE_OPTIONS}.union(*map(options_of, COMMANDS))


@every_readme
def test_prose_names_nothing_unknown(readme):
    for code in codes(readme.prose):
        words = code.split()
        options = {word for word in words[1:] if word.startswith("-")}
        if (
            words[0] == "stylefarm"
            and len(words) > 1
            and words[1] not in ("--help", "--version", "...")
        ):
            assert words[1] in COMMANDS, code
            assert options <= options_of(words[1]) | {"--help"}, code
        elif words[0] in COMMANDS and options:
            assert options <= options_of(words[0]), code
        elif words[0].startswith("--"):
            assert words[0] in ALL_OPTIONS, code
        elif words[0] == "make":
            assert words[1] in TARGETS, code
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]) is not None, code
        elif words[0] == "python" and len(words) > 1:
            assert is_there(ROOT / words[1]), code
        elif re.fullmatch(r"[\w./-]+/\w+\.(py|md|service|yaml|j2)", code):
            places = [readme.folder, *readme.folder.parents]
            assert any(is_there((place / code).resolve()) for place in places), code
        elif dotted := re.fullmatch(r"([a-z]+)\.([a-z_]+)", code):
            section, key = dotted.groups()
            if section in SECTIONS and key not in ("py", "json", "csv"):
                assert key in SECTIONS[section].model_fields, code


# --- the command's own help -----------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_examples_that_are_taken(name):
    shown = stylefarm(name, "--help")
    assert shown.returncode == 0
    heading, _, examples = COMMANDS[name].epilog.partition(":")
    assert heading in ("Example", "Examples")
    assert f"stylefarm {name}" in shown.stdout.split(heading)[-1]
    for example in examples.split("  |  "):
        assert ["stylefarm", name] in [command[:2] for command in commands_in(example)], example
        assert problems_with(example) == []
