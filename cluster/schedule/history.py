"""What became of each tick of a schedule: one JSON object a line, appended and never changed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

TickOutcome = Literal["done", "failed", "skipped", "replaced", "missed", "interrupted"]
"""done, failed: it ran to its end, with all its pictures or not; skipped: an earlier one still ran (forbid);
replaced: it was stopped for a later one; missed: nobody was there when it was due; interrupted: it, or the
service, was stopped. What was begun and not ended is gone on with by the next one."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick, or several alike that were missed in a row."""

    job: str
    """The job file."""
    name: str
    planned: str
    """When it was due, ISO 8601 in UTC."""
    outcome: TickOutcome
    started: str | None = None
    ended: str | None = None
    exit_status: int | None = None
    done: int | None = None
    """Pictures of this run,"""
    failed: int | None = None
    left: int | None = None
    """and of the whole job."""
    reason: str | None = None
    log: str | None = None
    count: int = 1
    """So many ticks, of which ``planned`` was the first."""


def iso_time(time: datetime) -> str:
    """A moment as it is written."""
    return time.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(written: str) -> datetime:
    """A moment as ``iso_time`` wrote it."""
    return datetime.fromisoformat(written.replace("Z", "+00:00"))  # Python 3.10 knows no Z


class History:
    """The file. Safe to append to from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def append(self, tick: Tick) -> None:
        """Write one down, to stay."""
        line = json.dumps({k: v for k, v in asdict(tick).items() if v is not None})
        with self._lock, self._path.open("ab") as file:
            if file.tell() and not _ends_a_line(self._path):
                file.write(b"\n")  # of one that was being written when the machine stopped
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def ticks(self) -> Iterator[Tick]:
        """All of them, the oldest first. A line that cannot be read is left out."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        known = {field.name for field in fields(Tick)}
        for line in lines:
            try:
                entry: dict[str, Any] = json.loads(line)
                yield Tick(**{key: value for key, value in entry.items() if key in known})
            except (ValueError, TypeError, AttributeError):
                continue


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
