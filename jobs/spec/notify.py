"""``notify``: the webhook that gets a report when a run ends."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
)
from pydantic_core import PydanticCustomError

from jobs.spec.values import Section


def _some_events(events: list[str]) -> list[str]:
    if not events:
        raise PydanticCustomError("empty", "is empty; leave notify out to send no reports")
    return events


def _webhook(url: str) -> str:
    if name := re.fullmatch(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", url, re.ASCII):
        return f"${name[1] or name[2]}"
    if re.match(r"https?://[^/?#\s]", url):
        return url
    raise PydanticCustomError(
        "webhook",
        "is not a web address: give https://..., or $NAME of an environment variable that holds it",
    )


def _without_path(url: str) -> str:
    """Return the address without its path, which is often the webhook's password, to be written to files."""
    return url if url.startswith("$") else f"{url.partition('://')[0]}://..."


class Notify(Section):
    """A webhook that gets a report when a run ends."""

    url: Annotated[str, AfterValidator(_webhook), PlainSerializer(_without_path)] = Field(
        description="Where to POST it: a web address, or $NAME of an environment variable that holds it.",
        json_schema_extra={
            "pattern": r"^(\$([A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})$|https?://[^/?#\s])"
        },
    )
    on: Annotated[list[Literal["done", "failed", "stopped"]], AfterValidator(_some_events)] = Field(
        default=["done", "failed", "stopped"],
        description="The ends to report. done: all is done; failed: tasks failed, or the run could not "
        "continue; stopped: it was interrupted or reached a limit.",
        json_schema_extra={"minItems": 1},
    )
