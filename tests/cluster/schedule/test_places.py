"""Where state, history, logs and exported files cannot be: one sentence, and no tick is lost."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path

import pytest
import yaml

from cluster.schedule import service as module
from cluster.schedule.history import History, iso_time
from cluster.schedule.service import Command, Service
from cluster.schedule.tick_process import Mark, TickRun
from jobs.errors import ExitStatus, StorageError
from jobs.jobfile import dated_output
from tests.support.farm import stylefarm, wait_for
from tests.support.machine import folder_for_all, stylefarm_of_stranger


@pytest.fixture
def job(tmp_path: Path) -> Path:
    said = {
        "output": "out",
        "pairs": [{"content": "a.jpg", "style": "b.jpg"}],
        "schedule": {"every": "1d"},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(said))
    return file


class Quick(Command):
    """A tick that has nothing to do."""

    def words(self, *_, **__):
        return [sys.executable, "-c", "print('hello')"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [("/proc/x", "No such file"), ("/dev/null", "File exists"), ("/dev/null/x", "Not a directory")],
)
def test_a_place_for_the_state_that_is_none(job: Path, place: str, reason: str) -> None:
    ran = stylefarm("schedule", job, f"--state={place}")
    assert ran.returncode == ExitStatus.UNREACHABLE
    assert f"the schedule's state cannot be kept in {place} ({reason}" in ran.stderr
    assert ran.stderr.endswith("; name a folder that can be written with --state\n")
    assert ran.stderr.count("\n") == 1


def test_a_home_that_cannot_be_written_is_named(job: Path) -> None:
    ran = stylefarm("schedule", job, HOME="/proc", XDG_STATE_HOME="")
    assert ran.returncode == ExitStatus.UNREACHABLE
    assert "cannot be kept in /proc/.local/state/stylefarm/schedule (No such file" in ran.stderr
    assert ran.stderr.endswith("with --state, or set HOME or XDG_STATE_HOME\n")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--history"]])
def test_no_home_folder_is_named(job: Path, more: list[str]) -> None:
    ran = stylefarm("schedule", job, *more, HOME="/dev/null/home", XDG_STATE_HOME="")
    assert ran.returncode == ExitStatus.USAGE
    assert "~ is the home folder, and there is none: HOME is /dev/null/home" in ran.stderr
    assert ran.stderr.endswith("or name a folder for the schedule's state with --state\n")


def test_what_needs_no_state_needs_no_home_folder(job: Path) -> None:
    for more in (["--next=1"], ["--export=systemd"]):
        ran = stylefarm("schedule", job, *more, HOME="/dev/null/home", XDG_STATE_HOME="")
        assert ran.returncode == 0, ran.stderr


def test_a_user_without_a_home_folder_names_a_state(job: Path) -> None:
    with folder_for_all() as folder:
        ran = stylefarm_of_stranger("schedule", "--history", folder=folder)
        assert (ran.returncode, ran.stderr.count("\n")) == (ExitStatus.USAGE, 1), ran.stderr
        assert "HOME is not set" in ran.stderr
        ran = stylefarm_of_stranger("schedule", "--history", f"--state={folder}/s", folder=folder)
        assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null", "/dev/null/x"])
def test_a_place_for_exported_files_that_is_none(job: Path, place: str) -> None:
    ran = stylefarm("schedule", job, "--export=systemd", f"--to={place}")
    assert ran.returncode == ExitStatus.UNREACHABLE
    assert f"the files cannot be written to {place} (" in ran.stderr
    assert ran.stderr.endswith("; name another folder with --to\n")


def test_a_tilde_that_the_shell_left_is_the_home_folder(job: Path, tmp_path: Path) -> None:
    """As it leaves the one of ``--to=~/units``."""
    ran = stylefarm("schedule", job, "--export=systemd", "--to=~/units", HOME=str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "units").iterdir())) == 2
    ran = stylefarm("schedule", job, "--export=systemd", "--to=~/units", HOME="/dev/null/home")
    assert ran.returncode == ExitStatus.USAGE
    assert "~/units: ~ is the home folder, and there is none" in ran.stderr


def test_a_history_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        list(History(tmp_path / "history.jsonl").ticks())


def test_a_log_that_cannot_be_written_costs_no_tick(tmp_path: Path) -> None:
    planned = dated_output.now()
    (tmp_path / "logs").write_text("in the way")
    mark = Mark(iso_time(planned), iso_time(planned), str(tmp_path / "logs/tick.log"))
    ran = tmp_path / "ran"
    run = TickRun.start(
        [sys.executable, "-c", f"open({str(ran)!r}, 'w').close()"], planned, mark, tmp_path
    )
    assert run.wait() == 0
    assert ran.exists()
    assert run.unlogged == f"without a log, because {mark.log} cannot be written (File exists)"


def test_what_could_not_be_recorded_is_tried_again_in_seconds(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the next tick, which is tomorrow."""
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.2)
    said: list[str] = []
    service = Service([job], tmp_path / "state", Quick(), said.append)
    (entry,) = service._entries
    entry.seen -= module.timedelta(days=1)
    jobs = tmp_path / "state/jobs"
    jobs.rename(tmp_path / "elsewhere")
    jobs.write_text("in the way")
    service._handle_due(entry)
    service._scheduler.add_job(service._reload, "interval", seconds=module.RELOAD_SECONDS)
    service._scheduler.start()
    try:
        time.sleep(1)
        (told,) = said
        assert told.endswith("it is tried again every 0.2 s")
        with service._state_lock:  # so that it is not tried between these two
            jobs.unlink()
            (tmp_path / "elsewhere").rename(jobs)
        wait_for(lambda: [tick.outcome for tick in service.history.ticks()], 20)
        assert [tick.outcome for tick in service.history.ticks()] == ["done"]
    finally:
        service._scheduler.shutdown(wait=False)
        service._lock.release()


def test_a_run_is_awaited_though_its_start_could_not_be_recorded(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every later tick would be skipped, because an earlier one seems to be running."""
    service = Service([job], tmp_path / "state", Quick(), lambda _: None)
    (entry,) = service._entries
    entry.seen -= module.timedelta(days=1)
    real, saves = Service._save, iter((True, False))

    def save(self: Service, *arguments: object, **more: object) -> None:
        if not next(saves, True):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, *arguments, **more)

    monkeypatch.setattr(Service, "_save", save)
    service._handle_due(entry)
    wait_for(lambda: not entry.runs, 20)
    assert [tick.outcome for tick in service.history.ticks()] == ["done"]
    service._lock.release()
