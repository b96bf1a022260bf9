"""From records to the totals of an output, in numbers and in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.filesize import decimal

from jobs.errors import printable
from jobs.records.segments import Entry
from jobs.records.verify import Damage

SHOWN_FAILURES = 20
"""Lines of each kind in the text; the JSON has all."""


@dataclass
class Summary:
    """The totals over all records of an output."""

    output: str
    """The output's address."""
    done: int = 0
    """Tasks that are done."""
    failed: int = 0
    """Tasks that have failed."""
    steps: int = 0
    """Optimiser steps of the done tasks."""
    render_seconds: float = 0.0
    """Seconds of device time of the attempts that succeeded."""
    retried: int = 0
    """Tasks that took more than one attempt."""
    bytes: int = 0
    """Size of the pictures of done tasks."""
    devices: dict[str, int] = field(default_factory=dict)
    """Pictures by the kind of device that painted them."""
    concessions: dict[str, int] = field(default_factory=dict)
    """Pictures by the measure taken for lack of memory; most pictures need none."""
    failures: list[dict[str, str]] = field(default_factory=list)
    """Failed tasks by name: ``id``, ``name``, ``error`` and, where a picture was kept, its key ``kept``."""
    missing: list[str] = field(default_factory=list)
    """Keys of pictures that done tasks have recorded and that no longer exist."""
    damaged: list[str] = field(default_factory=list)
    """Keys of pictures of done tasks that are not what was stored."""
    unreadable: list[str] = field(default_factory=list)
    """Keys of records that cannot be read; their tasks count as not rendered."""
    videos: list[str] = field(default_factory=list)
    """Keys of videos of films."""

    def to_json(self) -> dict[str, Any]:
        """Return the totals as plain values, for summary.json and ``--json``."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the totals as lines of text, for a terminal."""
        lines = [f"{self.output}: {self.done} done, {self.failed} failed"]
        if self.done:
            lines.append(
                f"  {self.steps:,} steps in {self.render_seconds:,.0f} s of device time "
                f"({self.render_seconds / max(1, self.steps):.2g} s a step), "
                f"{decimal(self.bytes)} of pictures"
            )
            painted = ", ".join(f"{count} on {device}" for device, count in self.devices.items())
            lines.append(
                f"  painted {painted}" + (f"; {self.retried} retried" if self.retried else "")
            )
        if self.concessions:
            made = ", ".join(f"{what} ({count})" for what, count in self.concessions.items())
            lines.append(f"  for lack of memory: {made}")
        lines += [f"  video: {key}" for key in self.videos[:SHOWN_FAILURES]]
        if len(self.videos) > SHOWN_FAILURES:
            lines.append(
                f"  and {len(self.videos) - SHOWN_FAILURES} more videos; --json lists them all"
            )
        for failure in self.failures[:SHOWN_FAILURES]:
            kept = f" (last good picture: {failure['kept']})" if "kept" in failure else ""
            lines.append(
                f"  failed: {failure['name']}-{failure['id']}: {printable(failure['error'])}{kept}"
            )
        hidden = len(self.failures) - SHOWN_FAILURES
        if hidden > 0:
            lines.append(f"  and {hidden} more failures; --json lists them all")
        for what, pictures in (("missing", self.missing), ("damaged", self.damaged)):
            lines += [f"  {what}: {key}" for key in pictures[:SHOWN_FAILURES]]
            if len(pictures) > SHOWN_FAILURES:
                lines.append(f"  and {len(pictures) - SHOWN_FAILURES} more; --json lists them all")
        if self.missing or self.damaged:
            lines.append("  render them again: stylefarm run JOB --verify")
        if self.unreadable:
            count = len(self.unreadable)
            these, tasks = (
                (f"{count:,} records", "their tasks") if count > 1 else ("1 record", "its task")
            )
            lines.append(f"  {these} cannot be read, so stylefarm run JOB renders {tasks} again:")
            lines += [f"    {key}" for key in self.unreadable[:SHOWN_FAILURES]]
            if count > SHOWN_FAILURES:
                lines.append(f"    and {count - SHOWN_FAILURES:,} more; --json lists them all")
        return "\n".join(lines)


def summarise(output: str, entries: Iterable[Entry], damages: Iterable[Damage] = ()) -> Summary:
    """Count the records of one output.

    Args:
        output: Its address.
        entries: Its records in short.
        damages: Pictures and videos that are missing or damaged (``verify`` of ``jobs.records`` and of
            ``jobs.videos``).

    Returns:
        The totals, with failures in the order of their names.
    """
    summary = Summary(output)
    for entry in entries:
        summary.retried += entry.attempts > 1
        if entry.status == "failed":
            summary.failed += 1
            kept = {"kept": json.loads(entry.kept)["key"]} if entry.kept else {}
            error = entry.error or "no reason recorded"
            summary.failures.append({"id": entry.id, "name": entry.name, "error": error, **kept})
            continue
        summary.done += 1
        summary.steps += entry.steps
        summary.render_seconds += entry.render_seconds
        summary.bytes += entry.size
        device = entry.device or "an unknown device"
        summary.devices[device] = summary.devices.get(device, 0) + 1
        for what in dict.fromkeys(json.loads(entry.concessions) if entry.concessions else ()):
            summary.concessions[what] = summary.concessions.get(what, 0) + 1
    summary.devices = dict(sorted(summary.devices.items()))
    summary.failures.sort(key=lambda failure: (failure["name"], failure["id"]))
    for damage in damages:
        (summary.missing if damage.what == "missing" else summary.damaged).append(damage.key)
    return summary
