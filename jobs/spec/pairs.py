"""``pairs`` and ``inputs``: which pictures are rendered, and where they may come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from jobs.spec.films.film import (
    CUTS_SCHEMA,
    ENTRY_SCHEMA,
    FILM_SCHEMA,
    FRAMES_SCHEMA,
    Cuts,
    Film,
    Frames,
    Loop,
)
from jobs.spec.films.video import Video, video_schema
from jobs.spec.styles import STYLE_SCHEMA, Patterns, Styles, address
from jobs.spec.values import (
    Section,
    as_given,
    has_value,
    one_or_more,
    replace_schema,
    whole_if_asked,
)
from stylize.recipe import Recipe


def _either(given: Any, others: ValidationInfo) -> Any:
    """Require content and style, or a film and a style, or a manifest whose rows name them."""
    if not {"manifest", "film"} <= others.data.keys():  # absent when it is wrong itself
        return given
    if others.data["manifest"] is not None:
        if given is not None:
            raise PydanticCustomError(
                "beside_manifest", "cannot be combined with manifest:, whose rows give it"
            )
    elif others.data["film"] is not None and others.field_name != "style":
        if given is not None:
            raise PydanticCustomError(
                "beside_film", "cannot be combined with film:, whose frames are the contents"
            )
    elif given is None and others.field_name != "init":
        raise PydanticCustomError("missing", "is required")
    return given


def _init_address(init: str | None) -> str | None:
    return init if init is None else address(init)


def _with_manifest(given: Any, others: ValidationInfo) -> Any:
    if others.data.get("manifest", ()) is None:
        raise PydanticCustomError("no_manifest", "needs manifest:, which is not given")
    return given


def given_knobs(recipe: Any) -> Any:
    """Return a partial recipe without knobs that are not given, and with whole numbers as such."""
    return as_given(recipe, Recipe)


def given_sweep(sweep: Any) -> Any:
    """Return a sweep with whole numbers as such."""
    if not isinstance(sweep, dict):
        return sweep
    return {
        knob: [whole_if_asked(knob, option, Recipe) for option in options]
        if isinstance(options, list)
        else options
        for knob, options in sweep.items()
    }


FILM_KEYS = ("frames", "cuts", "loop", "video")
"""Keys that only an entry with a film has."""

Knobs = Annotated[dict[str, Any], BeforeValidator(given_knobs)]
"""A partial recipe, as it is written. ``jobs.jobfile.recipes`` checks its values."""


class PairSet(Section):
    """One entry of ``pairs``: pictures or a film, the styles to paint them in, and how they combine; or a
    manifest that names them row by row.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {
                    "allOf": [has_value("content"), has_value("style")],
                    "not": {
                        "anyOf": [
                            has_value(key) for key in ("manifest", "on_bad_row", "film", *FILM_KEYS)
                        ]
                    },
                },
                ENTRY_SCHEMA,
                {
                    **has_value("manifest"),
                    "not": {
                        "anyOf": [
                            has_value(key)
                            for key in (
                                *("content", "style", "combine", "init"),
                                *("film", *FILM_KEYS),
                            )
                        ]
                    },
                },
            ]
        }
    )

    # The first fields, because the validators of the others read them.
    manifest: Patterns | None = Field(
        None,
        description="Instead of content and style: a file with a pair in each row, or several: path, "
        "glob, folder or s3://, of .csv, .tsv, .jsonl (each also .gz) or .parquet; columns content, "
        "style and, optionally, name, init and recipe.<knob>.",
        json_schema_extra=lambda s: replace_schema(
            s, one_or_more({"type": "string", "minLength": 1})
        ),
    )
    on_bad_row: Annotated[Literal["fail", "skip"], AfterValidator(_with_manifest)] = Field(
        "fail",
        description="What becomes of a manifest's row that cannot be used. fail: the run ends; skip: "
        "the row is reported and left out.",
    )
    film: Film = Field(
        None,
        min_length=1,
        description="Instead of content: the frames of a film, painted so that they hold still. A sequence "
        "such as shots/a.####.png or shots/a.%04d.png, or a folder of frames; also on s3://.",
        json_schema_extra=lambda s: replace_schema(s, FILM_SCHEMA),
    )
    frames: Frames = Field(
        None,
        description="The film's frames by number: 1001-1100, every second 1001-1100x2, or 1-10,20. Default: "
        "all that exist.",
        json_schema_extra=lambda s: replace_schema(s, FRAMES_SCHEMA),
    )
    cuts: Cuts = Field(
        "auto",
        description="Where the film's shots begin. auto: cuts are looked for; none: it is one shot; or the "
        "numbers of the frames that begin a shot.",
        json_schema_extra=lambda s: replace_schema(s, CUTS_SCHEMA),
    )
    loop: Loop = Field(
        False,
        description="Whether the film's first frame follows its last again. It is then one shot.",
    )
    video: Video = Field(
        None,
        description="Make a video of the film's finished frames, when all are there: mp4, mov, mkv, webm, or "
        "its options.",
        json_schema_extra=video_schema,
    )
    content: Annotated[Patterns | None, AfterValidator(_either)] = Field(
        None,
        validate_default=True,
        description="Photos: path, glob, folder, s3:// prefix or glob, https:// URL, or a list.",
        json_schema_extra=lambda s: replace_schema(
            s, one_or_more({"type": "string", "minLength": 1})
        ),
    )
    style: Annotated[Styles | None, AfterValidator(_either)] = Field(
        None,
        validate_default=True,
        description="Paintings: the same, {picture: ..., mask: ...} for a part of the content, or "
        "blend: {picture: share, ...} of several.",
        json_schema_extra=lambda s: replace_schema(s, one_or_more(STYLE_SCHEMA)),
    )
    combine: Annotated[Literal["product", "zip"], AfterValidator(_either)] = Field(
        "product",
        description="product: every content in every style; zip: first with first, and so on.",
    )
    init: Annotated[str | None, AfterValidator(_init_address), AfterValidator(_either)] = Field(
        None, min_length=1, description="The picture to start from; sets recipe.init to image."
    )
    recipe: Knobs = Field(default={}, description="Knobs for this entry, over the job's.")
    sweep: Annotated[dict[str, Any], BeforeValidator(given_sweep)] = Field(
        default={}, description="Knob: [values]; every combination is rendered."
    )


class InputOptions(Section):
    """Where pictures may come from."""

    allow_private: bool = Field(
        False,
        description="Fetch https:// pictures also from private addresses, which a job file could "
        "otherwise use to look into the farm's own network.",
    )
