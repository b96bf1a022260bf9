"""Pictures that are gone or are not what was stored are found, on every storage."""

from __future__ import annotations

import hashlib

from jobs.records.record import OutputRecord
from jobs.records.segments import Entry, entry_of
from jobs.records.verify import find_damaged, find_missing
from jobs.storage.base import Storage
from tests.jobs.support import a_record
from tests.support.rigs import Rig


def stored(storage: Storage, number: int, data: bytes) -> Entry:
    key = f"images/picture é {number}.png"
    storage.put(key, data)
    digest = hashlib.sha256(data).hexdigest()
    output = OutputRecord(key=key, sha256=digest, size=len(data), width=1, height=1)
    return entry_of(a_record(number, output=output), 1)


def test_what_is_whole_is_not_named(rig: Rig) -> None:
    storage = rig.open()
    entries = [stored(storage, k, bytes([k]) * (k + 1)) for k in range(5)]
    entries.append(entry_of(a_record(9, status="failed"), 1))
    assert list(find_missing(storage, entries)) == []
    assert list(find_damaged(storage, entries)) == []


def test_what_is_gone_cut_or_changed_is_named(rig: Rig) -> None:
    storage = rig.open()
    entries = [stored(storage, k, b"picture") for k in range(4)]
    _, gone, cut, changed = (entry.output or "" for entry in entries)
    storage.delete(gone)
    storage.put(cut, b"pic")
    storage.put(changed, b"poctire")
    by_listing = [(d.key, d.what) for d in find_missing(storage, entries)]
    assert by_listing == [(gone, "missing"), (cut, "damaged")]
    by_reading = [(d.key, d.what) for d in find_damaged(storage, entries)]
    assert by_reading == [(gone, "missing"), (cut, "damaged"), (changed, "damaged")]
