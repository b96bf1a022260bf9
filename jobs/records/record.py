"""The record of a task: what it was made from, and what became of it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from jobs.errors import printable
from jobs.inputs.addresses import display
from jobs.inputs.data import InputData
from jobs.spec.styles import StyleMix

Line = Annotated[str, AfterValidator(printable)]
"""Text that may hold a user's file name: records are UTF-8, and file names need not be."""


class InputRecord(BaseModel):
    """A picture that went into a task, as it was when it was read."""

    model_config = ConfigDict(frozen=True)

    uri: Line
    """Its address, without secrets."""
    sha256: str
    """Hex digest of the file."""
    size: int
    """Bytes."""
    etag: str | None = None
    """The server's ETag; None for files, and where the server gives none."""
    modified: float | None = None
    """Seconds since the epoch; None where the server does not say."""
    share: float = 1.0
    """The share of a style's picture in its blend; 1 for other pictures."""
    mask: Line | None = None
    """The mask of a style's picture, which is an input of its own; None: everywhere."""


class OutputRecord(BaseModel):
    """A picture that was stored."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Its key in the output."""
    sha256: str
    """Hex digest of the file."""
    size: int
    """Bytes."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    thumbnail: str | None = None
    """Key of the small picture; None: there is none."""


class AttemptRecord(BaseModel):
    """One attempt at a task: the worker, the device, and how it ended."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Id of the attempt."""
    worker: str
    """Id of the worker."""
    node: str
    """The machine that the worker ran on."""
    device: str
    """The kind of device that rendered."""
    memory_bytes: int | None = None
    """Memory of the device; None where it is unknown."""
    driver: str | None = None
    """Version of the device's driver; None where it has none."""
    started: float
    """Seconds since the epoch."""
    seconds: float
    """Seconds that the attempt took."""
    error: Line | None = None
    """Why the attempt failed; None: it did not."""


class HeldRecord(BaseModel):
    """A frame that another frame of its film was painted to agree with."""

    model_config = ConfigDict(frozen=True)

    index: int
    """Its index in the film, from 0."""
    id: str
    """Its task's id."""
    sha256: str | None = None
    """Hex digest of its picture as it was read; None for a failed task."""


class FilmRecord(BaseModel):
    """A frame's place in its film, and what it holds to."""

    model_config = ConfigDict(frozen=True)

    film: str
    """The film's id."""
    index: int
    """The frame's index in the film, from 0."""
    number: int
    """The frame's number as its source counts."""
    needs: list[HeldRecord] = []
    """The frames that it holds to; none for the first of a shot."""
    held: float | None = None
    """How firmly its pixels are held, 0 to 1, as their mean; None: unknown, or it holds to none."""
    confidence: str | None = None
    """Key of a small grey picture of that: white is held firmly, black painted anew; None: there is none."""
    flow: list[InputRecord] = []
    """The files with the motion between it and them; empty where it is found, and for a failed task."""


StyleRecord = tuple[Line, float] | tuple[Line, float, Line]
"""A picture of a style, its share and, where it has one, its mask."""


class TaskRecord(BaseModel):
    """What became of a task. It is written last, and its existence makes the task done, or failed."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    version: Literal[1] = 1
    """Version of this format."""
    id: str
    """The task's id, 16 hex digits."""
    name: str
    """The picture's name before ``-<id>``."""
    status: Literal["done", "failed"]
    error: Line | None = None
    """Why the task failed; None: it is done."""
    content: Line
    """Address of the content, without secrets."""
    styles: list[StyleRecord]
    """The style's pictures, with addresses without secrets."""
    init: Line | None = None
    """Address of the picture to start from, without secrets; None: there was none."""
    film: FilmRecord | None = None
    """The place of a frame in its film; None: the task is a picture by itself."""
    inputs: list[InputRecord] = []
    """The pictures that were read; empty for a failed task."""
    output: OutputRecord | None = None
    """The picture; None for a failed task."""
    kept: OutputRecord | None = None
    """The last good picture of a render that failed on the way; None: there is none."""
    losses: dict[str, float] = {}
    """Final loss terms, weighted: total, content, style, style_<layer>, tv."""
    losses_key: str | None = None
    """Key of the loss log; None: there is none."""
    card: str | None = None
    """Key of what the gallery shows about the task; None: there is none."""
    recipe: dict[str, Any]
    """The complete recipe, without secrets."""
    weights_digest: str
    """Digest of the network's weights."""
    steps: int = 0
    """Optimiser steps over all sizes; 0 for a failed task."""
    precision: str | None = None
    """The precision of the network's convolutions, float32 or bfloat16; None: unknown, or a failed task."""
    concessions: list[Line] = []
    """The measures taken to fit into memory; mostly none."""
    seconds: dict[str, float] = {}
    """Seconds of the attempt that succeeded, by phase: fetch, wait (for the device), render, store."""
    versions: dict[str, str] = {}
    """Versions of the software that rendered, by name."""
    attempts: list[AttemptRecord] = Field(default=[])
    """All attempts of the run that ended the task, in order."""
    finished: float
    """Seconds since the epoch."""


_NUMBER = re.compile(r"\d+")


def sequence_of(record: TaskRecord) -> str | None:
    """Return which painted film a frame belongs to: its film in its style by its recipe.

    Args:
        record: The frame's record.

    Returns:
        The film's id, a dash, and 8 hex digits of all that its frames have in common; None: it is a picture
        by itself.
    """
    if record.film is None:
        return None
    # A mask may follow the frames, by their numbers or by their names.
    stem = PurePosixPath(record.content).stem
    styles = [
        [*style[:2], *(_NUMBER.sub("#", mask.replace(stem, "#")) for mask in style[2:])]
        for style in record.styles
    ]
    what = [styles, record.init, record.recipe, record.weights_digest]
    text = json.dumps(what, sort_keys=True).encode("utf-8", "surrogatepass")
    return f"{record.film.film}-{hashlib.sha256(text).hexdigest()[:8]}"


def input_record(data: InputData, share: float = 1.0, mask: str | None = None) -> InputRecord:
    """Return the record of an input that was read.

    Args:
        data: What was read.
        share: The share of a style's picture in its blend.
        mask: The address of its mask.
    """
    return InputRecord(
        uri=display(data.uri),
        sha256=data.sha256,
        size=data.size,
        etag=data.etag,
        modified=data.modified,
        share=share,
        mask=None if mask is None else display(mask),
    )


def style_records(styles: StyleMix) -> list[StyleRecord]:
    """Return a task's style as its record has it: addresses without secrets."""
    return [
        (display(uri), share) if mask is None else (display(uri), share, display(mask))
        for uri, share, mask in styles
    ]
