"""Find pictures that are missing, or are not what their records say was stored."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from jobs.errors import ObjectNotFoundError
from jobs.id_sets import IdTable
from jobs.parallel import parallel_map
from jobs.records.segments import Entry, hashed
from jobs.storage import keys
from jobs.storage.base import Storage

READERS = 8
"""Pictures read at a time, each whole in memory."""

BATCH = 4096
"""Entries compared with a listing at a time."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A done task's picture that is not as its record says."""

    id: str
    name: str
    key: str
    what: Literal["missing", "damaged"]

    def __str__(self) -> str:
        return f"{self.key} is {self.what}"


def find_missing(storage: Storage, entries: Iterable[Entry]) -> Iterator[Damage]:
    """Yield pictures that a listing does not show, or shows with another size. No picture is read.

    Args:
        storage: The output.
        entries: Its records in short; failed ones are ignored.

    Raises:
        StorageError: The storage cannot be listed.
    """
    names, sizes = array("Q"), array("q")
    for picture in storage.list(keys.IMAGES):
        names.append(hashed(picture.key))
        sizes.append(picture.size)
    # Sizes are stored plus 1, so that 0 means that the picture is not there.
    present = IdTable(np.frombuffer(names, np.uint64), np.frombuffer(sizes, np.int64) + 1)
    finished = (entry for entry in entries if entry.output is not None)
    while batch := list(islice(finished, BATCH)):
        asked = np.fromiter((hashed(e.output or "") for e in batch), np.uint64, len(batch))
        for entry, size in zip(batch, (present.find(asked) - 1).tolist(), strict=True):
            if size != entry.size:
                yield _damage(entry, missing=size < 0)


def find_damaged(storage: Storage, entries: Iterable[Entry]) -> Iterator[Damage]:
    """Yield pictures whose digest is not the recorded one. Every picture is read.

    Args:
        storage: The output.
        entries: Its records in short; failed ones are ignored.

    Raises:
        StorageError: A picture cannot be read, for another reason than that it is missing.
    """

    def check(entry: Entry) -> Damage | None:
        try:
            data = storage.get(entry.output or "")
        except ObjectNotFoundError:
            return _damage(entry, missing=True)
        intact = hashlib.sha256(data).hexdigest() == entry.sha256
        return None if intact else _damage(entry, missing=False)

    finished = (entry for entry in entries if entry.output is not None)
    for damage in parallel_map(check, finished, READERS):
        if damage is not None:
            yield damage


def _damage(entry: Entry, *, missing: bool) -> Damage:
    return Damage(entry.id, entry.name, entry.output or "", "missing" if missing else "damaged")
