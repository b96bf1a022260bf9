"""Events as lines of JSON, and back."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_args

from cluster.events.events import Event
from cluster.messages import Progress, WorkerState
from jobs.data_script import finite

LINE_NAMES = {"attempt_id": "attempt", "attempt_number": "attempt", "preempted": "leaving"}
"""The names that some fields have in the lines, which scripts read, where the code has clearer ones."""


def to_json(event: Event, ensure_ascii: bool = False) -> str:
    """Return an event as one line of JSON; numbers that JSON does not have become null."""
    values = {"event": event.event, **asdict(event, dict_factory=_line_fields)}
    return json.dumps(finite(values), ensure_ascii=ensure_ascii)


def _line_fields(values: list[tuple[str, Any]]) -> dict[str, Any]:
    return {LINE_NAMES.get(name, name): value for name, value in values}


_KINDS: dict[str, Any] = {kind.event: kind for kind in get_args(Event)}


T = TypeVar("T")


def from_json(line: str) -> Event | None:
    """Return the event of a line of ``to_json``, perhaps another version's; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = _KINDS.get(str(values.get("event"))) if isinstance(values, dict) else None
    event: Event | None = None if kind is None else build(kind, values)
    return event


def build(kind: type[T], values: object) -> T | None:
    """Return a dataclass from its fields as a line has them, or None when one is missing; other fields are
    ignored."""
    if not isinstance(values, dict):
        return None
    parts: dict[str, Any] = {}
    for name in (part.name for part in fields(kind)):  # type: ignore[arg-type]
        written = LINE_NAMES.get(name, name)
        if written not in values:
            continue
        value = values[written]
        inner = _INNER.get(name)
        if isinstance(value, list):
            value = tuple(build(inner, item) if inner else item for item in value)
            if inner and None in value:
                return None
        parts[name] = value
    try:
        return kind(**parts)
    except TypeError:
        return None


_INNER: dict[str, type[Progress] | type[WorkerState]] = {
    "running": Progress,
    "fleet": WorkerState,
}
"""The fields that hold lists of dataclasses."""
