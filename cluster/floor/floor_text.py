"""The floor as tables: nodes, and the runs that share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from cluster.floor.asking import NodeRow, RunRow, from_values
from cluster.time_text import duration_text
from jobs.spec.sharing import name_of


def tables(found: Mapping[str, Any]) -> list[Table | str]:
    """Return what ``stylefarm floor`` shows.

    Args:
        found: What ``cluster.floor.ray_manager.read_table`` returns.
    """
    runs = [from_values(RunRow, row) for row in found["runs"]]
    nodes = [from_values(NodeRow, row) for row in found["nodes"]]
    parts: list[Table | str] = [_nodes(nodes, runs)]
    parts.append(_runs(runs) if runs else "no run shares this cluster")
    if not found["settled"]:
        parts.append("the floor manager has just begun: runs are still reporting what they have")
    return parts


def _nodes(nodes: list[NodeRow], runs: list[RunRow]) -> Table:
    table = Table("node", "kind", "GPUs", "CPUs", "held by", box=None, pad_edge=False)
    for node in nodes:
        held = [
            f"{n * run.each:g} {escape(run.job)}" for run in runs if (n := run.held.get(node.node))
        ]
        held += [f"{amount:g} {what}s others" for what, amount in node.others.items()]
        table.add_row(
            escape(f"{node.host} {node.node[:8]}"),
            escape(node.kind),
            f"{node.devices.get('GPU', 0):g}",
            f"{node.devices.get('CPU', 0):g}",
            ", ".join(held) or "nobody",
        )
    return table


def _runs(runs: list[RunRow]) -> Table:
    table = Table(
        *("job", "priority", "weight", "workers", "of", "wants", "by", "waits"),
        box=None,
        pad_edge=False,
    )
    for run in runs:
        table.add_row(
            escape(run.job),
            name_of(run.priority),
            f"{run.weight:g}",
            str(sum(Counter(run.held).values())),
            str(sum(Counter(run.share).values())),
            str(run.wanted),
            escape(run.by),
            escape(_waiting(run)),
        )
    return table


def _waiting(run: RunRow) -> str:
    if run.waits_seconds is None:
        return run.waits
    place = "" if run.next is None else f", number {run.next} in line"
    return f"{run.waits or 'waits'}, for {duration_text(run.waits_seconds)}{place}"
