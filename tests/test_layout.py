"""The house keeps its shape: no import circles, small folders, and nothing in a folder's door."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("stylize", "jobs", "cluster")
MOST_MODULES = 10
"""In one folder, ``__init__.py`` aside: what a reader takes in at a glance."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
}
FOLDERS = sorted({path.parent for path in MODULES.values()})


def imports_of(module: str) -> set[str]:
    """The project's modules that a module names in an import anywhere: at its top, inside a function, or for
    types alone."""
    path = MODULES[module]
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports here are absolute"
            base = node.module or ""
            named |= {
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
                for alias in node.names
            }
    return {name for name in named if name in MODULES and name != module}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """A circle of nodes that lead to each other, the first again at its end; empty: there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d2"}, "d2": set()}
    assert set(circle_in(graph)) == {"b", "c"}


def test_imports_for_types_alone_count_too():
    assert "stylize.network.vgg19" in imports_of("cluster.worker.renderer")


def test_no_files_import_each_other_in_a_circle():
    graph = {module: imports_of(module) for module in MODULES}
    assert sum(map(len, graph.values())) > 500  # else this looked at nothing
    assert circle_in(graph) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_is_small(folder):
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES, modules


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_a_folder_imports_nothing(folder):
    """So that planning needs no torch, and ``--help`` no Ray."""
    if folder.parent == ROOT:
        return  # a room's door: stylize exports its entry point, lazily
    body = ast.parse((folder / "__init__.py").read_text("utf-8")).body
    assert all(isinstance(node, ast.Expr) for node in body), f"{folder}/__init__.py does something"
