"""Packed records make resuming fast and change no answer, whatever becomes of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.id_sets import as_numbers
from jobs.records import segments
from jobs.records.commit import Records
from jobs.records.record import OutputRecord, TaskRecord
from jobs.records.segments import Segments, entry_of, hashed, row_of, stamp
from jobs.records.statuses import ABSENT, DONE, FAILED
from jobs.storage import keys
from jobs.storage.base import ObjectStat, Storage
from jobs.storage.folder import FolderStorage
from tests.jobs.support import a_record
from tests.support.farm import wait_for
from tests.support.rigs import Rig

KEPT = OutputRecord(key="kept/a.png", sha256="2" * 64, size=1, width=1, height=1)
OUTPUT = OutputRecord(key="images/a.png", sha256="3" * 64, size=9, width=1, height=1)

MANY: list[TaskRecord] = [
    a_record(
        k << 54,
        status="failed" if k % 5 == 0 else "done",
        error="why" if k % 5 == 0 else None,
        kept=KEPT if k % 10 == 0 else None,
        output=None if k % 5 == 0 else OUTPUT,
        concessions=["painted in strips"] if k % 3 == 0 else [],
        seconds={"render": k / 7},
    )
    for k in range(60)
]


class Counting:
    """A storage that counts what is read from it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.gets: list[str] = []

    def get(self, key: str) -> bytes:
        self.gets.append(key)
        return self._storage.get(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)


def committed(storage: Storage, records: list[TaskRecord]) -> None:
    writer = Records(storage)
    for record in records:
        writer.commit(record)
    writer.close()


def reads(storage: Storage) -> list[str]:
    """The records that a resume reads one by one."""
    counting = Counting(storage)
    Records(counting).ledger()  # type: ignore[arg-type]
    return [key for key in counting.gets if key.startswith(keys.RECORDS)]


def test_a_segment_answers_for_its_records(rig: Rig) -> None:
    storage = rig.open()
    committed(storage, MANY)
    assert reads(storage) == []
    ledger = Records(storage).ledger()
    assert len(ledger) == len(MANY)
    asked = [record.id for record in MANY] + ["f" * 16]
    expected = [DONE if r.status == "done" else FAILED for r in MANY] + [ABSENT]
    assert ledger.codes(as_numbers(asked)).tolist() == expected
    assert ledger.kept == {r.id: KEPT for r in MANY if r.kept}


def test_entries_are_the_same_packed_or_not(rig: Rig) -> None:
    storage = rig.open()
    committed(storage, MANY)
    packed = sorted(Records(storage).entries(), key=lambda e: e.id)
    for found in Segments(storage).stored():
        storage.delete(found.key)
    plain = sorted(Records(storage).entries(), key=lambda e: e.id)
    assert packed == plain
    assert plain == [entry_of(r, e.stamp) for r, e in zip(MANY, plain, strict=True)]


def rewrite(storage: Storage) -> None:
    storage.put(keys.record(MANY[1].id), MANY[1].model_dump_json().encode())


@pytest.mark.parametrize(
    ("change", "read"),
    [
        pytest.param(lambda s: s.delete(keys.record(MANY[1].id)), [], id="deleted"),
        pytest.param(rewrite, [keys.record(MANY[1].id)], id="rewritten"),
    ],
)
def test_the_record_is_the_truth(
    rig: Rig, change: Callable[[Storage], None], read: list[str]
) -> None:
    storage = rig.open()
    committed(storage, MANY)
    change(storage)
    assert reads(storage) == read
    after = Records(storage).statuses()
    assert (MANY[1].id in after) == bool(read)
    assert len(after) == len(MANY) - 1 + len(read)


def test_a_task_that_failed_and_was_done_later_is_done(rig: Rig) -> None:
    storage = rig.open()
    committed(storage, [a_record(1, status="failed", error="a reason that is long", kept=KEPT)])
    committed(storage, [a_record(1)])
    assert Records(storage).statuses() == {a_record(1).id: "done"}
    assert Records(storage).ledger().kept == {}


