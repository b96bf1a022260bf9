"""pydantic's errors as sentences, each with its place in the file."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from jobs.errors import Problem
from jobs.jobfile.yaml_source import FieldPath, Source, field_name
from jobs.spec.job import section_of
from jobs.spec.values import shown


def problems_of(source: Source, error: ValidationError) -> list[Problem]:
    """Return the problems in an error about a whole file."""
    return [problem for problem, _ in located_problems(source, error, ())]


def located_problems(
    source: Source, error: ValidationError, place: FieldPath
) -> Iterator[tuple[Problem, FieldPath]]:
    """Yield each fault of an error about one field as a problem, with its path below that field.

    Args:
        source: The job file's text, which gives each problem its line.
        error: pydantic's error about the field's value.
        place: The path of the field in the file; empty: the file as a whole.
    """
    for loc, message in complaints(error, place):
        yield source.problem((*place, *loc), message), loc


def complaints(error: ValidationError, place: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """Yield each fault of an error about the field ``place`` as (path below ``place``, sentence)."""
    for detail in _one_for_each_field(error):
        loc = detail["loc"]
        yield loc, _message(detail, field_name((*place, *loc[:-1])))


def _one_for_each_field(error: ValidationError) -> list[dict[str, Any]]:
    """Return pydantic's errors with those of a union joined, which has one per member that does not match."""
    fields: dict[FieldPath, dict[str, Any]] = {}
    for detail in error.errors(include_url=False):
        loc = detail["loc"]
        if detail["type"] != "extra_forbidden":  # the last part of its path is the user's word
            loc = (*loc[:1], *(part for part in loc[1:] if not _is_union_tag(part)))
        other = fields.get(loc)
        if other is None:
            fields[loc] = {**detail, "loc": loc}
        elif {other["type"], detail["type"]} == {"int_type", "literal_error"}:
            word = {**other.get("ctx", {}), **detail.get("ctx", {})}["expected"]
            fields[loc] = {**other, "type": "joined", "word": word}
        elif other["type"] == "literal_error":  # the value is a number, but out of range
            fields[loc] = {**detail, "loc": loc}
    return list(fields.values())


def _is_union_tag(part: str | int) -> bool:
    """Return whether a part of a path is a union's member: ``int``, ``literal['auto']``, ``constrained-int``.

    It must match no word of a user's: in a blend, a part can be a glob such as ``[ab].jpg``.
    """
    tags = r"int|str|float|literal\[.*\]|constrained-\w+"
    return isinstance(part, str) and re.fullmatch(tags, part) is not None


def _message(detail: Mapping[str, Any], parent: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail.get("input")
    given = shown(value)
    if isinstance(value, float) and math.isnan(value):
        return "is not a number"
    if kind == "extra_forbidden":
        model = section_of(parent)
        return unknown_key(str(detail["loc"][-1]), model.model_fields if model else ())
    if kind == "missing":
        return "is required"
    if kind in ("greater_than_equal", "greater_than"):
        limit = context.get("ge", context.get("gt"))
        return f"{given} is below {limit}" if "ge" in context else f"{given} is not above {limit}"
    if kind in ("less_than_equal", "less_than"):
        return f"{given} is above {context.get('le', context.get('lt'))}"
    if kind == "literal_error":
        return f"{given} is not one of {context['expected'].replace(' or ', ', ')}"
    if kind == "joined":
        return f"{given} is neither a whole number nor {detail['word']}"
    if kind in _TYPES:
        return f"{given} is not {_TYPES[kind]}"
    if kind == "string_too_short":
        return "is empty"
    if kind == "string_too_long":
        return f"{given} is longer than {context['max_length']} characters"
    if kind == "string_pattern_mismatch":
        return f"{given} does not begin with http:// or https://"
    return str(detail["msg"])


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Return the sentence for a key that is none of ``known``, with the nearest of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
    return f"is not a key; {hint}"
