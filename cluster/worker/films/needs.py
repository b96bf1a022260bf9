"""``fetch_needs``: the finished pictures of the frames that a frame holds to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from jobs.errors import InputError, ObjectNotFoundError
from jobs.records.record import OutputRecord, TaskRecord
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.films.part import FilmPart


class ReplacedError(Exception):
    """A picture is not the one that its record names: it is just being replaced, or is damaged."""


@dataclass(frozen=True, slots=True)
class NeedPicture:
    """The finished picture of a frame that another one holds to."""

    index: int
    """The frame's index in the film, from 0."""
    task_id: str
    """Its task's id."""
    key: str
    """The picture's key in the output."""
    data: bytes = field(repr=False)
    """Its file, not decoded."""
    sha256: str
    """Hex digest of ``data``."""


def fetch_needs(storage: Storage, part: FilmPart | None) -> Sequence[NeedPicture]:
    """Return the finished pictures of the frames that a frame holds to, in the order of ``part.needs``.

    The driver hands a frame out when the records of these frames are written, so that they are there.

    Args:
        storage: The output, which has their records and pictures.
        part: The frame's place in its film; None: the task is a picture by itself, and holds to none.

    Raises:
        InputError: One of them has no finished picture any more.
        ReplacedError: A picture is not the one that its record names. A retry may succeed.
        StorageError: The output cannot be read.
    """
    return [_fetch(storage, *need) for need in (() if part is None else part.needs)]


def _fetch(storage: Storage, index: int, task_id: str) -> NeedPicture:
    output = _output_of(storage, task_id)
    try:
        data = storage.get(output.key)
    except ObjectNotFoundError:
        raise InputError(
            f"{output.key}, which this frame holds to, is gone; run again with --verify."
        ) from None
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != output.sha256:
        raise ReplacedError(
            f"{output.key}, which this frame holds to, is not as it was recorded; run again with --verify"
        )
    return NeedPicture(index, task_id, output.key, data, sha256)


def _output_of(storage: Storage, task_id: str) -> OutputRecord:
    """Return the record of a frame's picture. Raises as ``fetch_needs``."""
    try:
        record = TaskRecord.model_validate_json(storage.get(keys.record(task_id)))
        if record.output is not None:
            return record.output
    except (ObjectNotFoundError, ValidationError):
        pass
    raise InputError(f"The frame of task {task_id}, which this frame holds to, is not done.")
