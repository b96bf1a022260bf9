"""A job's status as text, and several as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cluster.events.live import QUIET_SECONDS
from cluster.events.progress import plural, status_line
from cluster.submit.status import JobStatus
from cluster.time_text import duration_text
from jobs.errors import printable

ENDS = {
    "limit": "ended by --limit",
    "interrupted": "it was asked to end",
    "preempted": "its machine was taken away",
    "max_failures": "ended by stop.max_failures",
    "max_gpu_hours": "ended by stop.max_gpu_hours",
}
"""Why a run ended, by the reason that it reports."""

VIDEOS_SHOWN = 10
"""Videos that are named, of those that are there and of those that are not; ``--json`` names all."""


def to_text(status: JobStatus) -> str:
    """Return a status as lines for a terminal."""
    what = "proofs " if status.proof else ""
    lines = [
        f"{status.id or status.job}: {what}{_state(status)}",
        f"  {status.job} -> {status.output}",
    ]
    live = status.live
    if live is not None and status.state == "running":
        lines.append(f"  {status_line(live)}")
    elif status.done is not None:
        of_all = f" of {plural(status.tasks, 'proof')}" if status.proof and status.tasks else ""
        counts = [f"{status.done:,}{of_all} done", f"{status.failed or 0:,} failed"]
        counts += [] if status.left is None else [f"{status.left:,} left"]
        lines.append(f"  {', '.join(counts)}")
    if status.reason is not None and status.reason != "complete":
        lines.append(f"  {ENDS.get(status.reason, status.reason)}")
    lines += _videos(status)
    quiet = 0.0 if live is None else time.time() - live.updated
    if quiet > QUIET_SECONDS / 2:
        lines.append(f"  last heard of {duration_text(quiet)} ago")
    if status.state == "lost":
        lines.append("  it may have been killed; run or submit it again to resume")
    if status.proof and status.state != "running":
        lines.append(
            "  no picture is rendered yet: stylefarm run JOB renders all, stylefarm promote JOB the chosen"
        )
    return "\n".join(lines)


def _videos(status: JobStatus) -> list[str]:
    """Return the lines about the videos that are there, and about those that are not."""
    there, missing = status.videos or (), status.videos_missing or ()
    lines = [f"  video: {printable(key)}" for key in there[:VIDEOS_SHOWN]]
    if len(there) > VIDEOS_SHOWN:
        lines.append(f"  and {len(there) - VIDEOS_SHOWN:,} more videos")
    lines += [f"  no {printable(v.video)}: {printable(v.reason)}" for v in missing[:VIDEOS_SHOWN]]
    if len(missing) > VIDEOS_SHOWN:
        lines.append(f"  and {len(missing) - VIDEOS_SHOWN:,} more videos that are not there")
    return lines


def to_table(rows: Sequence[JobStatus]) -> str:
    """Return a table with one line for each status, without a line break at its end."""
    table = [("ID", "JOB", "STATUS", "STARTED", "TOOK", "DONE", "FAILED", "LEFT")]
    for row in rows:
        started = "-" if row.started is None else _local_time(row.started)
        took = "-" if row.seconds is None else duration_text(row.seconds)
        done, failed, left = (
            "-" if count is None else f"{count:,}" for count in (row.done, row.failed, row.left)
        )
        waits = row.live is not None and bool(row.live.waits) and not row.live.workers
        state = "stopping" if row.stopping else "waiting" if waits else row.state
        table.append((row.id or "-", printable(row.job), state, started, took, done, failed, left))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def _state(status: JobStatus) -> str:
    took = "" if status.seconds is None else duration_text(status.seconds)
    if status.state == "pending":
        return f"pending for {took}: the cluster has not started it"
    if status.state == "running":
        return f"{'stopping, after' if status.stopping else 'running for'} {took}"
    return status.state + (f" after {took}" if took else "")


def _local_time(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch))
