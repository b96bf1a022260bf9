"""Events as lines of JSON, and back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_args

from cluster.events.events import Event
from cluster.messages import Progress, StationState


def to_json(event: Event, ensure_ascii: bool = False) -> str:
    """One line of JSON; numbers that JSON does not have become null."""
    fields = {"event": event.event, **asdict(event)}
    return json.dumps(_finite(fields), ensure_ascii=ensure_ascii)


_KINDS: dict[str, Any] = {kind.event: kind for kind in get_args(Event)}


T = TypeVar("T")


def from_json(line: str) -> Event | None:
    """The event of a line of ``to_json``, perhaps of another version's; None of any other line."""
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
    """A dataclass from its fields as JSON has them: others are left alone, and None if any lacks."""
    if not isinstance(values, dict):
        return None
    parts: dict[str, Any] = {}
    for name in (part.name for part in fields(kind) if part.name in values):  # type: ignore[arg-type]
        value = values[name]
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


_INNER: dict[str, type[Progress] | type[StationState]] = {
    "running": Progress,
    "fleet": StationState,
}
"""What lists hold that are not of plain values."""


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
