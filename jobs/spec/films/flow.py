"""``flow``: where the motion between a film's frames comes from."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from jobs.spec.films.film import with_film
from jobs.spec.films.flow_names import flow_names
from jobs.spec.values import Section, shown
from jobs.storage.addresses import fault_of

ENDINGS = (".flo", ".png", ".exr")
"""Endings of files of motion that are read."""

WAYS = ("dis", "raft")
"""How motion is found."""


def _pattern(written: str) -> str:
    if fault := fault_of(written):
        raise PydanticCustomError("address", "{given} {fault}", {"given": written, "fault": fault})
    if re.match(r"https?://", written):
        raise PydanticCustomError(
            "flow",
            "{given} is on the web: copy the files to a folder or to s3://",
            {"given": written},
        )
    if not written.lower().endswith(ENDINGS):
        raise PydanticCustomError(
            "flow",
            "{given} is no motion that is read: .flo, .png as KITTI has it, and .exr are",
            {"given": written},
        )
    if flow_names(written) is None:
        raise PydanticCustomError(
            "flow",
            "{given} has no place for the number of a frame: write #### or %04d in its name, once, or twice "
            "where the number of the frame to which it leads follows",
            {"given": written},
        )
    return written


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A sequence of files of motion."""


class GivenFlow(Section):
    """Files with the motion of a film, that another program has written."""

    forward: Pattern = Field(
        description="The motion from each frame to the next, in the numbers of the frames: "
        "flow/fwd.####.flo, or flow/fwd_####_####.flo with the number of the next.",
    )
    backward: Pattern = Field(
        description="The motion from each frame to the one before, in the same way. It may be the same file.",
    )


def _flow(flow: object) -> object:
    if isinstance(flow, GivenFlow) or (isinstance(flow, str) and flow in WAYS):
        return flow
    if isinstance(flow, dict):  # here, so that its errors keep their places
        return GivenFlow.model_validate(flow)
    raise PydanticCustomError(
        "flow",
        "{given} is neither dis, raft nor the files forward: and backward:",
        {"given": shown(flow)},
    )


Flow = Annotated[
    Literal["dis", "raft"] | GivenFlow, BeforeValidator(_flow), AfterValidator(with_film)
]
"""``dis`` and ``raft``: it is found so; or files that have it."""

_NUMBER = r"(#+|%(0\d+)?d)"

_PATTERN_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^(?!https?://)(.*/)?[^/#%]*{_NUMBER}([^/#%]+{_NUMBER})?[^/#%]*"
    r"\.([fF][lL][oO]|[pP][nN][gG]|[eE][xX][rR])$",
}

FLOW_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"enum": list(WAYS)},
        {
            "type": "object",
            "additionalProperties": False,
            "required": list(GivenFlow.model_fields),
            "properties": {
                name: {**_PATTERN_SCHEMA, "description": field.description}
                for name, field in GivenFlow.model_fields.items()
            },
        },
    ]
}
