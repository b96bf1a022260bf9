"""What became of each tick of a schedule: one JSON object per line, appended and never changed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from jobs.errors import StorageError

TickOutcome = Literal["done", "failed", "skipped", "replaced", "missed", "interrupted"]
"""What became of a tick. The next tick resumes what a run has begun and not finished.

done, failed: its run came to its end, with all its pictures or not; skipped: an earlier run was still in
progress (forbid); replaced: its run was stopped for a later tick; missed: it was not started in time;
interrupted: its run, or the service, was stopped.
"""


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick, or several that were missed in a row. None is what is not known, or what did not happen."""

    job: str
    """The job file's absolute path."""
    name: str
    """The job's name."""
    planned: str
    """When it was due, or when the first of several was; ISO 8601 in UTC."""
    outcome: TickOutcome
    started: str | None = None
    """When its run started; ISO 8601 in UTC."""
    ended: str | None = None
    """When its run ended; ISO 8601 in UTC."""
    exit_status: int | None = None
    """The exit status of its run."""
    done: int | None = None
    """Pictures that this run rendered."""
    failed: int | None = None
    """Pictures that failed in this run."""
    left: int | None = None
    """Pictures of the whole job that are left."""
    reason: str | None = None
    """Why it is not done."""
    log: str | None = None
    """The path of the run's log."""
    count: int = 1
    """How many ticks were missed in a row, >= 1."""


def iso_time(time: datetime) -> str:
    """Return a moment as text: ISO 8601 in UTC, to the second, such as ``2026-05-01T02:30:00Z``."""
    return time.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(written: str) -> datetime:
    """Return the aware moment that ``iso_time`` has written."""
    return datetime.fromisoformat(written.replace("Z", "+00:00"))  # Python 3.10 knows no Z


class History:
    """The file of all ticks. Several threads may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def append(self, tick: Tick) -> None:
        """Append a tick, and return when it is on the disk."""
        line = json.dumps({k: v for k, v in asdict(tick).items() if v is not None})
        with self._lock, self._path.open("ab") as file:
            if file.tell() and not _ends_a_line(self._path):
                file.write(b"\n")  # the last line was cut off when the machine stopped
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def ticks(self) -> Iterator[Tick]:
        """Yield all ticks, the oldest first. Lines that cannot be read are skipped. Raises StorageError."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"the history {self._path} cannot be read ({error.strerror or error})"
            ) from None
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