def test_a_segment_deleted_between_listing_and_reading_costs_time_alone(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    before = Records(storage).statuses()
    (segment,) = Segments(storage).stored()

    class Listed(FolderStorage):
        """Still lists the segment that somebody has deleted."""

        def list(self, prefix: str = "") -> Iterator[ObjectStat]:
            yield from super().list(prefix)
            if prefix == keys.SEGMENTS:
                yield segment

    storage.delete(segment.key)
    assert Records(Listed(tmp_path)).statuses() == before


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", b"\0" * 5000])
def test_a_damaged_segment_costs_time_and_nothing_else(damage: bytes, tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    before = Records(storage).statuses()
    (segment,) = Segments(storage).stored()
    storage.put(segment.key, damage)
    assert len(reads(storage)) == len(MANY)
    assert Records(storage).statuses() == before
    Records(storage).ledger(pack=True)
    assert reads(storage) == []
    assert segment.key not in [found.key for found in Segments(storage).stored()]


def test_a_segment_of_another_version_is_not_read(tmp_path: Path) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    (segment,) = Segments(storage).stored()
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [1], "stamp": [2]}), file)
    storage.put(segment.key, file.getvalue())
    assert len(reads(storage)) == len(MANY)


def test_a_doubled_segment_counts_once(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    (segment,) = Segments(storage).stored()
    storage.put(keys.segment("copy"), storage.get(segment.key))
    assert len(list(Records(storage).entries())) == len(MANY)
    assert len(Records(storage).ledger()) == len(MANY)


def test_what_a_crash_left_unpacked_is_packed_by_the_next_run(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    writer = Records(storage)
    for record in MANY:
        writer.commit(record)
    assert len(reads(storage)) == len(MANY)  # nothing was flushed
    Records(storage).ledger(pack=True)
    assert reads(storage) == []


def test_segments_are_written_as_records_come(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(segments, "ROWS", 10)
    storage = FolderStorage(tmp_path)
    writer = Records(storage)
    for record in MANY[:25]:
        writer.commit(record)
    wait_for(lambda: len(reads(storage)) == 5)  # they are written beside the work


def test_many_small_segments_are_merged_and_nothing_is_lost(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(segments, "ROWS", 2)
    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    before = Records(storage).statuses()
    assert len(Segments(storage).stored()) == 30
    Records(storage).ledger(pack=True)
    assert len(Segments(storage).stored()) == 1
    assert Records(storage).statuses() == before
    assert reads(storage) == []


def test_merging_leaves_full_segments_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(segments, "ROWS", 2)
    monkeypatch.setattr(segments, "MERGED_ROWS", 10)
    monkeypatch.setattr(segments, "MOST_SMALL", 4)
    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    Segments(storage).merge_small()
    full = {found.key for found in Segments(storage).stored()}
    assert len(full) == 6
    Segments(storage).merge_small()
    assert {found.key for found in Segments(storage).stored()} == full


def test_a_stamp_changes_with_the_object(rig: Rig) -> None:
    storage = rig.open()
    etag = storage.put("a", b"one")
    found = storage.stat("a")
    assert found is not None
    if etag == found.etag:
        assert stamp(found) == hashed(etag)
    assert stamp(next(storage.list("a"))) == stamp(found)
    storage.put("a", b"another")
    changed = storage.stat("a")
    assert changed is not None
    assert stamp(changed) != stamp(found)


def test_reading_leaves_no_thread_behind_that_could_abort_the_process_at_its_end(tmp_path):
    Segments(FolderStorage(tmp_path)).write([row_of(record, 1) for record in MANY])
    code = (
        "import sys; from pathlib import Path; from jobs.storage.folder import FolderStorage\n"
        "from jobs.records.segments import Segments\n"
        "segments = Segments(FolderStorage(Path(sys.argv[1])))\n"
        "print([segments.read(found.key).num_rows for found in segments.stored()])\n"
        # Its threads hold our bytes a little longer than the call, and want Python to let go of them.
        "print('pyarrow.dataset' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split("\n")[:2] == ["[60]", "False"], ran.stderr
