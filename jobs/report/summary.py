"""Records -> what a job came to, in numbers and in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from jobs.errors import printable
from jobs.records.segments import Entry
from jobs.records.verify import Damage

SHOWN_FAILURES = 20


@dataclass
class Summary:
    """What the records of an output say."""

    output: str
    done: int = 0
    failed: int = 0
    steps: int = 0
    render_seconds: float = 0.0
    """Device time of the attempts that succeeded."""
    retried: int = 0
    """Tasks that took more than one attempt."""
    bytes: int = 0
    """Of the pictures."""
    devices: dict[str, int] = field(default_factory=dict)
    """Pictures by the kind of device that painted them."""
    concessions: dict[str, int] = field(default_factory=dict)
    """Pictures by what had to be done for lack of memory; mostly none."""
    failures: list[dict[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Pictures of finished tasks that are not there any more,"""
    damaged: list[str] = field(default_factory=list)
    """or are not what was stored."""

    def to_json(self) -> dict[str, Any]:
        """For summary.json and ``--json``."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person, in a terminal."""
        lines = [f"{self.output}: {self.done} done, {self.failed} failed"]
        if self.done:
            lines.append(
                f"  {self.steps:,} steps in {self.render_seconds:,.0f} s of device time "
                f"({self.render_seconds / max(1, self.steps):.2g} s a step), "
                f"{self.bytes / 1e6:,.1f} MB of pictures"
            )
            painted = ", ".join(f"{count} on {device}" for device, count in self.devices.items())
            lines.append(
                f"  painted {painted}" + (f"; {self.retried} retried" if self.retried else "")
            )
        if self.concessions:
            made = ", ".join(f"{what} ({count})" for what, count in self.concessions.items())
            lines.append(f"  to make do with the memory there was: {made}")
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
        return "\n".join(lines)


def summarise(output: str, entries: Iterable[Entry], damages: Iterable[Damage] = ()) -> Summary:
    """Count the records of one output; ``damages`` are pictures that are not as they were stored."""
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
