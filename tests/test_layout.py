"""The house keeps its shape: no import circles, small folders, and nothing in a folder's door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Every set of more than one node that reach each other, as Tarjan (1972) finds them."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                yield from visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                yield component

    for node in sorted(graph):
        if node not in index:
            yield from visit(node)


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d2"}, "d2": set()}
    assert [sorted(circle) for circle in circles(graph)] == [["b", "c"]]


def test_imports_for_types_alone_count_too():
    assert "stylize.network.vgg19" in imports_of("cluster.worker.renderer")


def test_no_files_import_each_other_in_a_circle():
    graph = {module: imports_of(module) for module in MODULES}
    assert sum(map(len, graph.values())) > 500  # else this looked at nothing
    assert list(circles(graph)) == []


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
