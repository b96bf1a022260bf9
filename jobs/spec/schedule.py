"""``schedule``: when a job is rendered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from jobs.cron import MACROS, parse_cron
from jobs.spec.values import (
    Duration,
    Section,
    has_value,
    optional_duration_schema,
    replace_schema,
    shown,
)
from jobs.time_zones import find_zone


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
        raise PydanticCustomError("when", "takes either cron: or every:")
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


class Schedule(Section):
    """When `stylefarm schedule` renders the job, in the words of Kubernetes."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [has_value("cron"), has_value("every")],
        }
    )

    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None,
        description="Minute, hour, day of the month, month and day of the week; or a macro such as @daily.",
        json_schema_extra=lambda s: replace_schema(s, _CRON_SCHEMA),
    )
    every: Annotated[Annotated[Duration, Field(ge=1)] | None, AfterValidator(_cron_or_every)] = (
        Field(
            None,
            validate_default=True,
            description="Instead of cron: how often, counted from 1970-01-01 00:00 UTC.",
            json_schema_extra=optional_duration_schema,
        )
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", min_length=1, description="Time zone of the schedule, such as Europe/Rome."
    )
    concurrency_policy: Literal["allow", "forbid", "replace"] = Field(
        "forbid",
        description="What becomes of a tick while an earlier one still runs. forbid: it is skipped; replace: "
        "the earlier one is stopped; allow: both run.",
    )
    starting_deadline: Annotated[Duration, Field(gt=0)] | None = Field(
        None,
        description="How late a missed tick may begin, and how long a tick waits for another run of its "
        "output; null: no limit.",
        json_schema_extra=optional_duration_schema,
    )
    if_changed: bool = Field(
        True, description="Render again what was rendered from pictures that have changed since."
    )
