"""The job file's models. Reading it, and turning what is wrong into sentences, is ``jobs.load``.

The recipe is kept as the partial mapping the user wrote: it becomes a ``stylize.recipe.Recipe`` only
when job, pair and sweep are laid over one another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    JsonValue,
    PlainSerializer,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from jobs.cron import MACROS, parse_cron
from jobs.storage.base import StorageOptions
from jobs.zones import find_zone
from stylize.layer_names import LAYERS
from stylize.recipe import Recipe

NAME_FIELDS = ("content", "style")
"""What ``image.name`` can hold besides the recipe's knobs."""

SHALLOW_FORMATS: list[JsonValue] = ["jpeg", "webp"]
"""Which have no 16 bits per channel."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StylePart(NamedTuple):
    """One picture of a style."""

    uri: str
    share: float
    """Relative, among those with the same mask."""
    mask: str | None = None
    """A grey picture, white where the style applies; None: everywhere."""


StyleMix = tuple[StylePart, ...]
"""One style as it is rendered: the pictures it is blended from, with their shares."""

MOST_SHARE = 1e9

MASK_FIELD = "{content}"
"""What in a mask stands for the content's name, so that one entry serves a folder of photos."""


class StylePattern(NamedTuple):
    """One style as it is written: patterns for uris. Blended, all they match make one style."""

    parts: StyleMix
    blended: bool


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _pattern(item: object) -> object:
    if not isinstance(item, str) or not item.strip():
        raise PydanticCustomError(
            "pictures", "{given} is not a path, glob, folder or URL", {"given": shown(item)}
        )
    return item


