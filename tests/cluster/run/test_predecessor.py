"""The job after which a run begins: how far it is, and what can never begin."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cluster.events.events import Live
from cluster.events.live import QUIET_SECONDS
from cluster.run.predecessor import (
    EARLIER_RUN,
    ChainBrokenError,
    Predecessor,
    predecessor_named,
)
from jobs.errors import UsageError
from jobs.jobfile.load import load_job
from jobs.storage import keys
from jobs.storage.base import StorageOptions
from jobs.storage.folder import FolderStorage
from tests.support.farm import write_job


def live(output: Path, **changes: Any) -> Live:
    """Write what a run says of itself."""
    now = time.time()
    values: dict[str, Any] = {
        **{
            "job": "harbour",
            "output": str(output),
            "run": "r1",
            "submission": None,
            "reason": None,
        },
        **{
            "state": "running",
            "tasks": 5,
            "done": 2,
            "failed": 0,
            "left": 3,
            "steps_per_second": 1.0,
        },
        **{"eta": None, "workers": 1, "pending": 0, "busy": None, "gpu_hours": 0.0},
        **{"started": now, "updated": now, **changes},
    }
    storage = FolderStorage(output)
    made = Live(**values)
    storage.put(keys.LIVE, json.dumps(asdict(made)).encode())
    return made


def of(output: Path, **changes: Any) -> Predecessor:
    return Predecessor("harbour", FolderStorage(output), StorageOptions(), **changes)


def test_a_job_that_has_not_begun_or_whose_run_is_an_earlier_one(tmp_path: Path) -> None:
    assert of(tmp_path).standing().what == "it has not begun"
    live(tmp_path, state="ended", reason="complete", done=5, left=0)
    assert of(tmp_path, earlier="r1").standing().what == "it has not begun"
    assert of(tmp_path, earlier="r0").standing().well


def test_a_job_that_is_rendered_says_how_far_it_is(tmp_path: Path) -> None:
    live(tmp_path)
    standing = of(tmp_path).standing()
    assert (standing.well, standing.what, standing.counts) == (
        False,
        "it is being rendered",
        "2 of 5 done",
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"updated": time.time() - QUIET_SECONDS - 1}, "it was killed"),
        ({"state": "ended", "reason": "preempted"}, "its machine was taken away"),
        ({"state": "waiting", "waits": "waits for nightly: it has not begun"}, "waits for nightly"),
    ],
)
def test_what_can_still_end_well_is_waited_for(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    live(tmp_path, **changes)
    standing = of(tmp_path).standing()
    assert not standing.well
    assert standing.what.startswith(what)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reason": "complete", "failed": 2, "left": 0}, "2 tasks failed"),
        ({"reason": "complete", "failed": 0, "left": 3}, "3 tasks left"),
        ({"reason": "interrupted"}, "3 tasks left, reason: interrupted"),
        ({"reason": "limit"}, "3 tasks left, reason: limit"),
        ({"reason": "the disk is full", "left": None}, "reason: the disk is full"),
    ],
)
def test_what_has_ended_otherwise_ends_the_chain(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    live(tmp_path, state="ended", **changes)
    with pytest.raises(ChainBrokenError) as error:
        of(tmp_path).standing()
    assert f"harbour has ended, but not well ({why})" in str(error.value)
    assert error.value.exit_status == 1


def test_circles_are_refused_however_long(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    with pytest.raises(UsageError, match="cannot begin after itself"):
        of(a).check_chain(FolderStorage(a))
    live(b, state="waiting", after=str(c))
    live(c, state="waiting", after=f"{a}/")
    with pytest.raises(UsageError, match="waits for this job itself"):
        of(b).check_chain(FolderStorage(a))
    # Each of these waits for nothing that waits for it.
    of(b).check_chain(FolderStorage(tmp_path / "d"))
    live(c, state="running", after=None)
    of(b).check_chain(FolderStorage(a))
    # A run that was killed waits no longer.
    live(c, state="waiting", after=str(a), updated=time.time() - QUIET_SECONDS - 1)
    of(b).check_chain(FolderStorage(a))


def test_a_circle_without_this_job_is_no_endless_search(tmp_path: Path) -> None:
    b, c = tmp_path / "b", tmp_path / "c"
    live(b, state="waiting", after=str(c))
    live(c, state="waiting", after=str(b))
    of(b).check_chain(FolderStorage(tmp_path / "a"))


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = load_job(write_job(tmp_path / "mine"))
    other = write_job(tmp_path / "other", name="other")
    output = tmp_path / "other" / "out"
    # A job file may name what has not begun; an output may not, unless who submitted the run found it.
    assert predecessor_named(str(other), job).standing().what == "it has not begun"
    with pytest.raises(UsageError, match="nothing has been rendered there"):
        predecessor_named(str(output), job)
    with monkeypatch.context() as patch:
        patch.setenv(EARLIER_RUN, "r1")
        found = predecessor_named(str(output), job)
        assert (found.name, found.earlier) == (str(output), "r1")
        patch.setenv(EARLIER_RUN, "")
        early = predecessor_named(str(output), job)
        assert early.earlier is None
        assert early.standing().name == str(output)
    # Its last run was complete, but there are pictures now that it did not know.
    live(output, job="other", state="ended", reason="complete", done=4, left=0, tasks=4)
    assert predecessor_named(str(other), job).earlier == "r1"
    by_output = predecessor_named(str(output), job)
    assert (by_output.name, by_output.earlier) == ("other", None)
    assert by_output.standing().well
    # One that waits since before it began has its name now, too.
    assert early.standing().name == "other"
