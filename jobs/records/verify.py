"""Whether the pictures that records speak of are there, and are what was stored."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from jobs.errors import ObjectNotFoundError
from jobs.parallel import parallel_map
from jobs.records.segments import Entry, hashed
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.task_ids import IdTable

READERS = 8
"""Pictures in memory at a time, each whole."""

BATCH = 4096


@dataclass(frozen=True, slots=True)
class Damage:
    """A finished task's picture that is not as its record says."""

    id: str
    name: str
    key: str
    what: Literal["missing", "damaged"]

    def __str__(self) -> str:
        return f"{self.key} is {self.what}"


def find_missing(storage: Storage, entries: Iterable[Entry]) -> Iterator[Damage]:
    """Pictures that a listing does not show, or shows with another size. Reads none of them."""
    names, sizes = array("Q"), array("q")
    for found in storage.list(keys.IMAGES):
        names.append(hashed(found.key))
        sizes.append(found.size)
    # 0 stands for what is not there.
    present = IdTable(np.frombuffer(names, np.uint64), np.frombuffer(sizes, np.int64) + 1)
    finished = (entry for entry in entries if entry.output is not None)
    while batch := list(islice(finished, BATCH)):
        asked = np.fromiter((hashed(e.output or "") for e in batch), np.uint64, len(batch))
        for entry, size in zip(batch, (present.find(asked) - 1).tolist(), strict=True):
            if size != entry.size:
                yield _damage(entry, missing=size < 0)


def find_damaged(storage: Storage, entries: Iterable[Entry]) -> Iterator[Damage]:
    """Pictures whose bytes are not those whose digest was recorded. Reads every one."""

    def check(entry: Entry) -> Damage | None:
        try:
            data = storage.get(entry.output or "")
        except ObjectNotFoundError:
            return _damage(entry, missing=True)
        intact = hashlib.sha256(data).hexdigest() == entry.sha256
        return None if intact else _damage(entry, missing=False)

    finished = (entry for entry in entries if entry.output is not None)
    for found in parallel_map(check, finished, READERS):
        if found is not None:
            yield found


def _damage(entry: Entry, *, missing: bool) -> Damage:
    return Damage(entry.id, entry.name, entry.output or "", "missing" if missing else "damaged")
