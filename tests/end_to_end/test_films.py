"""Whole runs of films with the stand-in renderer: what is painted when, from what, and what follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.driver.driver import Driver, Limits
from cluster.events.events import Event, InputChanged, TaskDone, TaskFailed, WorkerLost
from cluster.messages import Assignment, Failure, WorkerSetup
from cluster.open_job import open_agenda
from cluster.plan.plan import make_plan
from cluster.plan.plan_text import to_text
from cluster.pools.base import Ended, Lost, WorkerHandle
from cluster.pools.inline_pool import InlinePool
from cluster.run.options import RunOptions, RunResult
from cluster.run.run_job import run_job
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.proofs.proofs import proofs_of
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from stylize.film.structure import place_of
from tests.support.driver import copy_job
from tests.support.farm import STAND_IN, setup_of, write_film_job
from tests.support.outputs import contents, drive, results, storage_of


class Run:
    """A run, and what it said."""

    def __init__(self, job: Job, **options: Any) -> None:
        self.events: list[Event] = []
        given = RunOptions(pool="inline", renderer=STAND_IN, **options)
        self.result: RunResult = run_job(job, given, self.events.append)

    def said(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def painted(self) -> list[str]:
        """The ids of the tasks that were done, in order."""
        return [event.id for event in self.said(TaskDone)]


def records(job: Job) -> dict[int, TaskRecord]:
    """By the number of the frame."""
    return {r.film.number: r for r in Records(open_output(job)).all() if r.film is not None}


def above(length: int, *changed: int) -> set[int]:
    """Frames of a shot, by index, that hold to some, also by way of others; these included."""
    found = set(changed)
    while True:
        more = {
            index
            for index in range(length)
            if found.intersection(place_of(index, [(0, length)]).needs)
        }
        if more <= found:
            return found
        found |= more


def test_every_frame_is_painted_from_the_pictures_that_it_holds_to(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(40)])

    run = Run(job)

    assert (run.result.counts.done, run.result.counts.failed) == (40, 0)
    found = records(job)
    output = open_output(job)
    by_id = {record.id: record for record in found.values()}
    for record in found.values():
        film, picture = record.film, record.output
        assert film is not None
        assert picture is not None
        place = place_of(film.index, [(0, 40)])
        assert tuple(need.index for need in film.needs) == place.needs
        for need in film.needs:
            held = by_id[need.id].output
            assert held is not None
            assert need.sha256 == held.sha256
            assert run.painted.index(need.id) < run.painted.index(record.id)
        assert ("held" in json.loads(output.get(picture.key))) == bool(film.needs)
    assert Run(job).painted == []


def test_pictures_have_no_part_in_a_film(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": 0}])
    spec = yaml.safe_load(Path(job.file).read_text())
    spec["pairs"].append({"content": "shots/a.1001.png", "style": "style.png"})
    Path(job.file).write_text(yaml.safe_dump(spec))

    assert Run(load_job(job.file)).result.counts.done == 2

    parts = [record.film is None for record in Records(open_output(job)).all()]
    assert sorted(parts) == [False, True]


def test_one_failed_frame_is_told_by_number_and_takes_along_what_holds_to_it(
    tmp_path: Path,
) -> None:
    frames: list[dict[str, Any]] = [{"n": k} for k in range(40)]
    frames[12] = {"fail": "diverged"}
    job = write_film_job(tmp_path, frames, job={"stop": {"max_failures": 2}})
    lost = above(40, 12)
    assert 1 < len(lost) < 8

    run = Run(job)

    assert (run.result.counts.done, run.result.counts.failed) == (40 - len(lost), len(lost))
    assert run.result.counts.reason == "complete"
    found = records(job)
    assert {n - 1001 for n, record in found.items() if record.status == "failed"} == lost
    assert found[1013].error == "the loss became nan"
    told = "frame 1013 has failed, which this frame holds to: the loss became nan"
    for index in lost - {12}:
        assert (found[1001 + index].error, found[1001 + index].attempts) == (told, [])
    assert {event.error for event in run.said(TaskFailed)} == {"the loss became nan", told}

    # They are not tried again, unless that is asked for.
    again = Run(job)
    assert (again.painted, again.said(TaskFailed)) == ([], [])
    (tmp_path / "shots/a.1013.png").write_text("{}")
    mended = Run(job, retry_failed=True)
    assert len(mended.painted) == len(lost)
    assert {record.status for record in records(job).values()} == {"done"}


def test_what_holds_to_a_frame_that_failed_before_fails_by_its_name(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": 0}, {"fail": "diverged"}, {"n": 2}, {"n": 3}, {"n": 4}])
    whole = Run(job)
    assert whole.result.counts.failed
    failed = {n for n, record in records(job).items() if record.status == "failed"}
    output = open_output(job)
    for number in failed - {1002}:
        output.delete(f"tasks/{records(job)[number].id[:2]}/{records(job)[number].id}.json")

    again = Run(job)

    assert again.painted == []
    assert {n for n, record in records(job).items() if record.status == "failed"} == failed
    for event in again.said(TaskFailed):
        assert event.error.startswith("frame 1002 has failed, which this frame holds to:")


def test_a_changed_frame_is_rendered_again_with_what_holds_to_it_and_nothing_else(
    tmp_path: Path,
) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(40)])
    Run(job)
    before = records(job)
    (tmp_path / "shots/a.1017.png").write_text(json.dumps({"n": "another"}))

    run = Run(job, if_changed=True)

    changed = above(40, 16)
    assert {before[1001 + index].id for index in changed} == set(run.painted)
    assert {event.uri for event in run.said(InputChanged)} == {"shots/a.1017.png"}
    after = records(job)
    assert all(after[n] == before[n] for n in before if n - 1001 not in changed)
    assert Run(job, if_changed=True).painted == []
    # A leaf, which nobody holds to.
    (tmp_path / "shots/a.1002.png").write_text(json.dumps({"n": "another"}))
    assert Run(job, if_changed=True).painted == [after[1002].id]


def test_what_was_painted_from_another_picture_than_there_is_has_changed(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)])
    Run(job)
    first = records(job)[1001]
    # As if the root had been painted elsewhere, where it comes out a little otherwise.
    output, picture = open_output(job), first.output
    assert picture is not None
    output.put(picture.key, b'{"n": "otherwise"}')
    digest = hashlib.sha256(b'{"n": "otherwise"}').hexdigest()
    other = first.model_copy(update={"output": picture.model_copy(update={"sha256": digest})})
    Records(output).commit(other)

    assert len(Run(job, if_changed=True).painted) == 19


def test_a_film_that_goes_on_renders_what_is_new(tmp_path: Path) -> None:
    frames = [{"n": k} for k in range(60)]
    job = write_film_job(tmp_path, frames, frames="1001-1040")
    Run(job)
    before = records(job)

    longer = write_film_job(tmp_path, frames, frames="1001-1060")
    run = Run(longer)

    after = records(longer)
    # Up to the last key but one nothing changes.
    assert all(after[n].id == before[n].id for n in range(1001, 1034))
    assert len(run.painted) == 60 - 33


def test_proofs_are_the_same_frames_small(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)], recipe={"size": 64})

    proofs = Run(job, proof=True, proof_size=32)

    found = records(proofs_of(job))
    assert len(proofs.painted) == 20
    assert {record.recipe["size"] for record in found.values()} == {32}
    by_id = {record.id: record for record in found.values()}
    for record in found.values():
        for need in record.film.needs if record.film else ():
            picture = by_id[need.id].output
            assert picture is not None
            assert need.sha256 == picture.sha256
    chosen = found[1006].id
    run = Run(job, select=chosen)
    assert chosen in run.painted
    assert set(run.painted) < set(by_id)
    ids = {n: record.id for n, record in found.items()}
    index, expected = 5, {5}
    while more := {n for i in expected for n in place_of(i, [(0, 20)]).needs} - expected:
        expected |= more
    assert {ids[1001 + k] for k in expected} == set(run.painted), index
    assert len(Run(job, select="all").painted) == 20 - len(expected)


def test_overwriting_a_frame_only_reads_what_it_holds_to(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)])
    Run(job)
    before = records(job)
    chosen = before[1006]
    assert chosen.film is not None
    needs = {need.id for need in chosen.film.needs}

    again = Run(job, select=chosen.id, overwrite=True)

    assert again.painted == [chosen.id]
    after = records(job)
    assert {n for n in after if after[n].finished != before[n].finished} == {1006}
    # It has become the same, so nothing that holds to it is older than it.
    assert Run(job, if_changed=True).painted == []

    # What it holds to and is not done is rendered, as without overwriting: failed, or not there.
    lost = next(r for r in before.values() if r.id in needs)
    assert lost.film is not None
    Records(open_output(job)).forget([lost.id])
    assert set(Run(job, select=chosen.id, overwrite=True).painted) == {chosen.id, lost.id}


def test_what_holds_to_an_overwritten_frame_is_what_if_changed_paints(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)])
    Run(job)
    ids = {n: record.id for n, record in records(job).items()}
    (tmp_path / "shots/a.1009.png").write_text('{"n": "other"}')

    assert Run(job, select=ids[1009], overwrite=True).painted == [ids[1009]]

    other = records(job)[1009].output
    run = Run(job, if_changed=True)
    assert set(run.painted) == {ids[1001 + k] for k in above(20, 8)} - {ids[1009]}
    # What has changed is not what they were painted from, but what they hold to.
    assert other is not None
    assert {event.uri for event in run.said(InputChanged)} == {other.key}
    assert Run(job, if_changed=True).painted == []


def test_a_frame_that_failed_is_rendered_again_for_one_that_is_overwritten(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": 0}, {"n": 1, "fail": "diverged"}, {"n": 2}])
    Run(job)
    failed = {n: r.id for n, r in records(job).items() if r.status == "failed"}
    assert 1002 in failed
    (tmp_path / "shots/a.1002.png").write_text('{"n": 1}')
    last = records(job)[1003]
    painted = Run(job, select=last.id, overwrite=True).painted
    assert last.id in painted
    assert records(job)[1001].id not in painted


def test_a_limit_cuts_a_film_anywhere_and_the_next_run_goes_on(tmp_path: Path) -> None:
    job = write_film_job(
        tmp_path, [{"n": k} for k in range(20)], sweep={"style_weight": [1.0, 2.0]}
    )
    painted: list[str] = []
    for limit in (1, 2, 5, 13, None):
        painted += Run(job, limit=limit).painted
    assert len(painted) == len(set(painted)) == 40
    assert {record.status for record in Records(open_output(job)).all()} == {"done"}


def test_a_need_that_is_gone_is_named(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": 0}, {"n": 1}])
    Run(job, limit=1)
    root = records(job)[1001].output
    assert root is not None
    open_output(job).delete(root.key)

    Run(job)

    assert records(job)[1002].error == (
        f"{root.key}, which this frame holds to, is gone; run again with --verify."
    )
    # So it does, and what holds to it is tried again when that is asked for.
    assert len(Run(job, verify=True, retry_failed=True).painted) == 2


class LosingPool(InlinePool):
    """Every third call loses its worker while it paints."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        self.calls = 0
        self.lost: list[Lost] = []

    def submit(self, worker: WorkerHandle, assignments: Sequence[Assignment]) -> None:
        self.calls += 1
        attempts = tuple(a.attempt_id for a in assignments)
        if self.calls % 3 == 0:
            self.lost.append(
                Lost(worker, Failure("worker", "it died"), attempts, frozenset(attempts))
            )
        else:
            super().submit(worker, [replace(a, isolated=False) for a in assignments])

    def wait(self, timeout: float) -> list[Ended | Lost]:
        if self.lost:
            lost, self.lost = self.lost, []
            return list(lost)
        return super().wait(timeout)