def _mask(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise PydanticCustomError(
            "mask", "{given} is not a path or URL of a picture", {"given": shown(value)}
        )
    if re.search("[{}]", value.replace(MASK_FIELD, "")):
        raise PydanticCustomError(
            "mask",
            "{given} has other braces than {content}, which stands for the content's name",
            {"given": shown(value)},
        )
    return value


def _share(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= MOST_SHARE:  # type: ignore[operator]
        raise PydanticCustomError(
            "share",
            "{given} is not a share: give a number above 0, at most {most}",
            {"given": shown(value), "most": f"{MOST_SHARE:,.0f}"},
        )
    return value


def _blend_part(value: object) -> object:
    return value if isinstance(value, dict | BlendPart) else {"share": _share(value)}


def _all_named(parts: dict[str, BlendPart]) -> dict[str, BlendPart]:
    if not parts or not all(picture.strip() for picture in parts):
        raise PydanticCustomError("blend", "takes pictures, each with its share: {wave.jpg: 0.7}")
    return parts


Mask = Annotated[str, BeforeValidator(_mask)]


class StylePicture(_Model):
    """A style that is one picture (or each that a pattern matches), with a mask."""

    picture: Annotated[str, BeforeValidator(_pattern)]
    mask: Mask | None = None


class BlendPart(_Model):
    """What a blend says of one of its pictures."""

    share: Annotated[float, BeforeValidator(_share)] = 1.0
    mask: Mask | None = None


class _Blend(_Model):
    blend: Annotated[
        dict[str, Annotated[BlendPart, BeforeValidator(_blend_part)]], AfterValidator(_all_named)
    ]


def _style(item: object) -> object:
    """A style as written -> StylePattern. Errors of the parts keep their places below the style's."""
    if isinstance(item, StylePattern):
        return item
    if isinstance(item, str) and item.strip():
        return StylePattern((StylePart(item, 1.0),), blended=False)
    if isinstance(item, dict) and "blend" in item:
        if len(item) > 1:
            beside = ", ".join(f"{key}:" for key in item if key != "blend")
            raise PydanticCustomError(
                "blend",
                "blend: takes nothing beside it, but here is {beside}; a mask: goes with its picture",
                {"beside": beside},
            )
        parts = _Blend.model_validate(item).blend.items()
        mix = tuple(StylePart(picture, part.share, part.mask) for picture, part in parts)
        return StylePattern(mix, blended=True)
    if isinstance(item, dict) and not set(item).isdisjoint(StylePicture.model_fields):
        one = StylePicture.model_validate(item)
        return StylePattern((StylePart(one.picture, 1.0, one.mask),), blended=False)
    raise PydanticCustomError(
        "style",
        "{given} is not a style: give a path, glob, folder or URL, picture: with mask:, or blend: "
        "with pictures and shares",
        {"given": shown(item)},
    )


def _style_as_written(style: StylePattern) -> object:
    if style.blended:
        return {
            "blend": {
                uri: share if mask is None else {"share": share, "mask": mask}
                for uri, share, mask in style.parts
            }
        }
    ((uri, _, mask),) = style.parts
    return uri if mask is None else {"picture": uri, "mask": mask}


def shown(value: object) -> str:
    """A value as the user would write it, not too long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(value: list[Any]) -> list[Any]:
    if not value:
        raise PydanticCustomError("empty", "is empty; give at least one picture")
    return value


_MASK_SCHEMA: dict[str, Any] = {
    "type": ["string", "null"],
    "pattern": r"^([^{}]|\{content\})+$",
    "description": "A grey picture, white where this style applies, of the content's proportions: path "
    "or URL; {content} stands for the content's name.",
}
_SHARE_SCHEMA: dict[str, Any] = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MOST_SHARE,
    "description": "How much of it, among the pictures with the same mask.",
}


def _object_schema(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": list(required)} if required else {})


_STYLE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        _object_schema(
            {
                "picture": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The painting: path, glob, folder or URL.",
                },
                "mask": _MASK_SCHEMA,
            },
            "picture",
        ),
        _object_schema(
            {
                "blend": {
                    "type": "object",
                    "additionalProperties": {
                        "anyOf": [
                            _SHARE_SCHEMA,
                            _object_schema({"share": _SHARE_SCHEMA, "mask": _MASK_SCHEMA}),
                        ]
                    },
                    "minProperties": 1,
                }
            },
            "blend",
        ),
    ]
}


def one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema: one such thing, or a list of them."""
    return {"anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}]}


Patterns = Annotated[
    list[Annotated[str, BeforeValidator(_pattern)]],
    BeforeValidator(_as_list),
    AfterValidator(_some),
]
Styles = Annotated[
    list[
        Annotated[
            InstanceOf[StylePattern], BeforeValidator(_style), PlainSerializer(_style_as_written)
        ]
    ],
    BeforeValidator(_as_list),
    AfterValidator(_some),
]


def _either(given: Any, others: ValidationInfo) -> Any:
    """Content and style, or a manifest, whose rows name them."""
    if "manifest" not in others.data:  # it is wrong itself
        return given
    if others.data["manifest"] is not None:
        if given is not None:
            raise PydanticCustomError(
                "beside_manifest", "does not go with manifest:, whose rows say it"
            )
    elif given is None and others.field_name != "init":
        raise PydanticCustomError("missing", "is required")
    return given


def _with_manifest(given: Any, others: ValidationInfo) -> Any:
    if others.data.get("manifest", ()) is None:
        raise PydanticCustomError("no_manifest", "is for a manifest:, and there is none")
    return given


class PairSet(_Model):
    """One entry of ``pairs``: pictures, the styles to paint them in, and how they combine; or a manifest
    that names them row by row."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {
                    "required": ["content", "style"],
                    "not": {"anyOf": [{"required": ["manifest"]}, {"required": ["on_bad_row"]}]},
                },
                {
                    "required": ["manifest"],
                    "not": {
                        "anyOf": [
                            {"required": [key]} for key in ("content", "style", "combine", "init")
                        ]
                    },
                },
            ]
        }
    )

    # First, for what else may be given depends on it.
    manifest: Patterns | None = Field(
        None,
        description="Instead of content and style: a file with a pair in each row, or several: path, "
        "glob, folder or s3://, of .csv, .tsv, .jsonl (each also .gz) or .parquet; columns content, "
        "style and, where wanted, name, init and recipe.<knob>.",
        json_schema_extra=lambda s: _replace(s, one_or_more({"type": "string", "minLength": 1})),
    )
    on_bad_row: Annotated[Literal["fail", "skip"], AfterValidator(_with_manifest)] = Field(
        "fail",
        description="What becomes of a manifest's row that cannot be used. fail: the run ends; skip: "
        "the row is told and left out.",
    )
    content: Annotated[Patterns | None, AfterValidator(_either)] = Field(
        None,
        validate_default=True,
        description="Photos: path, glob, folder, s3:// prefix or glob, https:// URL, or a list.",
        json_schema_extra=lambda s: _replace(s, one_or_more({"type": "string", "minLength": 1})),
    )
    style: Annotated[Styles | None, AfterValidator(_either)] = Field(
        None,
        validate_default=True,
        description="Paintings: the same, {picture: ..., mask: ...} for a part of the content, or "
        "blend: {picture: share, ...} of several.",
        json_schema_extra=lambda s: _replace(s, one_or_more(_STYLE_SCHEMA)),
    )
    combine: Annotated[Literal["product", "zip"], AfterValidator(_either)] = Field(
        "product",
        description="product: every content in every style; zip: first with first, and so on.",
    )
    init: Annotated[str | None, AfterValidator(_either)] = Field(
        None, min_length=1, description="The picture to start from; sets recipe.init to image."
    )
    recipe: dict[str, Any] = Field(default={}, description="Knobs for this entry, over the job's.")
    sweep: dict[str, Any] = Field(
        default={}, description="Knob: [values]; every combination is rendered."
    )


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError(
            "duration",
            "{given} is not a duration: give seconds, or a number with s, m, h or d, such as 5m",
            {"given": shown(value)},
        )
    return float(found[1]) * _UNITS[found[2]]


def _duration_schema(schema: dict[str, Any]) -> None:
    number = {key: schema.pop(key) for key in ("minimum", "exclusiveMinimum") if key in schema}
    text = {"type": "string", "pattern": rf"^\s*{_DURATION.pattern}\s*$"}
    schema.pop("type", None)
    schema["anyOf"] = [{"type": "number", **number}, text]


def _optional_duration_schema(schema: dict[str, Any], null: bool = True) -> None:
    number = next(kind for kind in schema.pop("anyOf") if kind["type"] == "number")
    # Limits behind a validator keep pydantic's own names.
    names = {"ge": "minimum", "gt": "exclusiveMinimum"}
    schema.update({names.get(key, key): value for key, value in number.items()})
    _duration_schema(schema)
    if null:
        schema["anyOf"].append({"type": "null"})
    else:
        schema.pop("default")


Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds; written as a number of them, or with a unit: 90s, 5m, 1h, 2d."""


def _whole_or_share(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise PydanticCustomError(
            "gpus",
            "{given} is neither a share of a GPU, up to 1, nor a whole number of them",
            {"given": shown(gpus)},
        )
    return gpus


def _at_most_max(fewest: int, others: ValidationInfo) -> int:
    most = others.data.get("max", "auto")
    if isinstance(most, int) and fewest > most:
        raise PydanticCustomError(
            "min", "{fewest} is above workers.max, {most}", {"fewest": fewest, "most": most}
        )
    return fewest


_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"^([A-Za-z0-9.-]+/)?{_LABEL}$"
_LABEL_VALUE = rf"^!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))$"


def _ray_labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not re.match(_LABEL_KEY, key) or not re.match(_LABEL_VALUE, value):
            raise PydanticCustomError(
                "labels",
                "{given} is no condition on a Ray label: give name: value, !value, in(a, b) or !in(a, b)",
                {"given": shown({key: value})},
            )
    return labels


class Workers(_Model):
    """How many workers, and what each holds."""

    max: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto",
        description="Most workers at once; auto: what the cluster has, also when nodes join. More than "
        "there is makes an autoscaler add nodes.",
    )
    min: Annotated[int, AfterValidator(_at_most_max)] = Field(
        1, ge=1, le=100_000, description="Fewest workers to keep, also when little is left to do."
    )
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="What workers render on; auto: GPUs where the cluster has any."
    )
    gpus: Annotated[float, AfterValidator(_whole_or_share)] = Field(
        1.0,
        gt=0,
        le=64,
        description="GPUs of each worker: 1, a share such as 0.5, or several, on each of which it then "
        "paints. Without any GPU, workers use CPUs.",
        json_schema_extra={"anyOf": [{"maximum": 1}, {"type": "integer"}]},
    )
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto", description="CPU threads of each worker; auto: what there is, shared out."
    )
    batch: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto",
        description="Pictures of one shape painted together; auto: on a GPU as many as fit and make it "
        "faster, else 1.",
    )
    labels: Annotated[dict[str, str], AfterValidator(_ray_labels)] = Field(
        default={},
        json_schema_extra={
            "propertyNames": {"pattern": _LABEL_KEY},
            "additionalProperties": {"type": "string", "pattern": _LABEL_VALUE},
        },
        description="Ray labels of the nodes to use, such as {ray.io/accelerator-type: in(A100, H100)}.",
    )
    stall_timeout: Duration = Field(
        300.0,
        gt=0,
        description="A worker that makes no step for so long is killed, and its task tried again.",
        json_schema_extra=_duration_schema,
    )
    grace: Duration = Field(
        20.0,
        ge=0,
        description="When its machine is taken away, how long a worker paints on to its next checkpoint.",
        json_schema_extra=_duration_schema,
    )


