"""The model of a whole job file. ``jobs.jobfile.parse`` reads a file and turns errors into sentences.

A recipe stays the partial mapping that the user wrote. It becomes a ``stylize.recipe.Recipe`` when the
mappings of job, entry and sweep are merged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from jobs.spec.films.video import VideoOptions
from jobs.spec.notify import Notify
from jobs.spec.output import (
    FILM_FIELDS,
    NO_PLACE,
    ImageOptions,
    LossOptions,
    filled_in,
    known_place,
)
from jobs.spec.pairs import InputOptions, Knobs, PairSet
from jobs.spec.schedule import Schedule
from jobs.spec.sharing import Priority
from jobs.spec.styles import BlendPart, StylePicture
from jobs.spec.values import Section, as_given
from jobs.spec.workers import Retries, Stop, Workers
from jobs.storage.base import StorageOptions
from stylize.recipe import Recipe


def _known_version(version: int) -> int:
    if version != 1:
        raise PydanticCustomError(
            "version",
            "{version} is not known; this stylefarm reads version 1",
            {"version": version},
        )
    return version


def _told_apart(schedule: Schedule | None, others: ValidationInfo) -> Schedule | None:
    output = others.data.get("output")  # absent when it is wrong itself
    allows = schedule is not None and schedule.concurrency_policy == "allow"
    if allows and output is not None and "{" not in output:
        raise PydanticCustomError(
            "allow",
            "concurrency_policy: allow needs an output for each tick, because an output takes one "
            "run at a time: put {date} or {time} into output, or use forbid or replace",
        )
    return schedule


def _name_for_all(image: ImageOptions, others: ValidationInfo) -> ImageOptions:
    pairs = others.data.get("pairs", ())  # absent when they are wrong themselves
    for name in FILM_FIELDS:
        if f"{{{name}}}" in image.name and any(pair.film is None for pair in pairs):
            raise PydanticCustomError(
                "film_name",
                "name has {field}, which only the frames of films have: each entry of pairs needs film: then",
                {"field": f"{{{name}}}"},
            )
    return image


def _given_storage(storage: Any) -> Any:
    return as_given(storage, StorageOptions)


def _given_entries(pairs: Any) -> Any:
    """Return the entries of ``pairs``, with an empty mapping for one with nothing in it."""
    if not isinstance(pairs, list):
        return pairs
    return [{} if entry is None else entry for entry in pairs]


class JobSpec(Section):
    """A job: what to render, how, and where it goes."""

    version: Annotated[int, AfterValidator(_known_version)] = Field(
        1, description="Version of this format: 1.", json_schema_extra={"const": 1}
    )
    name: str = Field("job", min_length=1, max_length=200, description="The job's name.")
    output: Annotated[str, AfterValidator(filled_in), AfterValidator(known_place)] = Field(
        min_length=1,
        description="Where results go: a folder or s3://bucket/prefix; {date} and {time} in it are those of "
        "the tick or, without one, of now, and $NAME is an environment variable.",
        json_schema_extra={
            "pattern": r"^([^{}]|\{(date|time)\}|\$\{[A-Za-z_]\w*\})+$",
            "not": {"pattern": NO_PLACE},
        },
    )
    storage: Annotated[StorageOptions, BeforeValidator(_given_storage)] = Field(
        default_factory=lambda: StorageOptions.model_validate({}),
        description="How to reach S3. Credentials come from the standard AWS chain, never from here.",
    )
    recipe: Knobs = Field(default={}, description="How each picture is rendered.")
    pairs: Annotated[list[PairSet], BeforeValidator(_given_entries)] = Field(
        description="What is rendered.", json_schema_extra={"minItems": 1}
    )
    inputs: InputOptions = Field(default_factory=lambda: InputOptions.model_validate({}))
    workers: Workers = Field(default_factory=lambda: Workers.model_validate({}))
    priority: Priority = Field(
        "normal",
        description="Which of several jobs on one cluster is served first: low, normal, high, urgent, or a "
        "number from 0 to 100. Every job keeps workers.min, as far as there is room.",
    )
    weight: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="The job's part of a cluster among jobs of its priority: one of weight 3 gets three "
        "times the GPUs of one of weight 1.",
    )
    image: Annotated[ImageOptions, AfterValidator(_name_for_all)] = Field(
        default_factory=lambda: ImageOptions.model_validate({})
    )
    losses: LossOptions = Field(default_factory=lambda: LossOptions.model_validate({}))
    retries: Retries = Field(default_factory=lambda: Retries.model_validate({}))
    stop: Stop = Field(default_factory=lambda: Stop.model_validate({}))
    notify: Notify | None = Field(None, description="A webhook that gets a report when a run ends.")
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
    "pairs[].video": VideoOptions,
    "inputs": InputOptions,
    "workers": Workers,
    "image": ImageOptions,
    "losses": LossOptions,
    "retries": Retries,
    "stop": Stop,
    "notify": Notify,
    "schedule": Schedule,
}
"""The model of each field, ``[]`` for any index: for suggestions in errors, and for the documentation."""


def section_of(field: str) -> type[BaseModel] | None:
    """Return the model of a field such as ``pairs[3].recipe``; None where the field is no section."""
    field = re.sub(r"\[\d+\]", "[]", field)
    # Below a blend, the field's last part is a picture that the user names.
    return BlendPart if field.startswith("pairs[].style[].blend.") else SECTIONS.get(field)