def test_a_lost_worker_costs_a_retry(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)])
    events: list[Event] = []
    pool = LosingPool(setup_of(job))
    records_ = Records(open_output(job))
    driver = Driver(
        open_agenda(job).tasks(), pool, records_, events.append, limits=Limits(max_attempts=9)
    )
    try:
        counts = driver.run()
    finally:
        pool.close()

    assert (counts.done, counts.failed) == (20, 0)
    assert sum(isinstance(event, WorkerLost) for event in events) > 5


def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)])
    events: list[Event] = []

    def asked() -> Any:
        return "drain" if sum(isinstance(e, TaskDone) for e in events) >= 5 else "no"

    options = RunOptions(pool="inline", renderer=STAND_IN)
    stopped = run_job(job, options, events.append, asked)

    assert stopped.counts.reason == "interrupted"
    assert 5 <= stopped.counts.done < 20
    assert len(Run(job).painted) == 20 - stopped.counts.done


def test_a_plan_says_how_deep_a_film_is(tmp_path: Path) -> None:
    job = write_film_job(tmp_path, [{"n": k} for k in range(40)], cuts=[1021])

    plan = make_plan(open_agenda(job), None, "out")

    (film,) = plan.films
    assert (film.frames, film.shots, film.depth) == (40, 2, 6)
    assert (
        "  film shots/a.####.png: 40 frames 1001-1040 in 2 shots; 6 are painted one after the other"
        in to_text(plan).splitlines()
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_film_may_be_killed_before_and_after_every_write(tmp_path: Path) -> None:
    frames: list[dict[str, Any]] = [{"n": 0}, {"n": 1}, {"n": 2, "fail": "diverged"}]
    write_film_job(tmp_path / "job", frames)
    job = tmp_path / "job/job.yaml"
    undisturbed = copy_job(job, 0)
    points = int(drive(undisturbed, "--count")[-1][1])
    expected, said = contents(storage_of(undisturbed)), results(storage_of(undisturbed))
    assert sorted(status for status, *_ in said.values()) == ["done", "failed", "failed"]

    lines = drive(job, "--points", *map(str, range(1, points + 1)))

    committed: set[str] = set()
    for word, *rest in lines:
        if word == "crash":
            committed = set()
        elif word != "status":
            assert word not in committed, "a frame was rendered again that had been committed"
            committed.add(word)
        else:
            assert int(rest[0]) in (-9, 1)
    for number in range(1, points + 1):
        storage = storage_of(job.parent.with_name(f"{job.parent.name}-{number}") / job.name)
        assert contents(storage) == expected, f"killed at point {number}"
        assert results(storage) == said
