"""A submission's status as text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.events.live import QUIET_SECONDS
from cluster.events.progress import status_line
from jobs.errors import printable

if TYPE_CHECKING:
    pass
from cluster.submit.status import JobStatus, span_text

ENDS = {
    "limit": "ended by --limit",
    "interrupted": "it was asked to end",
    "preempted": "its machine was taken away",
    "max_failures": "ended by stop.max_failures",
    "max_gpu_hours": "ended by stop.max_gpu_hours",
}
"""Why a run ended, in words."""


def to_text(stands: JobStatus) -> str:
    """For a person, in a terminal."""
    lines = [f"{stands.id or stands.job}: {_state(stands)}", f"  {stands.job} -> {stands.output}"]
    live = stands.live
    if live is not None and stands.state == "running":
        lines.append(f"  {status_line(live)}")
    elif stands.done is not None:
        counts = [f"{stands.done:,} done", f"{stands.failed or 0:,} failed"]
        counts += [] if stands.left is None else [f"{stands.left:,} left"]
        lines.append(f"  {', '.join(counts)}")
    if stands.reason is not None and stands.reason != "complete":
        lines.append(f"  {ENDS.get(stands.reason, stands.reason)}")
    quiet = 0.0 if live is None else time.time() - live.updated
    if quiet > QUIET_SECONDS / 2:
        lines.append(f"  last heard of {span_text(quiet)} ago")
    if stands.state == "lost":
        lines.append("  it was killed, perhaps; run or submit it again to go on")
    return "\n".join(lines)


def to_table(rows: Sequence[JobStatus]) -> str:
    """Many, each on a line."""
    table = [("ID", "JOB", "STATUS", "STARTED", "TOOK", "DONE", "FAILED", "LEFT")]
    for row in rows:
        started = "-" if row.started is None else _moment(row.started)
        took = "-" if row.seconds is None else span_text(row.seconds)
        done, failed, left = (
            "-" if count is None else f"{count:,}" for count in (row.done, row.failed, row.left)
        )
        state = "stopping" if row.stopping else row.state
        table.append((row.id or "-", printable(row.job), state, started, took, done, failed, left))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def _state(stands: JobStatus) -> str:
    took = "" if stands.seconds is None else span_text(stands.seconds)
    if stands.state == "pending":
        return f"pending for {took}: the cluster has not begun it"
    if stands.state == "running":
        return f"{'stopping, after' if stands.stopping else 'running for'} {took}"
    return stands.state + (f" after {took}" if took else "")


def _moment(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch))
