"""What ``stylefarm floor`` shows."""

from __future__ import annotations

import io

from rich.console import Console

from cluster.floor.asking import NodeRow, RunRow, as_values
from cluster.floor.floor_text import tables

NODES = [
    NodeRow("a" * 56, "render-1", "H100", {"GPU": 8.0, "CPU": 64.0}, {}),
    NodeRow("b" * 56, "[odd]", "", {"CPU": 4.0}, {"CPU": 2.0}),
]


def a_run(job: str, **about: object) -> RunRow:
    values: dict[str, object] = {
        "run": job, "job": job, "output": "out", "by": "ada@desk", "resource": "GPU", "priority": 50,
        "weight": 1.0, "each": 1.0, "wanted": 9, "held": {}, "share": {}, "waits_seconds": None,
        "waits": "", "next": None, **about,
    }  # fmt: skip
    return RunRow(**values)  # type: ignore[arg-type]


def shown(*runs: RunRow, settled: bool = True) -> list[str]:
    found = {
        "settled": settled,
        "runs": [as_values(run) for run in runs],
        "nodes": [as_values(node) for node in NODES],
    }
    console = Console(file=io.StringIO(), width=160)
    for part in tables(found):
        console.print(part)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [" ".join(line.split()) for line in text.splitlines()]


def test_nodes_and_who_holds_them() -> None:
    nightly = a_run("nightly [x]", held={"a" * 56: 6}, share={"a" * 56: 6}, priority=25)
    half = a_run("half", held={"a" * 56: 4}, share={"a" * 56: 4}, each=0.5)
    lines = shown(nightly, half)
    assert lines[0] == "node kind GPUs CPUs held by"
    assert lines[1] == "render-1 aaaaaaaa H100 8 64 6 nightly [x], 2 half"
    assert lines[2] == "[odd] bbbbbbbb 0 4 2 CPUs others"
    assert lines[4] == "nightly [x] low 1 6 6 9 ada@desk"


def test_who_waits_for_what_and_since_when() -> None:
    late = a_run(
        "late", waits_seconds=90.0, waits="waits for GPUs: 8 held by nightly (low)", next=2
    )
    assert shown(late)[-1] == (
        "late normal 1 0 0 9 ada@desk waits for GPUs: 8 held by nightly (low), for 0:01:30, number 2 in line"
    )


def test_a_floor_that_nobody_shares_and_one_that_begins() -> None:
    assert shown()[-1] == "no run shares this cluster"
    assert shown(settled=False)[-1].startswith("the floor manager has just begun")
