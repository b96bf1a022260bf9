"""A run that begins when another job has ended well: ``--after``."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cluster.events.live import read_live
from jobs.errors import ExitStatus
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from tests.support.farm import ROOT, command, stylefarm, wait_for, write_job


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    run = subprocess.Popen(
        command("run", *words, "--pool", "inline", "--json"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def ended(run: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    out, said = run.communicate(timeout=120)
    return [json.loads(line) for line in out.splitlines()], said


def waits(folder: Path) -> str:
    live = read_live(FolderStorage(folder / "out"))
    return live.waits if live is not None and live.state == "waiting" else ""


def done(file: Path) -> int:
    job = load_job(file)
    return Records(open_storage(job.spec.output, base=job.base)).ledger().count("done")


def follower(folder: Path, first: Path) -> Path:
    """A job that paints the other's pictures once more."""
    file = write_job(folder, photos=1, styles=1, name="second")
    values = yaml.safe_load(file.read_text())
    values["pairs"] = [{"content": f"{first}/out/images/*.png", "style": "styles/"}]
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_run_begins_after_another_and_paints_its_pictures(tmp_path: Path) -> None:
    first = write_job(tmp_path / "first", photos=2, styles=1, name="first")
    second = follower(tmp_path / "second", tmp_path / "first")
    with running(second, "--after", first, "--hold") as run:
        wait_for(lambda: waits(tmp_path / "second") == "waits for first: it has not begun", 60)
        shown = stylefarm("status", second)
        assert "waits for first: it has not begun" in shown.stdout
        # What is asked of it meanwhile counts afterwards.
        assert stylefarm("resume", second).returncode == 0
        refused = stylefarm("run", first, "--after", second, "--pool", "inline")
        assert refused.returncode == ExitStatus.USAGE
        assert "second waits for this job itself" in refused.stderr
        assert stylefarm("run", first, "--pool", "inline").returncode == 0
        lines, said = ended(run)
    assert run.returncode == 0, said
    awaited = [line["what"] for line in lines if line["event"] == "job_awaited"]
    assert awaited[0] == "it has not begun"
    assert done(second) == 2
    # What is done already is not waited for; nor is its output.
    again = stylefarm("run", second, "--after", tmp_path / "first" / "out", "--pool", "inline")
    assert again.returncode == 0, again.stderr
    assert "waiting" not in again.stderr


def test_a_chain_that_breaks_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    first = write_job(tmp_path / "first", photos=2, styles=1, name="first")
    second = write_job(tmp_path / "second", photos=1, styles=1, name="second")
    with running(second, "--after", first) as run:
        wait_for(lambda: waits(tmp_path / "second"), 60)
        (tmp_path / "first" / "photos" / "p0.png").write_bytes(b"no picture")
        assert stylefarm("run", first, "--pool", "inline").returncode == ExitStatus.FAILED
        _, said = ended(run)
    assert run.returncode == ExitStatus.FAILED
    assert "first has ended, but not well (1 task failed)" in said
    live = read_live(FolderStorage(tmp_path / "second" / "out"))
    assert live is not None
    assert live.state == "ended"
    assert live.reason == "first, after which it was to begin, has not ended well"
    assert not done(second)
    # From the start, it is refused.
    refused = stylefarm("run", second, "--after", first, "--pool", "inline")
    assert refused.returncode == ExitStatus.FAILED
    assert "Traceback" not in refused.stderr


def test_a_run_that_waits_is_ended_like_any_other(tmp_path: Path) -> None:
    first = write_job(tmp_path / "first", photos=1, styles=1, name="first")
    second = write_job(tmp_path / "second", photos=1, styles=1, name="second")
    with running(second, "--after", first) as run:
        wait_for(lambda: waits(tmp_path / "second"), 60)
        watched = subprocess.Popen(
            command("status", second, "--watch"), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        run.send_signal(signal.SIGINT)
        _, said = ended(run)
        assert run.returncode == ExitStatus.INTERRUPTED, said
        seen, _ = watched.communicate(timeout=60)
        assert watched.returncode == ExitStatus.INTERRUPTED
        assert seen.endswith("\n")
    with running(second, "--after", first) as run:
        wait_for(lambda: waits(tmp_path / "second"), 60)
        run.send_signal(signal.SIGTERM)
        ended(run)
        live = read_live(FolderStorage(tmp_path / "second" / "out"))
        assert live is not None
        assert (live.state, live.reason) == ("ended", "preempted")
    with running(second, "--after", first) as run:
        wait_for(lambda: waits(tmp_path / "second"), 60)
        asked = stylefarm("cancel", second)
        assert asked.returncode == 0, asked.stderr
        ended(run)
        assert run.returncode == ExitStatus.INTERRUPTED
    assert not FolderStorage(tmp_path / "second" / "out").stat("cancel.json")


def test_an_output_that_is_done_stays_so_when_its_next_run_waits_in_vain(tmp_path: Path) -> None:
    first = write_job(tmp_path / "first", photos=1, styles=1, name="first")
    second = write_job(tmp_path / "second", photos=1, styles=1, name="second")
    third = write_job(tmp_path / "third", photos=1, styles=1, name="third")
    assert stylefarm("run", second, "--pool", "inline").returncode == 0
    with running(second, "--after", first) as run:
        wait_for(lambda: waits(tmp_path / "second"), 60)
        told = json.loads(stylefarm("status", second, "--json").stdout)
        assert (told["done"], told["left"]) == (1, 0)
        run.send_signal(signal.SIGINT)
        ended(run)
    for name in (second, tmp_path / "second" / "out"):
        done_at_once = stylefarm("run", third, "--after", name, "--pool", "inline")
        assert done_at_once.returncode == 0, done_at_once.stderr
    # Nor is it forgotten where no run says so any more, as in a copy.
    (tmp_path / "second" / "out" / "live.json").write_text("{")
    for name in (second, tmp_path / "second" / "out"):
        assert stylefarm("run", third, "--after", name, "--pool", "inline").returncode == 0


def test_a_name_that_means_nothing(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=1, styles=1)
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path)
    for name, sentence in (
        (job, "a job cannot begin after itself"),
        (tmp_path / "out", "a job cannot begin after itself"),
        (link / "job.yaml", "a job cannot begin after itself"),
        ("", "--after needs a job file or an output"),
        (tmp_path / "nothing", "nothing has been rendered there"),
        (tmp_path / "other.yaml", "other.yaml"),
    ):
        refused = stylefarm("run", job, "--after", name, "--pool", "inline")
        assert refused.returncode == ExitStatus.USAGE, refused.stderr
        assert sentence in refused.stderr
        assert "Traceback" not in refused.stderr
