"""``output``, ``image`` and ``losses``: where results go, and in what form."""

from __future__ import annotations

import json
import os
import re
from string import Formatter
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from jobs.errors import AddressError
from jobs.spec.values import Interval, Section, interval_schema, shown
from jobs.storage.addresses import fault_of, split_url
from stylize.recipe import Recipe

NAME_FIELDS = ("content", "style")
"""Fields of ``image.name`` besides the recipe's knobs."""


FILM_FIELDS = ("film", "number")
"""Fields of ``image.name`` that frames of films have, and no other pictures."""


DEFAULT_NAME = "{content}--{style}"
"""``image.name`` where none is given."""


SHALLOW_FORMATS: list[JsonValue] = ["jpeg", "webp", "avif", "jxl"]
"""Formats that have no 16 bits per channel."""


SRGB_FORMATS: list[JsonValue] = ["jxl"]
"""Formats that are written in sRGB alone."""


SHOWN = ("thumbnails", "previews")
"""Keys of ``image`` that say what is shown of pictures, and change no picture."""


LEAST_PREVIEW_SECONDS = 5.0
"""The shortest time between two previews of a picture, in seconds."""


def _known_fields(template: str) -> str:
    try:
        parsed = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise PydanticCustomError(
            "name", "is not a name with {fields} ({reason})", {"reason": str(error)}
        ) from error
    for _, name, width, conversion in parsed:
        if name not in (*NAME_FIELDS, *FILM_FIELDS, *Recipe.model_fields) or width or conversion:
            raise PydanticCustomError(
                "name",
                "has no field {field}; it takes {content}, {style} and any knob of the recipe, and for "
                "films {film} and {number}",
                {"field": f"{{{name}}}"},
            )
    return template


def _depth_of_format(bit_depth: int, others: ValidationInfo) -> int:
    image_format = others.data.get("format")  # absent when it is wrong itself
    if bit_depth == 16 and image_format in SHALLOW_FORMATS:
        raise PydanticCustomError(
            "bit_depth",
            "16 is for png and tiff; {format} has 8 bits per channel",
            {"format": image_format},
        )
    return bit_depth


def _profile_of_format(profile: str, others: ValidationInfo) -> str:
    image_format = others.data.get("format")  # absent when it is wrong itself
    if profile != "srgb" and image_format in SRGB_FORMATS:
        raise PydanticCustomError(
            "profile",
            "{profile} is for png, jpeg, webp, tiff and avif; {format} is written in srgb",
            {"profile": profile, "format": image_format},
        )
    return profile


class ImageOptions(Section):
    """How pictures are written."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": {"properties": {"format": {"enum": formats}}, "required": ["format"]},
                    "then": {"properties": {key: {"enum": [value, None]}}},
                }
                for formats, key, value in (
                    (SHALLOW_FORMATS, "bit_depth", 8),
                    (SRGB_FORMATS, "profile", "srgb"),
                )
            ]
        }
    )

    format: Literal["png", "jpeg", "webp", "tiff", "avif", "jxl"] = Field(
        "png", description="File format."
    )
    quality: int = Field(92, ge=1, le=100, description="Quality of jpeg, webp, avif and jxl.")
    bit_depth: Annotated[Literal[8, 16], AfterValidator(_depth_of_format)] = Field(
        8, description="Bits per channel: 8, or 16 in png and tiff."
    )
    profile: Annotated[Literal["srgb", "display-p3"], AfterValidator(_profile_of_format)] = Field(
        "srgb",
        description="Colour space in which pictures are read, painted and written.",
    )
    metadata: Literal["recipe", "none"] = Field(
        "recipe",
        description="What the file says about itself: the task's id and recipe, or nothing.",
    )
    alpha: Literal["keep", "drop"] = Field(
        "keep", description="Whether the content's transparency is kept (not in jpeg)."
    )
    name: Annotated[str, AfterValidator(_known_fields)] = Field(
        DEFAULT_NAME,
        min_length=1,
        max_length=500,
        description="Name of the picture before -<id>; {content}, {style} and any knob, as {size}; for "
        "films also {film} and {number}. Default for films: {film}--{style}.{number}.",
    )
    thumbnails: bool = Field(
        True,
        description="Whether the gallery gets small pictures, also of contents and styles, and loss curves.",
    )
    previews: Interval = Field(
        None,
        ge=LEAST_PREVIEW_SECONDS,
        description="How often a picture that is being painted is shown as it is so far: every 30 s, at "
        "least 5 s; off: never.",
        json_schema_extra=interval_schema,
    )


class LossOptions(Section):
    """The loss log."""

    every: int = Field(
        10, ge=1, description="Log every N steps, and the first and last of each size."
    )
    tensorboard: bool = Field(
        False, description="Also write each log as an event file for TensorBoard, to tensorboard/."
    )


OUTPUT_FIELDS = ("{date}", "{time}")
"""Fields of ``output`` whose values differ from tick to tick."""


NO_PLACE = r"^(?!(s3|file)://)([A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]+:/|([sS]3|[fF]ile|https?):)"
"""What no output begins with, for the JSON Schema; ``known_place`` refuses more."""


VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)
"""An environment variable in ``output``, $NAME or ${NAME}; and $$, a dollar sign."""


HANDED_ON = "STYLEFARM_VARIABLES"
"""The environment variable with those of the machine that submitted or exported the job, as a JSON object.

