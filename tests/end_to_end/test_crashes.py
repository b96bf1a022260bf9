"""Wherever a run is killed, the next one ends with the same, and renders nothing that was committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.driver import copy_job
from tests.support.outputs import contents, drive, results, rig_job, storage_of
from tests.support.rigs import RIGS, Rig

DIRECTIVES: list[dict[str, Any]] = [
    {"n": 0, "steps": 3, "checkpoint": 1},
    {"fail": "diverged", "good": [{"n": 1}]},
]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rig", RIGS[:2], indirect=True)
def test_a_run_may_be_killed_before_and_after_every_write(rig: Rig, tmp_path: Path) -> None:
    job = rig_job(rig, tmp_path, DIRECTIVES)
    undisturbed = copy_job(job, 0)
    ended = drive(undisturbed, "--count")
    points = int(ended[-1][1])
    expected, said = contents(storage_of(undisturbed)), results(storage_of(undisturbed))
    assert points > (25 if rig.is_s3 else 60)
    assert sorted(status for status, *_ in said.values()) == ["done", "failed"]

    # Of the second storage every fifth, and the last ones: what it shows is its own errors and locks.
    chosen = {*range(1, points + 1, 5 if rig.is_s3 else 1), points - 1, points}
    lines = drive(job, "--points", *map(str, sorted(chosen)))

    committed: set[str] = set()
    statuses: list[int] = []
    for word, *rest in lines:
        if word == "crash":
            committed, statuses = set(), []
        elif word == "status":
            statuses.append(int(rest[0]))
        else:
            assert word not in committed, "a task was rendered again that had been committed"
            committed.add(word)
        if len(statuses) == 2:
            # Threads take turns as they like, so the last points may not come every time.
            assert statuses[0] in (-9, 1)
            assert statuses[1] == 1
    for number in chosen:
        storage = storage_of(job.parent.with_name(f"{job.parent.name}-{number}") / job.name)
        assert contents(storage) == expected, f"killed at point {number}"
        assert results(storage) == said
