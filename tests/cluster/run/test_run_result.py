"""The exit status of a run follows from its counts."""

from __future__ import annotations

import pytest

from cluster.driver.driver import Counts
from cluster.run.options import RunResult
from jobs.errors import ExitStatus
from jobs.storage.folder import FolderStorage


@pytest.mark.parametrize(
    ("counts", "failed_before", "status"),
    [
        (Counts(done=2), 0, ExitStatus.DONE),
        (Counts(done=2, reason="limit"), 0, ExitStatus.DONE),
        (Counts(), 0, ExitStatus.DONE),
        (Counts(done=2, failed=1), 0, ExitStatus.FAILED),
        (Counts(done=2), 1, ExitStatus.FAILED),
        (Counts(done=2, reason="max_failures"), 0, ExitStatus.FAILED),
        (Counts(done=2, reason="max_gpu_hours"), 0, ExitStatus.FAILED),
        (Counts(done=2, reason="interrupted"), 0, ExitStatus.INTERRUPTED),
        (Counts(failed=2, reason="preempted"), 3, ExitStatus.INTERRUPTED),
    ],
)
def test_the_exit_status(tmp_path, counts, failed_before, status):
    result = RunResult(counts, failed_before, 0, FolderStorage(tmp_path))
    assert result.exit_status is status


def test_exit_statuses_are_those_that_scripts_know():
    assert {status.name: int(status) for status in ExitStatus} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "INTERRUPTED": 130,
    }


def test_a_video_that_could_not_be_made_is_a_failure(tmp_path):
    made = RunResult(Counts(done=2), 0, 0, FolderStorage(tmp_path), videos=1)
    lost = RunResult(Counts(done=2), 0, 0, FolderStorage(tmp_path), videos=1, videos_failed=1)
    stopped = RunResult(Counts(reason="interrupted"), 0, 0, FolderStorage(tmp_path), 0, 1)
    assert made.exit_status is ExitStatus.DONE
    assert lost.exit_status is ExitStatus.FAILED
    assert stopped.exit_status is ExitStatus.INTERRUPTED
