"""Packed records make resuming fast and change no answer, whatever becomes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import StorageError
from jobs.id_sets import as_numbers
from jobs.records import segments
from jobs.records.commit import Records
from jobs.records.record import FilmRecord, OutputRecord, TaskRecord, sequence_of
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


# -- what the gallery needs --------------------------------------------------------------------------

SHOWN: list[TaskRecord] = [
    a_record(
        k << 54,
        content=f"photos/{k % 3}.jpg",
        styles=[("b.jpg", 0.5), (f"c{k % 2}.jpg", 0.5, "m.png")],
        recipe={"size": 64, "b": 1, "a": k % 2},
        losses={"total": k / 4} if k else {},
        finished=100.0 + k,
        output=OUTPUT.model_copy(update={"thumbnail": "thumbs/x" if k % 2 else None}),
        card="cards/x" if k % 3 else None,
    )
    for k in range(40)
]


def rows_of(storage: Storage, columns: Sequence[str] | None = None) -> dict[int, dict[str, Any]]:
    """The rows that count, by the number of their record."""
    found: dict[int, dict[str, Any]] = {}
    for table, valid in Records(storage).tables(columns):
        for row, counts in zip(table.to_pylist(), valid.tolist(), strict=True):
            if counts:
                assert row["id"] not in found
                found[row["id"]] = row
    return found


def as_before(storage: Storage) -> None:
    """Rewrite every segment as earlier versions wrote it."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    for segment in Segments(storage).stored():
        table = Segments(storage).read(segment.key).select(segments.LEAN)
        for name in ("status", "error", "device", "concessions"):
            k = table.schema.get_field_index(name)
            table = table.set_column(k, name, table.column(name).cast(pa.string()))
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        storage.put(segment.key, file.getvalue())


def test_tables_have_what_records_have_packed_or_not(rig: Rig) -> None:
    storage = rig.open()
    committed(storage, SHOWN)
    packed = rows_of(storage)
    assert len(packed) == len(SHOWN)
    for record in SHOWN:
        row = packed[int(record.id, 16)]
        assert row["content"] == record.content
        assert row["style"] == " + ".join(style[0] for style in record.styles)
        assert json.loads(row["recipe"]) == record.recipe
        assert row["recipe"] == json.dumps(record.recipe, sort_keys=True)
        assert (row["finished"], row["steps"]) == (record.finished, record.steps)
        assert (
            row["loss"] == record.losses["total"] if record.losses else row["loss"] != row["loss"]
        )
        assert row["thumbnail"] == bool(record.output and record.output.thumbnail)
        assert row["card"] == bool(record.card)
    for found in Segments(storage).stored():
        storage.delete(found.key)
    del packed[0], (plain := rows_of(storage))[0]  # whose loss, NaN, equals nothing
    assert plain == packed


def test_texts_that_come_again_are_held_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(segments, "ROWS", 2)
    storage = FolderStorage(tmp_path)
    committed(storage, SHOWN)
    before = rows_of(storage, ["id", "content", "style", "recipe", "status"])
    Records(storage).ledger(pack=True)
    assert len(Segments(storage).stored()) == 1
    assert rows_of(storage, ["id", "content", "style", "recipe", "status"]) == before
    ((table, _),) = Records(storage).tables()
    distinct = {"content": 3, "style": 2, "recipe": 2, "status": 1, "device": 1}
    for name, count in distinct.items():
        (chunk,) = table.column(name).chunks
        assert len(chunk.dictionary) == count, name


def test_segments_of_an_earlier_version_are_read_as_before_and_packed_anew_once(
    tmp_path: Path, caplog
) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, MANY)
    entries = sorted(Records(storage).entries(), key=lambda e: e.id)
    rows = rows_of(storage, ["id", "content", "recipe", "status", "error"])
    as_before(storage)
    old = [found.key for found in Segments(storage).stored()]
    ((table, _),) = Records(storage).tables(["status", "device"])
    assert [len(column.chunk(0).dictionary) for column in table.columns] == [2, 1]
    assert reads(storage) == []
    counting = Counting(storage)
    assert sorted(Records(counting).entries(), key=lambda e: e.id) == entries  # type: ignore[arg-type]
    assert reads(storage) == []
    assert [key for key in counting.gets if key.startswith(keys.RECORDS)] == []

    storage.delete(keys.record(MANY[3].id))
    del rows[int(MANY[3].id, 16)]
    caplog.set_level("INFO")
    assert rows_of(storage, ["id", "content", "recipe", "status", "error"]) == rows
    assert "its 59 records are read" in caplog.text
    assert not set(old) & {found.key for found in Segments(storage).stored()}
    counting = Counting(storage)
    assert len(rows_of(counting)) == 59  # type: ignore[arg-type]
    assert [key for key in counting.gets if key.startswith(keys.RECORDS)] == []


