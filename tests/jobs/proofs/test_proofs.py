"""The proof ladder: proofs stand for their tasks, and what is chosen among them is found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import UsageError
from jobs.proofs.find_job import job_of, storages_of
from jobs.proofs.proofs import (
    PROOF_SIZE,
    Proofs,
    done_proofs,
    have_other_size,
    proofs_of,
    size_of_proofs,
    wanted_size,
)
from jobs.proofs.selection import Selection, read_selection
from jobs.records.commit import Records, write_json
from jobs.records.statuses import Ledger
from jobs.storage import keys
from jobs.storage.open import open_storage
from jobs.tasks.row_account import RowAccount
from jobs.tasks.todo import Agenda
from tests.jobs.support import a_record, read, touch

JOB = """
output: out
recipe: {size: 1024}
image: {format: tiff, bit_depth: 16, name: "{content}-{size}"}
pairs:
  - {content: [a.jpg, b.jpg], style: s.jpg}
  - {content: c.jpg, style: s.jpg, recipe: {size: 64}}
"""
A, B = "0123456789abcdef", "fedcba9876543210"


def agenda(base: Path, view: object = None, text: str = JOB) -> Agenda:
    touch(base, "a.jpg", "b.jpg", "c.jpg", "s.jpg")
    found = Agenda(read(text, base), lambda _: "digest")
    return found if view is None else found.seen_as(view)  # type: ignore[arg-type]


def test_a_proof_has_the_id_of_its_task_and_no_more_pixels_than_asked_for(tmp_path: Path) -> None:
    tasks = list(agenda(tmp_path).tasks())
    proofs = list(agenda(tmp_path, Proofs(256)).tasks())

    assert [p.id for p in proofs] == [t.id for t in tasks]
    assert [t.recipe.size for t in tasks] == [1024, 1024, 64]
    assert [p.recipe.size for p in proofs] == [256, 256, 64]  # none larger than its task
    assert [p.name for p in proofs] == ["a-256", "b-256", "c-64"]
    assert all(
        p.recipe.model_copy(update={"size": t.recipe.size}) == t.recipe
        for p, t in zip(proofs, tasks, strict=True)
    )


def test_proofs_of_a_manifest_are_counted_as_the_small_pictures_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "s.jpg")
    (tmp_path / "m.csv").write_text(
        "content,style,recipe.size\n" + "".join(f"a.jpg,s.jpg,{300 + k}\n" for k in range(3))
    )
    text = "output: out\npairs: [{manifest: m.csv}]\n"

    full = agenda(tmp_path, text=text).census(Ledger.of({}))
    small = agenda(tmp_path, Proofs(128), text).census(Ledger.of({}))

    assert small.tasks == full.tasks == 3  # alike as they are, each is a proof of its own
    assert small.work_left < full.work_left / 3


def test_proofs_lie_below_the_output_and_any_browser_shows_them(tmp_path: Path) -> None:
    job = proofs_of(read(JOB, tmp_path))

    assert job.spec.output == "out/proofs"
    assert (job.spec.image.format, job.spec.image.bit_depth) == ("png", 8)
    s3 = read(JOB.replace("output: out", "output: s3://renders/harbour/"), tmp_path)
    assert proofs_of(s3).spec.output == "s3://renders/harbour/proofs"


def test_a_view_changes_nothing_for_others(tmp_path: Path) -> None:
    whole = agenda(tmp_path)
    small = whole.seen_as(Proofs(32))

    assert {task.recipe.size for task in small.tasks()} == {32}
    assert [task.recipe.size for task in whole.tasks()] == [1024, 1024, 64]
    assert small.entries is whole.entries  # what was looked up is not looked up again


def test_a_selection_is_what_is_left_of_a_job(tmp_path: Path) -> None:
    _, b, _ = agenda(tmp_path).tasks()
    selection = Selection([b.id])

    assert list(agenda(tmp_path, selection).tasks()) == [b]
    selection.complete(draft for draft, _ in agenda(tmp_path).drafts(Ledger.of({}), RowAccount()))


def test_ids_that_are_no_tasks_of_the_job_are_told(tmp_path: Path) -> None:
    a, *_ = agenda(tmp_path).tasks()
    drafts = (draft for draft, _ in agenda(tmp_path).drafts(Ledger.of({}), RowAccount()))

    with pytest.raises(UsageError, match=rf"not tasks of this job: {A}, {B};.*changed"):
        Selection([a.id, A, B]).complete(drafts)
    with pytest.raises(UsageError, match="and 7 more"):
        Selection([f"{k:016x}" for k in range(12)]).complete([])


def test_a_check_reads_no_further_than_it_must(tmp_path: Path) -> None:
    (a, *_) = agenda(tmp_path).tasks()
    drafts = (draft for draft, _ in agenda(tmp_path).drafts(Ledger.of({}), RowAccount()))

    Selection([a.id]).complete(drafts)

    assert len(list(drafts)) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\n{B}\n",
        f"\ufeff{A}\r\n\r\n# those of the second row\r\n{B}\r\n",
        json.dumps([A, B]),
        f"out/proofs/images/harbour--wave-{A}.png\ns3://renders/proofs/images/x-{B}.jpeg",
        f"harbour 01--wave-{A}\n  harbour--wave-{B}.webp  \n",
    ],
)
def test_a_file_names_ids_in_whatever_way_one_has_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "chosen.txt").write_text(text, encoding="utf-8")

    assert read_selection(str(tmp_path / "chosen.txt")) == [A, B]


def test_ids_can_stand_on_the_command_line() -> None:
    assert read_selection(f"{A},{B}") == [A, B]
    assert read_selection(f" x-{A}.png , {B} ") == [A, B]
    assert read_selection("all") is None


@pytest.mark.parametrize("given", ["", "nothing-of-the-kind.txt", f"{A},", "abc", f"{A}0", f"q{A}"])
def test_what_is_no_selection_is_told(given: str) -> None:
    with pytest.raises(UsageError, match=r"not a task id|there is no such file"):
        read_selection(given)


def test_a_wrong_line_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "chosen.txt"
    file.write_text(f"{A}\nharbour\n")

    with pytest.raises(UsageError, match=r"chosen\.txt:2: 'harbour' is not a task id"):
        read_selection(str(file))
    file.write_text("# nothing yet\n")
    with pytest.raises(UsageError, match="selects nothing"):
        read_selection(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as a selection"):
        read_selection(str(file))
    file.write_text("[1, 2")
    with pytest.raises(UsageError, match="cannot be read as a selection"):
        read_selection(str(file))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_a_selection(text: str) -> None:
    found = keys.named_id(text)
    assert found is None or (len(found) == 16 and found in text)


def test_only_proofs_that_are_done_count_as_all(tmp_path: Path) -> None:
    storage = open_storage("proofs", base=tmp_path)
    records = Records(storage)
    records.commit(a_record(1))
    records.commit(a_record(2, status="failed", error="no such picture"))
    records.close()

    assert done_proofs(storage) == [f"{1:016x}"]


@pytest.mark.parametrize(
    ("written", "known"), [({"proof_size": 320}, 320), ({}, None), ({"proof_size": "x"}, None)]
)
def test_the_size_of_proofs_is_known_from_their_job(
    tmp_path: Path, written: dict[str, object], known: int | None
) -> None:
    storage = open_storage("proofs", base=tmp_path)
    assert size_of_proofs(storage) is None
    write_json(storage, keys.JOB, written)

    assert size_of_proofs(storage) == known
    assert have_other_size(storage, 64) is (known is not None)
    assert wanted_size(storage, None) == (known or PROOF_SIZE)
    assert wanted_size(storage, 64) == 64


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("out", "--endpoint-url would have no effect on out"),
        ("s3://bucket/x", "--endpoint-url nonsense is not an address"),
    ],
)
@pytest.mark.parametrize("find", [storages_of, job_of])
def test_an_endpoint_that_is_no_address_is_told_in_a_sentence(
    find: Callable[[str, str], object], output: str, sentence: str
) -> None:
    with pytest.raises(UsageError) as refused:
        find(output, "nonsense")

    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)