They are handed on under this name because some, such as HOME, have another meaning for the run itself."""


def variables_in(output: str) -> dict[str, str]:
    """Return the environment variables that an output, as it is written, has; an unset one is empty."""
    try:
        handed_on = dict(json.loads(os.environ.get(HANDED_ON, "{}")))
    except (ValueError, TypeError):
        handed_on = {}
    names = [first or second for first, second in VARIABLE.findall(output) if first or second]
    return {name: str(handed_on.get(name) or os.environ.get(name, "")) for name in names}


def handed_on(output: str) -> dict[str, str]:
    """Return what the environment of a run elsewhere needs, so that an output is the same place there.

    Args:
        output: The output as it is written.
    """
    variables = variables_in(output)
    return {HANDED_ON: json.dumps(variables)} if variables else {}


def filled_in(output: str) -> str:
    """Return ``output`` with its environment variables replaced by their values, and ``$$`` by a dollar sign.

    No task's id depends on it, so it may differ from machine to machine, unlike the addresses of pictures.

    Raises:
        PydanticCustomError: A variable is not set.
    """
    values = variables_in(output)
    for name, value in values.items():
        if not value:
            raise PydanticCustomError(
                "variable",
                "{output}: the environment variable {name} is not set; set it, or write the path itself, in "
                "which $$ is a dollar sign",
                {"output": output, "name": name},
            )
    return VARIABLE.sub(lambda found: values.get(found[1] or found[2], "$"), output)


def known_place(output: str) -> str:
    """Return ``output`` if it means a folder or ``s3://bucket/prefix``; else raise PydanticCustomError."""
    scheme, mark, _ = output.partition("://")
    bare = output
    for field in OUTPUT_FIELDS:
        bare = bare.replace(field, "")
    if "{" in bare or "}" in bare:
        raise PydanticCustomError(
            "output",
            "{given} has other braces than {date} and {time}, which stand for those of the tick",
            {"given": shown(output)},
        )
    if not output.strip():
        raise PydanticCustomError("output", "is empty")
    fault = fault_of(output)
    if fault is None and "\\" in output and os.name != "nt":
        fault = "has a backslash: write / between folders"
    if fault is not None:
        raise PydanticCustomError("output", "{given} {fault}", {"given": output, "fault": fault})
    if mark and scheme not in ("s3", "file"):
        raise PydanticCustomError(
            "output", "{scheme}:// cannot be written to; give a folder or s3://", {"scheme": scheme}
        )
    if scheme == "s3" and mark:
        try:
            split_url(output)
        except AddressError:
            raise PydanticCustomError(
                "output",
                "must read s3://bucket/prefix, where the bucket has at least three letters, digits, "
                "'.', '_' or '-'; credentials do not belong in it",
            ) from None
    return output