def frame(number: int, **changes: Any) -> TaskRecord:
    """A frame of a film, which holds to the one before."""
    held = None if number == 1001 else 0.5
    part = FilmRecord(film="f" * 16, index=number - 1001, number=number, held=held)
    return a_record(number, film=part, **changes)


def before_films(storage: Storage) -> None:
    """Rewrite every segment as it was before there were films."""
    for segment in Segments(storage).stored():
        table = Segments(storage).read(segment.key).drop_columns(list(segments.OF_FILMS))
        storage.delete(segment.key)
        Segments(storage).put(table)


def test_frames_of_one_film_style_and_recipe_have_one_name_in_common() -> None:
    first, other = frame(1001), frame(1002)
    name = sequence_of(first)
    assert name is not None
    assert name.startswith(f"{'f' * 16}-")
    assert sequence_of(other) == name

    def masked(number: int, mask: str) -> str | None:
        styles = [(style[0], style[1], mask) for style in first.styles]
        return sequence_of(frame(number, styles=styles, content=f"a/sea.{number}.png"))

    with_mask = masked(1001, "masks/m.1001.png")
    assert with_mask not in (None, name)
    assert masked(1002, "masks/m.1002.png") == with_mask  # a mask follows the frames
    assert masked(1002, "others/m.1002.png") != with_mask
    assert masked(1001, "m/sea.1001-x.png") == masked(1002, "m/sea.1002-x.png") != with_mask
    assert sequence_of(frame(1001, recipe={"size": 1})) != name
    assert sequence_of(frame(1001, styles=[("other.jpg", 1.0)])) != name
    assert sequence_of(a_record(1001)) is None


def test_rows_say_which_film_they_are_of(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, [frame(1001), frame(1002), MANY[1]])
    rows = rows_of(storage)
    assert rows[1002]["film"] == rows[1001]["film"] == sequence_of(frame(1001))
    assert [rows[k]["frame"] for k in (1001, 1002)] == [1001, 1002]
    assert [rows[k]["held"] for k in (1001, 1002)] == [None, 0.5]
    plain = rows[int(MANY[1].id, 16)]
    assert (plain["film"], plain["frame"], plain["held"]) == (None, 0, None)


@pytest.mark.parametrize("films", [False, True])
def test_segments_from_before_films_are_read_again_only_where_there_are_films(
    tmp_path: Path, films: bool
) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, [frame(1001), frame(1002)] if films else MANY[1:3])
    shown = ["id", "content", "card", *segments.OF_FILMS]
    rows = rows_of(storage, shown)
    before_films(storage)
    if films:
        storage.put(keys.film_frames("f" * 16), b"")
    counting = Counting(storage)
    assert rows_of(counting, shown) == rows  # type: ignore[arg-type]
    read = [key for key in counting.gets if key.startswith(keys.RECORDS)]
    assert len(read) == (2 if films else 0)


def test_a_record_from_before_films_told_how_firmly_they_are_held_is_read() -> None:
    old = frame(1002).model_dump(mode="json")
    del old["film"]["held"], old["film"]["confidence"]
    part = TaskRecord.model_validate(old).film
    assert part is not None
    assert (part.number, part.held, part.confidence) == (1002, None, None)


def test_small_segments_of_two_versions_are_merged_and_none_is_read_again(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(segments, "ROWS", 1)
    monkeypatch.setattr(segments, "MOST_SMALL", 3)
    storage = FolderStorage(tmp_path)
    committed(storage, MANY[:10])
    as_before(storage)
    committed(storage, MANY[10:20])
    before = Records(storage).statuses()
    Records(storage).ledger(pack=True)
    assert len(Segments(storage).stored()) == 2
    assert Records(storage).statuses() == before
    assert reads(storage) == []


def test_an_old_segment_that_cannot_be_replaced_is_shown_all_the_same(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, SHOWN)
    as_before(storage)

    class ReadOnly(FolderStorage):
        def put(self, key: str, data: bytes, *, content_type: str = "") -> str:
            raise StorageError("it is read-only")

    assert len(rows_of(ReadOnly(tmp_path), ["id", "content"])) == len(SHOWN)


def test_a_segment_whose_records_were_all_written_anew_is_swept(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    committed(storage, SHOWN)
    (old,) = Segments(storage).stored()
    committed(storage, [r.model_copy(update={"name": "another name"}) for r in SHOWN])
    Records(storage).sweep_segments()
    left = Segments(storage).stored()
    assert len(left) == 1
    assert left[0].key != old.key
    assert reads(storage) == []