def _known_fields(template: str) -> str:
    try:
        parsed = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise PydanticCustomError(
            "name", "is not a name with {fields} ({reason})", {"reason": str(error)}
        ) from error
    for _, name, width, conversion in parsed:
        if name not in (*NAME_FIELDS, *Recipe.model_fields) or width or conversion:
            raise PydanticCustomError(
                "name",
                "knows no {field}; it takes {content}, {style} and any knob of the recipe",
                {"field": f"{{{name}}}"},
            )
    return template


def _depth_of_format(bit_depth: int, others: ValidationInfo) -> int:
    image_format = others.data.get("format")  # not there when it is wrong itself
    if bit_depth == 16 and image_format in SHALLOW_FORMATS:
        raise PydanticCustomError(
            "bit_depth",
            "16 is for png and tiff; {format} has 8 bits per channel",
            {"format": image_format},
        )
    return bit_depth


class ImageOptions(_Model):
    """How pictures are written."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"format": {"enum": SHALLOW_FORMATS}}, "required": ["format"]},
            "then": {"properties": {"bit_depth": {"const": 8}}},
        }
    )

    format: Literal["png", "jpeg", "webp", "tiff"] = Field("png", description="File format.")
    quality: int = Field(92, ge=1, le=100, description="Of jpeg and webp.")
    bit_depth: Annotated[Literal[8, 16], AfterValidator(_depth_of_format)] = Field(
        8, description="Bits per channel: 8, or 16 in png and tiff."
    )
    alpha: Literal["keep", "drop"] = Field(
        "keep", description="Whether the content's transparency is kept (not in jpeg)."
    )
    name: Annotated[str, AfterValidator(_known_fields)] = Field(
        "{content}--{style}",
        min_length=1,
        max_length=500,
        description="Name of the picture before -<id>; {content}, {style} and any knob, as {size}.",
    )


class InputOptions(_Model):
    """Where pictures may come from."""

    allow_private: bool = Field(
        False,
        description="Fetch https:// pictures also from private addresses, which a job file could "
        "otherwise use to look into the farm's own network.",
    )


class LossOptions(_Model):
    """The loss log."""

    every: int = Field(10, ge=1, description="Log every so many steps (and the ends of each size).")


def _some_events(events: list[str]) -> list[str]:
    if not events:
        raise PydanticCustomError("empty", "is empty; leave notify out to be told nothing")
    return events


class Retries(_Model):
    """What happens when a machine fails."""

    attempts: int = Field(
        3, ge=1, le=100, description="Most attempts at a task. A bad picture is never tried twice."
    )
    storage_patience: Duration = Field(
        3600.0,
        ge=0,
        description="How long to wait for a storage in trouble, with nothing new begun, before giving up.",
        json_schema_extra=_duration_schema,
    )


class Stop(_Model):
    """When to stop before everything is done."""

    max_failures: int | None = Field(
        None, ge=1, description="Stop when so many tasks have failed in this run."
    )
    max_gpu_hours: float | None = Field(
        None,
        gt=0,
        description="Stop when the run's workers have held their GPUs for so long, all together.",
    )


def _webhook(url: str) -> str:
    if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", url) or re.match(r"https?://[^/?#\s]", url):
        return url
    raise PydanticCustomError(
        "webhook",
        "is no web address: give https://..., or $NAME of an environment variable that holds it",
    )


def _without_path(url: str) -> str:
    """A webhook's path is often its password, so it is written nowhere."""
    return url if url.startswith("$") else f"{url.partition('://')[0]}://..."


