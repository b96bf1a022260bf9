"""The base of all sections, the values that several of them share, and their JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
)
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A section of a job file: frozen, without unknown keys, and without conversions between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def shown(value: object) -> str:
    """Return a value as the user would write it, in at most 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one such value, or of a list of at least one."""
    return {"anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}]}


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError(
            "duration",
            "{given} is not a duration: give seconds, or a number with s, m, h or d, such as 5m",
            {"given": shown(value)},
        )
    return float(match[1]) * _UNITS[match[2]]


def duration_schema(schema: dict[str, Any]) -> None:
    """Change the JSON Schema of a number, in place, to that of a ``Duration``."""
    number = {key: schema.pop(key) for key in ("minimum", "exclusiveMinimum") if key in schema}
    text = {"type": "string", "pattern": rf"^\s*{_DURATION.pattern}\s*$"}
    schema.pop("type", None)
    schema["anyOf"] = [{"type": "number", **number}, text]


def optional_duration_schema(schema: dict[str, Any]) -> None:
    """Change the JSON Schema of an optional number, in place, to that of an optional ``Duration``."""
    number = next(kind for kind in schema.pop("anyOf") if kind["type"] == "number")
    # Limits behind a validator keep pydantic's own names, ge and gt.
    names = {"ge": "minimum", "gt": "exclusiveMinimum"}
    schema.update({names.get(key, key): value for key, value in number.items()})
    duration_schema(schema)
    schema["anyOf"].append({"type": "null"})


Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds. Written as a number, or with a unit: 90s, 5m, 1h, 2d."""


def replace_schema(schema: dict[str, Any], by: dict[str, Any]) -> None:
    """Replace a JSON Schema, in place, except its title and description."""
    kept = {key: schema[key] for key in ("title", "description") if key in schema}
    schema.clear()
    schema.update(kept | by)
