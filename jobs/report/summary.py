"""Records -> what a job came to, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from jobs.errors import printable
from jobs.tasks import TaskRecord

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
        return "\n".join(lines)


def summarise(output: str, records: Iterable[TaskRecord]) -> Summary:
    """Count the records of one output."""
    summary = Summary(output)
    for record in sorted(records, key=lambda r: (r.name, r.id)):
        summary.retried += len(record.attempts) > 1
        if record.status == "failed":
            summary.failed += 1
            summary.failures.append(
                {
                    "id": record.id,
                    "name": record.name,
                    "error": record.error or "no reason recorded",
                    **({"kept": record.kept.key} if record.kept else {}),
                }
            )
            continue
        summary.done += 1
        summary.steps += record.steps
        summary.render_seconds += record.seconds.get("render", 0.0)
        summary.bytes += record.output.size if record.output else 0
        device = record.attempts[-1].device if record.attempts else "an unknown device"
        summary.devices[device] = summary.devices.get(device, 0) + 1
        for what in dict.fromkeys(record.concessions):
            summary.concessions[what] = summary.concessions.get(what, 0) + 1
    return summary
