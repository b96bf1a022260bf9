"""The record of a task: what it was made from, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from jobs.errors import printable
from jobs.inputs.addresses import display
from jobs.spec.styles import StyleMix

Line = Annotated[str, AfterValidator(printable)]
"""Text that came from a user's file names: records are UTF-8, which those need not be."""


class InputRecord(BaseModel):
    """A picture that went into a task, as it was when it was read."""

    model_config = ConfigDict(frozen=True)

    uri: Line
    sha256: str
    size: int
    etag: str | None = None
    modified: float | None = None
    share: float = 1.0
    mask: Line | None = None
    """Of a style: the mask it applies through, which is an input, too."""


class OutputRecord(BaseModel):
    """A picture that came out."""

    model_config = ConfigDict(frozen=True)

    key: str
    sha256: str
    size: int
    width: int
    height: int


class AttemptRecord(BaseModel):
    """One attempt at a task: who made it, where, and how it ended."""

    model_config = ConfigDict(frozen=True)

    id: str
    worker: str
    node: str
    device: str
    memory_bytes: int | None = None
    """Of the device."""
    driver: str | None = None
    """Of the device."""
    started: float
    """Seconds since the epoch."""
    seconds: float
    error: Line | None = None


StyleRecord = tuple[Line, float] | tuple[Line, float, Line]
"""A picture of a style, its share and, where it has one, its mask."""


class TaskRecord(BaseModel):
    """What became of a task. Its being there is what makes the task done: it is written last."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    version: Literal[1] = 1
    id: str
    name: str
    status: Literal["done", "failed"]
    error: Line | None = None
    content: Line
    styles: list[StyleRecord]
    init: Line | None = None
    inputs: list[InputRecord] = []
    output: OutputRecord | None = None
    kept: OutputRecord | None = None
    """Of a render that failed on the way: its last good picture."""
    losses: dict[str, float] = {}
    """Final loss terms, weighted: total, content, style, style_<layer>, tv."""
    losses_key: str | None = None
    recipe: dict[str, Any]
    weights_digest: str
    steps: int = 0
    concessions: list[Line] = []
    """What had to be done to make do with the memory there was."""
    seconds: dict[str, float] = {}
    """Of the attempt that ended it: fetch, wait (for the device), render, store."""
    versions: dict[str, str] = {}
    attempts: list[AttemptRecord] = Field(default=[])
    finished: float
    """Seconds since the epoch."""


def style_records(styles: StyleMix) -> list[StyleRecord]:
    """A task's styles as its record has them: addresses without secrets."""
    return [
        (display(uri), share) if mask is None else (display(uri), share, display(mask))
        for uri, share, mask in styles
    ]
