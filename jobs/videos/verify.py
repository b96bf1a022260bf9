"""Find videos that are missing, or are not what their records say was stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from pydantic import ValidationError

from jobs.errors import ObjectNotFoundError
from jobs.records.verify import Damage
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.videos.record import VideoRecord

PIECE = 8 << 20
"""Bytes of a video that are read at a time."""


def damage_of(
    storage: Storage, record: VideoRecord, *, read: bool
) -> Literal["missing", "damaged"] | None:
    """Return what is wrong with a video; None: nothing.

    Args:
        storage: The output.
        record: The video's record.
        read: Whether to read it and to compare its digest, not its size alone.

    Raises:
        StorageError: It cannot be read.
    """
    there = storage.stat(record.key)
    if there is None:
        return "missing"
    if there.size != record.size:
        return "damaged"
    digest = hashlib.sha256()
    try:
        for start in range(0, record.size if read else 0, PIECE):
            digest.update(storage.read_range(there, start, PIECE))
    except ObjectNotFoundError:
        return "missing"
    return "damaged" if read and digest.hexdigest() != record.sha256 else None


def find_damaged_videos(storage: Storage, *, read: bool) -> Iterator[Damage]:
    """Yield the videos that are not as their records say.

    Args:
        storage: The output.
        read: As for ``damage_of``.

    Raises:
        StorageError: The output cannot be read.
    """
    for there in storage.list(keys.VIDEOS):
        if not there.key.endswith(".json"):
            continue
        try:
            record = VideoRecord.model_validate_json(storage.get(there.key))
        except (ObjectNotFoundError, ValidationError):
            continue  # it is made anew
        what = damage_of(storage, record, read=read)
        if what is not None:
            yield Damage(record.first_task, record.film_name, record.key, what)
