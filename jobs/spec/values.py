"""The base of all sections, the values that several of them share, and their JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    model_validator,
)
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A section of a job file: frozen, without unknown keys, and without conversions between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _as_given(cls, values: Any) -> Any:
        return as_given(values, cls)


def as_given(values: Any, model: type[BaseModel]) -> Any:
    """Return a section's values without those that are not given, and with whole numbers as such.

    A key with nothing after it counts as not given, perhaps because the lines below it are commented out,
    unless null is one of its values. 1e3 and 10.0 are whole numbers where one is asked for.

    Args:
        values: A section as it was read; anything but a mapping is returned as it is.
        model: The section's model.
    """
    if not isinstance(values, dict):
        return values
    given = {}
    for key, value in values.items():
        kinds = kinds_of(key, model)
        if value is not None or not kinds or type(None) in kinds:
            given[key] = _whole(value, kinds)
    return given


def whole_if_asked(key: str, value: Any, model: type[BaseModel]) -> Any:
    """Return a whole number that was written as a float, such as 10.0, as such where one is asked for.

    Args:
        key: A field of the model, or a key that is none.
        value: Its value; any but a whole number is returned as it is.
        model: The model.
    """
    return _whole(value, kinds_of(key, model))


def _whole(value: Any, kinds: set[Any]) -> Any:
    if int not in kinds or float in kinds or not isinstance(value, float):
        return value
    # Above 2**53 the float may be another number than the one that was written.
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value


def kinds_of(key: object, model: type[BaseModel]) -> set[Any]:
    """Return the types of the values that a field takes; none for a key that is no field."""
    fields: Mapping[Any, Any] = model.model_fields
    return _kinds(fields[key].annotation) if key in fields else set()


def _kinds(annotation: Any) -> set[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin is Literal:
        return {type(value) for value in get_args(annotation)}
    if origin in (Union, UnionType):
        return {kind for member in get_args(annotation) for kind in _kinds(member)}
    return {annotation if origin is None else origin}


def shown(value: object) -> str:
    """Return a value as the user would write it, in at most 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def has_value(key: str) -> dict[str, Any]:
    """Return the JSON Schema of a section that has a key, with something after it."""
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


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


def _interval(value: object) -> object:
    if value is None or value == "off":
        return None
    return _seconds(value.strip().removeprefix("every ") if isinstance(value, str) else value)


def interval_schema(schema: dict[str, Any]) -> None:
    """Change the JSON Schema of an optional number, in place, to that of an ``Interval``."""
    optional_duration_schema(schema)
    text = {"type": "string", "pattern": rf"^\s*(every )?\s*{_DURATION.pattern}\s*$"}
    number, _, nothing = schema["anyOf"]
    schema["anyOf"] = [{"const": "off"}, number, text, nothing]


Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds. Written as a number, or with a unit: 90s, 5m, 1h, 2d."""


Interval = Annotated[float | None, BeforeValidator(_interval)]
"""Seconds between two events of many; None: there are none. Written as a duration, which may begin with
"every", or as "off"."""


def replace_schema(schema: dict[str, Any], by: dict[str, Any]) -> None:
    """Replace a JSON Schema, in place, except its title and description."""
    kept = {key: schema[key] for key in ("title", "description") if key in schema}
    schema.clear()
    schema.update(kept | by)
