"""Events as lines of JSON: no two fields share a name, and every event comes back as it was."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from cluster.events.events import Event
from cluster.events.json_lines import LINE_NAMES, from_json, to_json
from cluster.messages import Progress, WorkerState

EVENTS = get_args(Event)

each_event = pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)


def value_of(hint: Any) -> Any:
    """A value of a type that is not a usual default."""
    origin, parts = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return filled(hint)
    if origin in (Union, types.UnionType):
        return value_of(next(part for part in parts if part is not type(None)))
    if origin is Literal:
        return parts[0]
    if origin is tuple:
        return (value_of(parts[0]), value_of(parts[0]))
    if origin is Mapping:
        return {value_of(parts[0]): value_of(parts[1])}
    return {str: "Größe \u2028 \n", int: 7, float: 0.25, bool: True}[hint]


def filled(kind: Any) -> Any:
    """A dataclass with all fields set."""
    hints = get_type_hints(kind)
    return kind(**{part.name: value_of(hints[part.name]) for part in fields(kind)})


@pytest.mark.parametrize("kind", [*EVENTS, Progress, WorkerState], ids=lambda kind: kind.__name__)
def test_no_two_fields_have_the_same_name_in_a_line(kind):
    names = [LINE_NAMES.get(part.name, part.name) for part in fields(kind)]

    assert len(set(names)) == len(names)
    assert "event" not in names


def test_all_dataclasses_in_events_are_known():
    """The test above lists those inside of events by hand."""

    def nested(hint: Any) -> set[Any]:
        inner = {kind for part in get_args(hint) for kind in nested(part)}
        return inner | ({hint} if is_dataclass(hint) else set())

    found = {k for kind in EVENTS for h in get_type_hints(kind).values() for k in nested(h)}
    assert found == {Progress, WorkerState}


@each_event
@pytest.mark.parametrize("ensure_ascii", [False, True])
def test_an_event_with_all_fields_comes_back(kind, ensure_ascii):
    event = filled(kind)
    assert all(
        getattr(event, part.name) != part.default
        for part in fields(kind)
        if part.default is not MISSING
    )

    line = to_json(event, ensure_ascii)

    assert "\n" not in line
    assert from_json(line) == event