class Notify(_Model):
    """A webhook that is told how a run ended."""

    url: Annotated[str, AfterValidator(_webhook), PlainSerializer(_without_path)] = Field(
        description="Where to POST it: a web address, or $NAME of an environment variable that holds it.",
        json_schema_extra={"pattern": r"^(\$[A-Za-z_][A-Za-z0-9_]*$|https?://[^/?#\s])"},
    )
    on: Annotated[list[Literal["done", "failed", "stopped"]], AfterValidator(_some_events)] = Field(
        default=["done", "failed", "stopped"],
        description="What it is told: done, when all is done; failed, when tasks failed or the run could "
        "not go on; stopped, when it was interrupted or came to a limit.",
        json_schema_extra={"minItems": 1},
    )


def _known_version(version: int) -> int:
    if version != 1:
        raise PydanticCustomError(
            "version",
            "{version} is not known; this stylefarm reads version 1",
            {"version": version},
        )
    return version


def _cron(text: str) -> str:
    try:
        parse_cron(text)
    except ValueError as error:
        raise PydanticCustomError(
            "cron",
            "{given} is not a cron expression: {reason}",
            {"given": shown(text), "reason": str(error)},
        ) from None
    return text


def _cron_or_every(every: float | None, others: ValidationInfo) -> float | None:
    if "cron" in others.data and (others.data["cron"] is None) == (every is None):
        raise PydanticCustomError("when", "takes cron: or every:, one of the two")
    return every


