"""The command ``cancel``, where no cluster is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.cli.commands.cancel import cancel
from cluster.events.events import Live
from cluster.events.json_lines import to_json
from jobs.errors import UsageError
from tests.support.farm import write_job


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def write_live(folder: Path, submission: str | None) -> None:
    live = Live(
        job="harbour",
        output=str(folder),
        run="1-a",
        submission=submission,
        state="running",
        reason=None,
        tasks=2,
        done=0,
        failed=0,
        left=2,
        steps_per_second=1.0,
        eta=None,
        workers=1,
        pending=0,
        busy=None,
        gpu_hours=0.0,
        started=0.0,
        updated=0.0,
    )
    folder.mkdir()
    (folder / "live.json").write_text(to_json(live))


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_run_without_a_cluster_is_stopped_where_it_runs(tmp_path, has_begun):
    job = write_job(tmp_path)
    if has_begun:
        write_live(tmp_path / "out", None)

    with pytest.raises(
        UsageError, match="Ctrl-C or SIGTERM where it runs, or by cancel"
    ) as refused:
        cancel(str(job), now=True)

    assert "--address" not in str(refused.value)


def test_a_run_on_a_cluster_is_stopped_by_that_cluster(tmp_path):
    job = write_job(tmp_path)
    write_live(tmp_path / "out", "stylefarm-harbour-1a2b3c4d")

    with pytest.raises(
        UsageError, match="runs stylefarm-harbour-1a2b3c4d: give its dashboard with"
    ):
        cancel(str(job), now=True)
