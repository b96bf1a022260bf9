"""pydantic's errors as sentences, each with its place in the file."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    for loc, message in complaints(error, place, source.written):
        yield source.problem((*place, *loc), message), loc


def complaints(
    error: ValidationError,
    place: FieldPath = (),
    written: Callable[[FieldPath], str | None] = lambda _: None,
) -> Iterator[tuple[FieldPath, str]]:
    """Yield each fault of an error about one field as (path below that field, sentence).

    Args:
        error: pydantic's error about the field's value.
        place: The path of the field; empty: the file as a whole.
        written: Returns the text of a scalar as the file has it; None: it is not known.
    """
    for detail in _one_for_each_field(error):
        path = (*place, *detail["loc"])
        yield detail["loc"], _message(detail, path, written(path))


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


def _message(detail: Mapping[str, Any], path: FieldPath, written: str | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail.get("input")
    given = shown(value)
    if kind in ("string_type", "pictures", "style", "mask") and (text := _text_of(value, written)):
        return f"{text} is not text: write it in quotes, '{text}'"
    if isinstance(value, float) and math.isnan(value):
        return "is not a number"
    if kind == "extra_forbidden":
        model = section_of(field_name(path[:-1]))
        return unknown_key(str(detail["loc"][-1]), model.model_fields if model else ())
    if kind == "missing":
        return "is required"
    if kind in ("greater_than_equal", "greater_than"):
        limit = _plain(context.get("ge", context.get("gt")))
        return f"{given} is below {limit}" if "ge" in context else f"{given} is not above {limit}"
    if kind in ("less_than_equal", "less_than"):
        return f"{given} is above {_plain(context.get('le', context.get('lt')))}"
    if kind == "literal_error":
        return f"{given} is not one of {context['expected'].replace(' or ', ', ')}"
    if kind == "joined":
        return (
            f"{given} is neither a whole number nor {detail['word']}{_number_in(value, whole=True)}"
        )
    if kind in ("list_type", "dict_type", "model_type"):
        return _not_of_shape(kind, value, path)
    if kind in _TYPES:
        whole = kind in ("int_type", "int_from_float")
        more = _number_in(value, whole) if whole or kind == "float_type" else ""
        return f"{given} is not {_TYPES[kind]}{more}"
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
}


def _plain(limit: Any) -> Any:
    """Return a limit as people write it: 64 and not 64.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _text_of(value: object, written: str | None) -> str | None:
    """Return what a user meant as text and YAML takes for a number, for true, or for a mapping."""
    if isinstance(value, bool | int | float):
        return written or shown(value)
    if isinstance(value, dict) and len(value) == 1 and None in value.values():
        return f"{{{next(iter(value))}}}"  # such as {content}
    return None


def _number_in(value: object, whole: bool) -> str:
    """Return what to write instead of a text that means a number, such as '64'; empty: it means none."""
    if not isinstance(value, str):
        return ""
    digits = value.strip().replace("_", "")
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"[-+]?\d+,\d+", digits):
        digits = digits.replace(",", ".")
    if not re.fullmatch(r"[-+]?\d+" if whole else r"[-+]?(\d+(\.\d*)?|\.\d+)", digits):
        return ""
    return f": write {digits}" + (", without quotes" if digits == value else "")


def _not_of_shape(kind: str, value: object, path: FieldPath) -> str:
    """Return the sentence for what is no list, or no mapping, with an example of what is."""
    name = str(path[-1]) if path else ""
    # The address of a webhook is often its password.
    given = f"{shown(value)} is" if name != "notify" else "is"
    if kind == "list_type":
        if isinstance(value, dict) or name == "pairs":
            return "is not a list: begin each of its entries with '- '"
        is_short = isinstance(value, str | int | float) and len(str(value)) <= 60
        return f"{given} not a list{f': write [{value}]' if is_short else ''}"
    if isinstance(value, list):
        given = "is a list,"
    model = section_of(field_name(path))
    if path and isinstance(path[-1], int):
        name = "pairs[]"
    example = _EXAMPLES.get(name) or (
        f"{{{next(iter(model.model_fields))}: ...}}" if model is not None else "{key: value}"
    )
    return f"{given} not a mapping such as {example}"


_EXAMPLES = {
    "recipe": "{size: 1024}",
    "sweep": "{seed: [0, 1]}",
    "labels": "{zone: a}",
    "pairs[]": "{content: photos/, style: wave.jpg}",
    "notify": "{url: $WEBHOOK}",
    "schedule": "{cron: '@daily'}",
}
"""Sections whose first key is no good example."""


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Return the sentence for a key that is none of ``known``, with the nearest of them."""
    odd = next((c for c in name if c.isspace() and c != " "), None)
    if odd is not None:
        return f"is not a key: it has the character U+{ord(odd):04X}, which only looks like a space"
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
    return f"is not a key; {hint}"