def _known_zone(name: str) -> str:
    try:
        find_zone(name)
    except ValueError:
        raise PydanticCustomError(
            "time_zone",
            "{given} is not a time zone; give a name such as Europe/Rome, or UTC",
            {"given": shown(name)},
        ) from None
    return name


_CRON_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^\s*({'|'.join(MACROS)}|[^\s@]\S*(\s+\S+){{4}})\s*$",
    "examples": ["0 2 * * *", "*/30 8-18 * * mon-fri", "@daily"],
}


class Schedule(_Model):
    """When `stylefarm schedule` renders the job, in the words of Kubernetes."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["cron"]}, {"required": ["every"]}],
        }
    )

    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None,
        description="Minute, hour, day of the month, month and day of the week; or @daily and its like.",
        json_schema_extra=lambda s: _replace(s, _CRON_SCHEMA),
    )
    every: Annotated[Annotated[Duration, Field(ge=1)] | None, AfterValidator(_cron_or_every)] = (
        Field(
            None,
            validate_default=True,
            description="Instead of cron: how often, counted from 1970-01-01 00:00 UTC.",
            json_schema_extra=_optional_duration_schema,
        )
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", min_length=1, description="Whose clock it is, such as Europe/Rome."
    )
    concurrency_policy: Literal["allow", "forbid", "replace"] = Field(
        "forbid",
        description="What becomes of a tick while an earlier one still runs. forbid: it is skipped; replace: "
        "the earlier one is stopped; allow: both run.",
    )
    starting_deadline: Annotated[Duration, Field(gt=0)] | None = Field(
        None,
        description="How late a tick may begin that was missed; null: however late.",
        json_schema_extra=_optional_duration_schema,
    )
    if_changed: bool = Field(
        True, description="Render again what was rendered of pictures that have changed since."
    )


def _told_apart(schedule: Schedule | None, others: ValidationInfo) -> Schedule | None:
    output = others.data.get("output")  # not there when it is wrong itself
    allows = schedule is not None and schedule.concurrency_policy == "allow"
    if allows and output is not None and "{" not in output:
        raise PydanticCustomError(
            "allow",
            "concurrency_policy: allow wants an output for each tick, for one run works on an output at "
            "a time: put {date} or {time} into output, or say forbid or replace",
        )
    return schedule


OUTPUT_FIELDS = ("{date}", "{time}")
"""What an output may hold that is another at every tick."""


def _known_place(output: str) -> str:
    scheme, mark, rest = output.partition("://")
    bare = output
    for field in OUTPUT_FIELDS:
        bare = bare.replace(field, "")
    if "{" in bare or "}" in bare:
        raise PydanticCustomError(
            "output",
            "{given} has other braces than {date} and {time}, which stand for those of the tick",
            {"given": shown(output)},
        )
    if mark and scheme not in ("s3", "file"):
        raise PydanticCustomError(
            "output", "{scheme}:// cannot be written to; give a folder or s3://", {"scheme": scheme}
        )
    if scheme == "s3" and mark and not re.fullmatch(r"[\w.-]{3,255}", rest.partition("/")[0]):
        raise PydanticCustomError(
            "output",
            "must read s3://bucket/prefix, where the bucket has at least three letters, digits, "
            "'.', '_' or '-'; credentials do not belong in it",
        )
    return output


class JobSpec(_Model):
    """A job: what to render, how, and where it goes."""

    version: Annotated[int, AfterValidator(_known_version)] = Field(
        1, description="Version of this format: 1.", json_schema_extra={"const": 1}
    )
    name: str = Field("job", min_length=1, max_length=200, description="What to call it.")
    output: Annotated[str, AfterValidator(_known_place)] = Field(
        min_length=1,
        description="Where it goes: a folder or s3://bucket/prefix; {date} and {time} in it stand for those "
        "of the tick, or of now.",
        json_schema_extra={"pattern": r"^([^{}]|\{(date|time)\})+$"},
    )
    storage: StorageOptions = Field(
        default_factory=lambda: StorageOptions.model_validate({}),
        description="How to reach S3. Credentials come from the standard AWS chain, never from here.",
    )
    recipe: dict[str, Any] = Field(default={}, description="How each picture is rendered.")
    pairs: list[PairSet] = Field(description="What is rendered.", json_schema_extra={"minItems": 1})
    inputs: InputOptions = Field(default_factory=lambda: InputOptions.model_validate({}))
    workers: Workers = Field(default_factory=lambda: Workers.model_validate({}))
    image: ImageOptions = Field(default_factory=lambda: ImageOptions.model_validate({}))
    losses: LossOptions = Field(default_factory=lambda: LossOptions.model_validate({}))
    retries: Retries = Field(default_factory=lambda: Retries.model_validate({}))
    stop: Stop = Field(default_factory=lambda: Stop.model_validate({}))
    notify: Notify | None = Field(None, description="A webhook that is told how a run ended.")
    schedule: Annotated[Schedule | None, AfterValidator(_told_apart)] = Field(
        None, description="When `stylefarm schedule` renders it."
    )


SECTIONS: Mapping[str, type[BaseModel]] = {
    "": JobSpec,
    "storage": StorageOptions,
    "recipe": Recipe,
    "pairs[]": PairSet,
    "pairs[].style[]": StylePicture,
    "pairs[].recipe": Recipe,
    "inputs": InputOptions,
    "workers": Workers,
    "image": ImageOptions,
    "losses": LossOptions,
    "retries": Retries,
    "stop": Stop,
    "notify": Notify,
    "schedule": Schedule,
}
"""Which model stands at which field, ``[]`` for any index: for suggestions and the documentation."""


def section_of(field: str) -> type[BaseModel] | None:
    """The model at a field such as ``pairs[3].recipe``."""
    field = re.sub(r"\[\d+\]", "[]", field)
    # Below a blend, the field's last part is a picture of the user's.
    return BlendPart if field.startswith("pairs[].style[].blend.") else SECTIONS.get(field)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a job file, for editors."""
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
        # The docstrings are written for those who read the code.
        first, _, _ = definition.get("description", "").partition(". ")
        definition["description"] = first.replace("`", "").rstrip(".") + "."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stylefarm job",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _recipe_schema() -> dict[str, Any]:
    schema = Recipe.model_json_schema()
    for name, knob in schema["properties"].items():
        # What is not given comes from the preset, so no single default is true for all of them.
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


def _replace(schema: dict[str, Any], by: dict[str, Any]) -> None:
    kept = {key: schema[key] for key in ("title", "description") if key in schema}
    schema.clear()
    schema.update(kept | by)
