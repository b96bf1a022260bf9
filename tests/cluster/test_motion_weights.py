"""RAFT's weights cannot be had: that is said before anything is painted, and only where it matters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cluster.events.events import Event, TaskDone
from cluster.open_job import motion_problem, open_agenda
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from cluster.submit.status import of_output
from jobs.errors import JobFileError
from jobs.jobfile.job import Job, open_output
from jobs.proofs.selection import Selection
from jobs.records.commit import Records
from jobs.records.statuses import Ledger
from jobs.tasks.row_account import RowAccount
from stylize.film.sources import raft
from stylize.network import weights
from tests.support.farm import STAND_IN, stylefarm, write_film_job

NAME = raft.URL.rsplit("/", 1)[1]
ADVICE = f"put {NAME} into "


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch's hub keeps weights; there is no network."""

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def put_weights(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts a file where the weights are looked for: the stand-in needs no more of them."""

    def put() -> None:
        (hub / NAME).write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        monkeypatch.setattr(raft, "SHA256_PREFIX", digest[:8])

    return put


def film(folder: Path, **changes: object) -> Job:
    frames = [{"n": k, "steps": 1} for k in range(4)]
    return write_film_job(folder, frames, **{"flow": "raft", **changes})


def run(job: Job, **options: object) -> int:
    """The number of frames that were painted."""
    events: list[Event] = []
    run_job(job, RunOptions(pool="inline", renderer=STAND_IN, **options), events.append)
    return sum(isinstance(event, TaskDone) for event in events)


@pytest.mark.usefixtures("hub")
def test_a_run_is_refused_before_anything_is_painted(tmp_path: Path) -> None:
    job = film(tmp_path)
    with pytest.raises(JobFileError) as caught:
        run(job)
    (problem,) = caught.value.problems
    assert problem.field == "pairs[0].flow"
    with pytest.raises(weights.WeightsError) as by_doctor:
        raft.network()
    assert problem.message == str(by_doctor.value)
    assert ADVICE in problem.message
    assert list(Records(open_output(job)).all()) == []
    status = of_output(job, open_output(job))
    assert status is not None
    assert (status.state, status.exit_status) == ("ended", 1)
    assert ADVICE in str(status.reason)


def test_a_file_that_is_placed_by_hand_will_do(
    tmp_path: Path, hub: Path, put_weights: Callable[[], None]
) -> None:
    job = film(tmp_path)
    (hub / NAME).write_bytes(b"other")
    with pytest.raises(JobFileError, match="is damaged or not what it should be"):
        run(job)
    put_weights()
    assert run(job) == 4


@pytest.mark.usefixtures("hub")
def test_motion_that_is_kept_needs_no_weights(
    tmp_path: Path, hub: Path, put_weights: Callable[[], None]
) -> None:
    job = film(tmp_path)
    put_weights()
    assert run(job, limit=2) == 2
    (hub / NAME).unlink()
    assert run(job) == 2
    assert run(job) == 0
    assert run(job, overwrite=True) == 4
    (tmp_path / "shots/a.1002.png").write_text('{"n": 7, "steps": 1}  ')
    with pytest.raises(JobFileError):
        run(job, overwrite=True)
    assert run(job) == 0


@pytest.mark.usefixtures("hub")
def test_frames_that_hold_to_none_need_no_weights(tmp_path: Path) -> None:
    job = film(tmp_path, cuts=[1002])
    agenda, storage = open_agenda(job), open_output(job)
    roots = [
        draft.id for draft, _ in agenda.drafts(Ledger.of({}), RowAccount()) if not draft.is_held
    ]

    def problem(*ids: str) -> object:
        view = agenda.seen_as(Selection(ids))
        return motion_problem(view, storage, lambda: Ledger.of({}))

    assert len(roots) == 2
    assert problem(*roots) is None
    assert motion_problem(agenda, storage, lambda: Ledger.of({})) is not None
    assert motion_problem(open_agenda(film(tmp_path, flow="dis")), storage, _unread) is None


def _unread() -> Ledger:
    raise AssertionError("nothing needs to be read")


def test_plan_says_it_and_so_does_a_run(tmp_path: Path) -> None:
    job = film(tmp_path)
    # Nobody listens there.
    without = {"TORCH_HOME": str(tmp_path / "torch"), "https_proxy": "http://127.0.0.1:9"}
    planned = stylefarm("plan", job.file, **without)
    assert planned.returncode == 0, planned.stderr
    (line,) = [line for line in planned.stdout.splitlines() if "RAFT" in line]
    assert line.startswith(f"  will fail: {job.file}:")
    told = json.loads(stylefarm("plan", job.file, "--json", **without).stdout)["motion"]
    assert line == f"  will fail: {told}"
    ran = stylefarm("run", job.file, "--pool", "inline", **without)
    assert ran.returncode == 2, ran.stderr
    assert ADVICE in told
    assert told in ran.stderr
