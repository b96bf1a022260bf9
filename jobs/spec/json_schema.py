"""The JSON Schema of a job file, for editors."""

from __future__ import annotations

from typing import Any

from jobs.spec.job import JobSpec
from stylize.layer_names import LAYERS
from stylize.recipe import Recipe


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a job file (draft 2020-12), as a dict that ``json.dumps`` takes.

    It takes what the loader takes, refuses what the loader refuses, as far as JSON Schema can say it, and
    every key has a description.
    """
    schema = JobSpec.model_json_schema()
    recipe = _recipe_schema()
    schema.setdefault("$defs", {})["Recipe"] = recipe
    reference = {"$ref": "#/$defs/Recipe"}
    schema["properties"]["recipe"] = reference
    pair = schema["$defs"]["PairSet"]["properties"]
    pair["recipe"] = reference
    pair["sweep"] = {
        "type": "object",
        "additionalProperties": False,
        "description": pair["sweep"]["description"],
        "properties": {
            knob: {"type": "array", "minItems": 1, "items": value}
            for knob, value in recipe["properties"].items()
        },
    }
    for definition in schema["$defs"].values():
        # Only a docstring's first sentence is written for users; the rest is for readers of the code.
        first, _, _ = definition.get("description", "").partition(". ")
        definition["description"] = first.replace("`", "").rstrip(".") + "."
    for section in (schema, *schema["$defs"].values()):
        for key, value in section["properties"].items():
            if key not in section.get("required", ()):
                section["properties"][key] = _or_nothing(value, schema["$defs"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stylefarm job",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _or_nothing(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a value or of null: a key with nothing after it counts as not given."""
    shown: dict[str, Any] = {
        key: schema[key] for key in ("title", "description", "default") if key in schema
    }
    if "$ref" in schema:
        whole = definitions[schema["$ref"].rpartition("/")[2]]
        shown.setdefault("description", whole["description"])
    value = {key: part for key, part in schema.items() if key not in shown}
    kinds = value.pop("anyOf") if set(value) == {"anyOf"} else [value]
    nothing = {"type": "null"}
    return {**shown, "anyOf": kinds if nothing in kinds else [*kinds, nothing]}


def _recipe_schema() -> dict[str, Any]:
    schema = Recipe.model_json_schema()
    for name, knob in schema["properties"].items():
        # A knob that is not given has the preset's value, so no single default is right for all presets.
        if name != "preset":
            knob.pop("default", None)
        if name.endswith("_layers"):
            mapping = {
                key: knob.pop(key) for key in list(knob) if key not in ("title", "description")
            }
            names = {"enum": list(LAYERS)}
            mapping |= {"propertyNames": names, "minProperties": 1}
            knob["anyOf"] = [mapping, {"type": "array", "minItems": 1, "items": names}]
    return schema
