"""A command's display may fail in any way: no traceback, the true status, and no work is lost.

The harness runs every command with each of its streams in each of the states of ``tests.support.displays``.
``submit``, ``list``, ``status`` and ``logs`` talk to a real Ray head, on which one
submitted run waits for GPUs that never come, so that ``submit`` finds its job there; one more test submits
anew. What ``cancel`` ends is a run's board in the output, without the run. ``promote``, which shows its run
by the code of ``run``, finds its picture rendered. All others do their own work.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.events.events import Finished, Resumed
from cluster.events.live import LiveBoard
from cluster.schedule.history import History
from jobs.examples.paintings import NAMES
from jobs.jobfile.job import open_output
from jobs.jobfile.load import load_job
from jobs.storage import keys
from tests.support.displays import (
    LOST,
    PROBLEMS,
    STATES,
    Ended,
    Process,
    Stream,
    begun,
    run,
    started,
)
from tests.support.farm import command, records_of, stylefarm, wait_for, write_job
from tests.support.head import answers, ray_head

PAIRS = [
    ("normal", "normal"),
    *(("closed", "normal"), ("full", "slow"), ("broken", "non-blocking"), ("vanished", "normal")),
    *(("normal", "closed"), ("slow", "full"), ("non-blocking", "broken"), ("normal", "vanished")),
]
"""The states of standard output and standard error: each has each, and one of the two is always read."""


@dataclass
class Case:
    """A command, and what it must have done however it was seen."""

    words: str
    """The command."""
    template: str = "painted"
    """The folder that it works in a copy of."""
    data: bool = True
    """Whether its standard output is what it is for, so that it fails where that is lost."""
    done: Callable[[Path], bool] = lambda _: True
    """Whether its work is done."""
    begin: Callable[[Path], Callable[[Process], None]] = lambda _: lambda _: None
    """Prepares something, and returns what happens while the command runs."""
    at_once: int = 3
    """How many run side by side."""
    beside: str | None = None
    """The command where standard error is lost; None: the same."""
    for_programs: bool = False
    """Whether its standard output has lines for programs."""
    is_started: bool = False
    """Whether Python starts for it in every state, since it imports little; else where nothing is unusual,
    and where a stream is closed before."""


def is_painted(folder: Path) -> bool:
    """One picture is committed, and the output is free."""
    return (
        len(records_of(folder / "job.yaml")) == 1
        and (folder / "out" / keys.SUMMARY).exists()
        and not (folder / "out" / keys.LEASE).exists()
    )


def outcomes(folder: Path) -> list[str]:
    return [tick.outcome for tick in History(folder / "state" / "history.jsonl").ticks()]


def has_ticked(folder: Path) -> bool:
    logs = [path.read_text() for path in (folder / "state" / "logs").rglob("*.log")]
    return "done" in outcomes(folder) and bool(logs) and not any("Trace" in log for log in logs)


def a_schedule(folder: Path) -> Callable[[Process], None]:
    """The service is asked to end once it has rendered something."""
    job = yaml.safe_load((folder / "job.yaml").read_text())
    (folder / "job.yaml").write_text(yaml.safe_dump({**job, "schedule": {"every": "2s"}}))

    def end(process: Process) -> None:
        wait_for(lambda: "done" in outcomes(folder) or process.poll() is not None, 100)
        process.send_signal(signal.SIGTERM)

    return end


def a_run(folder: Path) -> Callable[[Process], None]:
    """What a run shows of itself in its output, until it is asked there to end."""
    board = LiveBoard(
        open_output(load_job(folder / "job.yaml")), lambda _: None, job="test", run="a-run"
    )
    board.__enter__()
    wait_for((folder / "out" / keys.LIVE).exists, 30)

    def end(process: Process) -> None:
        polls = itertools.count()

        def asked() -> bool:
            if next(polls) % 100 == 0:
                board(Resumed(seconds=0.0))  # a run that says nothing for long is taken for ended
            return board.asked() == "drain" or process.poll() is not None

        wait_for(asked, 60)
        if board.asked() == "drain":
            (folder / "asked").touch()
        board(Finished(done=1, failed=0, left=1, seconds=1.0, reason="interrupted"))
        board.__exit__(None, None, None)

    return end


WITHOUT_RAY = {
    "--help": Case("--help", is_started=True),
    "--version": Case("--version", is_started=True),
    "init": Case(
        "init new --photo photos/p0.png",
        data=False,
        done=lambda folder: (folder / "new" / "job.yaml").exists(),
        is_started=True,
    ),
    "plan": Case("plan job.yaml --json"),
    "run": Case(
        "run job.yaml --pool inline --json",
        "fresh",
        data=False,
        done=is_painted,
        beside="run job.yaml --pool inline --verbose",
    ),
    "promote": Case(
        "promote job.yaml --select all --pool inline --json",
        "painted",
        data=False,
        done=is_painted,
        beside="promote job.yaml --select all --pool inline",
    ),
    "report": Case(
        "report out",
        done=lambda folder: (folder / "out" / keys.INDEX).exists() and is_painted(folder),
    ),
    "schema": Case("schema", is_started=True),
    "cancel": Case(
        "cancel job.yaml",
        "fresh",
        data=False,
        begin=a_run,
        done=lambda folder: (folder / "asked").exists(),
        at_once=len(PAIRS),
    ),
    "schedule": Case(
        "schedule job.yaml --pool inline --state state",
        data=False,
        begin=a_schedule,
        done=lambda folder: has_ticked(folder) and is_painted(folder),
    ),
    "schedule --next": Case("schedule nightly.yaml --next 3"),
}
ON_RAY = {
    "doctor": Case("doctor job.yaml --address GCS"),
    "submit": Case("submit WAITING --allow-local"),
    "list": Case("list"),
    "status": Case("status ID"),
    "logs": Case("logs ID"),
}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with a job: nothing is rendered yet, or its picture and its proof are."""
    place = tmp_path_factory.mktemp("templates")
    job = write_job(place / "fresh", photos=1, styles=1)
    nightly = {**yaml.safe_load(job.read_text()), "schedule": {"cron": "0 2 * * *"}}
    (place / "fresh" / "nightly.yaml").write_text(yaml.safe_dump(nightly))
    drawn = place / "fresh" / "new" / "paintings"  # which init would draw, for seconds
    drawn.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(place / "fresh" / "photos" / "p0.png", drawn / f"{name}.png")
    shutil.copytree(place / "fresh", place / "painted")
    for options in ((), ("--proof", "--proof-size", "32")):
        done = stylefarm("run", place / "painted" / "job.yaml", "--pool", "inline", *options)
        assert done.returncode == 0, done.stderr
    return place


def plain(text: str, folder: Path) -> str:
    """Without what differs from one time to the next: the folder, numbers, and the widths of columns."""
    text = text.replace(str(folder), "HERE").replace(folder.name, "HERE")
    return re.sub(r"[\s─]+", " ", re.sub(r"\d[\d.,:e-]*", "0", text)).strip()


def try_all(case: Case, template: Path, place: Path, replace: dict[str, str], **env: str) -> None:
    """Run a command in all states, and tell of all in which it does not do what it does in the normal one."""

    def attempt(states: tuple[str, str]) -> tuple[Ended, Path]:
        folder = place / "-".join(states)
        shutil.copytree(template, folder)
        chosen = case.beside if case.beside and states[1] in LOST else case.words
        words = [replace.get(word, word) for word in chosen.split()]
        how: dict[str, Any] = {"folder": folder, "meanwhile": case.begin(folder), "env": env}
        if case.is_started or states == ("normal", "normal"):
            return run(command(*words), *states, **how), folder
        return run(words, *states, begin=begun, **how), folder

    with ThreadPoolExecutor(case.at_once) as several:
        found = dict(zip(PAIRS, several.map(attempt, PAIRS), strict=True))
    usual, usual_folder = found["normal", "normal"]
    assert usual.status == 0, usual
    problems = []
    for (out, err), (ended, folder) in found.items():
        status = 1 if case.data and out in LOST else 0
        wrong = [*ended.complaints(), *losses(case, out, err, ended, usual)]
        if ended.status != status:
            wrong.append(f"status {ended.status}")
        if not case.done(folder):
            wrong.append("the work is not done")
        # Data arrives whole, however slowly. (A log may have grown meanwhile.)
        whole = plain(usual.out or "", usual_folder)
        if case.data and ended.out is not None and not plain(ended.out, folder).startswith(whole):
            wrong.append(f"not what is usual: {usual.out!r}")
        if wrong:
            problems.append(f"stdout {out}, stderr {err}: {wrong}; {ended}")
    assert not problems, "\n".join(problems)


def losses(case: Case, out: str, err: str, ended: Ended, usual: Ended) -> Iterator[str]:
    """Where a loss is not told that should be, or one is told that is none."""
    if out in LOST:
        expected = PROBLEMS[out] if usual.out and not (case.data and out == "broken") else None
        lost, said = "standard output", ended.err
    elif err in LOST:
        silent = case.data or (case.for_programs and not case.beside) or not usual.err
        expected = None if silent else PROBLEMS[err]
        lost, said = "standard error", ended.out
    else:
        expected, lost, said = None, "standard", f"{ended.out}{ended.err}"
    told = re.findall(
        r"(standard \w+) could not be written(?: \(|: )(.*?)(?:\)|$)", said or "", re.M
    )
    if told != ([] if expected is None else [(lost, expected)]):
        yield f"told {told} and not {expected}"


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_RAY)
def test_any_display_may_fail(name: str, templates: Path, tmp_path: Path) -> None:
    case = WITHOUT_RAY[name]
    try_all(case, templates / case.template, tmp_path, {})


@dataclass
class Head:
    """A Ray head on which a submitted run waits."""

    gcs: str
    waiting: Path
    """The job of that run."""
    id: str
    known: dict[str, str]
    """The environment of who may use it."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    place = tmp_path_factory.mktemp("waiting")
    job = write_job(place, photos=1, styles=1, workers={"gpus": 2, "max": 1})
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    with ray_head(
        *("--include-dashboard=true", "--num-gpus=1"),
        env=token,
        ready=lambda found: answers(found.dashboard),
    ) as found:
        given = {**token, "RAY_API_SERVER_ADDRESS": found.dashboard}
        submitted = stylefarm("submit", job, "--allow-local", **given)
        assert submitted.returncode == 0, submitted.stderr
        name = submitted.stdout.strip()
        wait_for((place / "out" / keys.LIVE).exists, 90)
        yield Head(found.gcs, job, name, given)
        stylefarm("cancel", name, "--now", **given)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_RAY)
def test_any_display_may_fail_on_ray(
    name: str, templates: Path, tmp_path: Path, head: Head
) -> None:
    case = ON_RAY[name]
    replace = {"GCS": head.gcs, "WAITING": str(head.waiting), "ID": head.id}
    try_all(case, templates / case.template, tmp_path, replace, **head.known)


@pytest.mark.slow
def test_a_job_is_submitted_even_where_nothing_shows_that(
    templates: Path, tmp_path: Path, head: Head
) -> None:
    """Its run finds all rendered, and ends."""
    job = shutil.copytree(templates / "painted", tmp_path / "job") / "job.yaml"
    words = command("submit", job, "--allow-local")
    ended = run(words, "full", "closed", folder=tmp_path, env=head.known)
    assert ended.status == 1  # whoever asked for it has no id

    def state() -> str:
        listed = json.loads(stylefarm("list", "--json", **head.known).stdout)
        (row,) = (row for row in listed if row["output"] == str(job.parent / "out"))
        return str(row["state"])

    wait_for(lambda: state() == "succeeded", 90)


NEVER_READ = [
    (("stuck", "normal"), ["--json"]),
    (("normal", "stuck"), ["--verbose"]),
    (("normal", "stopped"), []),
    (("stuck", "stuck"), ["--json", "--verbose", "--log-format", "json"]),
]


def test_a_reader_that_never_reads_stops_no_run(templates: Path, tmp_path: Path) -> None:
    def attempt(case: tuple[tuple[str, str], list[str]]) -> None:
        states, options = case
        folder = shutil.copytree(templates / "fresh", tmp_path / "-".join(states))
        words = ["run", "job.yaml", "--pool", "inline", *options]
        ended = run(words, *states, folder=folder, begin=begun)
        assert (ended.status, ended.complaints()) == (0, []), states
        assert is_painted(folder)
        sentence = "standard {} could not be written (nobody reads it); the run went on without it"
        if states[1] == "normal":
            assert (ended.err or "").count(sentence.format("output")) == 1
        elif states[0] == "normal":
            assert (ended.out or "").count(sentence.format("error")) == 1

    with ThreadPoolExecutor() as several:  # each waits for its reader
        assert len(list(several.map(attempt, NEVER_READ))) == len(NEVER_READ)


PATIENT = {"cluster.display.standard.LAST_SECONDS": 600.0}
"""Settings with which a command waits at its end for as long as it takes a test to read on."""


def test_a_terminal_that_is_stopped_shows_the_run_when_it_goes_on(
    templates: Path, tmp_path: Path
) -> None:
    """Ctrl-S, and Ctrl-Q when all is painted: nothing was lost, and nothing waited."""
    folder = shutil.copytree(templates / "fresh", tmp_path / "job")
    out, err = Stream("normal"), Stream("stopped")
    words = ["run", "job.yaml", "--pool", "inline"]
    with begun(words, out, err, folder=folder, settings=PATIENT) as process:
        wait_for(lambda: is_painted(folder), 100)
        err.go_on()
        assert process.wait(60) == 0
    shown = err.text() or ""
    assert "images/p0" in shown
    assert "1 done, 0 failed, 0 left" in shown
    assert "left out" not in shown
    assert "could not be written" not in (out.text() or "")


FEW_WAIT = """
from cluster.cli.commands import render
from cluster.display import standard
render.LINES_ROOM, render.ROOM = 2000, {"progress": 1000, "finished": 1_000_000}
standard.LAST_SECONDS = 600.0
from cluster.cli.app import main
main()
"""


def test_lines_that_nobody_read_in_time_are_counted(templates: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(templates / "fresh", tmp_path / "job")
    text = (folder / "job.yaml").read_text().replace("steps: 5", "steps: 400")
    (folder / "job.yaml").write_text(text)
    out, err = Stream("held"), Stream("normal")
    words = [sys.executable, "-c", FEW_WAIT, "run", "job.yaml", "--pool", "inline", "--json"]
    with started(words, out, err, folder=folder) as process:
        wait_for(lambda: is_painted(folder), 100)
        out.go_on()
        assert process.wait(60) == 0
    events = [json.loads(line) for line in (out.text() or "").splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.count("left_out") == 1
    assert events[kinds.index("left_out")]["lines"] > 0


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_a_run_that_nobody_reads_ends_when_it_is_asked_to(
    tmp_path: Path, numbers: list[int]
) -> None:
    """With checkpoints where these are asked for, and at once where it is told twice."""
    job = write_job(tmp_path, photos=1, styles=1, recipe={"steps": 100_000, "segment": 50})
    live = tmp_path / "out" / keys.LIVE

    def send(process: Process) -> None:
        wait_for(lambda: live.exists() and json.loads(live.read_text())["steps_per_second"], 100)
        for number in numbers:
            process.send_signal(number)
            # Two that come together are one.
            wait_for(lambda: json.loads(live.read_text())["state"] in ("stopping", "ended"), 60)

    words = ["run", str(job), "--pool", "inline", "--json", "--verbose"]
    ended = run(words, "stuck", "stuck", folder=tmp_path, meanwhile=send, begin=begun)
    assert ended.status == 130
    if numbers == [signal.SIGTERM]:
        assert list((tmp_path / "out" / "checkpoints").iterdir())
        assert not (tmp_path / "out" / keys.LEASE).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_a_reader_and_changes_no_status(
    templates: Path, tmp_path: Path, number: int
) -> None:
    folder = shutil.copytree(templates / "fresh", tmp_path / "job")

    def send(process: Process) -> None:
        wait_for(lambda: is_painted(folder), 100)
        time.sleep(1.0)
        process.send_signal(number)

    words = ["run", "job.yaml", "--pool", "inline"]
    ended = run(words, "stuck", "stuck", folder=folder, meanwhile=send, begin=begun)
    assert ended.status == 0


@pytest.mark.parametrize("state", STATES)
def test_a_mistake_keeps_its_status_where_it_cannot_be_said(tmp_path: Path, state: str) -> None:
    ended = run(command("plan", "no.yaml"), "normal", state, folder=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert (ended.err is None) == (state in LOST)


def test_a_terminal_that_goes_away_amid_a_run_ends_nothing(tmp_path: Path) -> None:
    """Of a process that hangup does not reach: the run goes on to its end."""
    job = write_job(tmp_path, photos=3, styles=1, recipe={"steps": 60})
    terminal, descriptor = pty.openpty()
    words = command("run", job, "--pool", "inline")
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=descriptor,
        stderr=descriptor,
        start_new_session=True,
    )
    os.close(descriptor)
    os.read(terminal, 10)
    os.close(terminal)
    assert process.wait(120) == 0
    assert len(records_of(job)) == 3


@contextlib.contextmanager
def begun_with(job: Path, hangup: signal.Handlers) -> Iterator[subprocess.Popen[str]]:
    """A run that begins with this answer to SIGHUP, whatever that of these tests is."""
    process = subprocess.Popen(
        command("run", job, "--pool", "inline", "--json"),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("twice", [False, True])
def test_hangup_stores_a_checkpoint_and_gives_the_lease_back(tmp_path: Path, twice: bool) -> None:
    job = write_job(tmp_path, photos=1, styles=1, recipe={"steps": 100_000, "segment": 50})
    with begun_with(job, signal.SIG_DFL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and any(r["step"] > 100 for r in event["running"]):
                break
        process.send_signal(signal.SIGHUP)
        if twice:  # as a terminal that closes does it, and its shell
            time.sleep(0.05)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert list((tmp_path / "out" / "checkpoints").iterdir())
    assert not (tmp_path / "out" / "lease.json").exists()


def test_hangup_is_ignored_where_it_was_before(tmp_path: Path) -> None:
    """As by nohup."""
    job = write_job(tmp_path, photos=1, styles=1, recipe={"steps": 300})
    with begun_with(job, signal.SIG_IGN) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=90)
        assert process.returncode == 0
    assert len(records_of(job)) == 1


@pytest.mark.parametrize("state", ["full", "closed", "stuck"])
def test_the_schedule_goes_on_where_it_can_say_nothing(
    templates: Path, tmp_path: Path, state: str
) -> None:
    """Tick after tick; and it writes down that nobody hears it."""
    folder = shutil.copytree(templates / "painted", tmp_path / "job")
    job = yaml.safe_load((folder / "job.yaml").read_text())
    job |= {"schedule": {"every": "2s"}}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))

    def end(process: Process) -> None:
        wait_for(lambda: outcomes(folder).count("done") >= 2, 100)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)

    words = command("schedule", "job.yaml", "--pool", "inline", "--state", "a state")
    (folder / "state").symlink_to("a state")
    ended = run(words, state, state, folder=folder, meanwhile=end)
    assert ended.status == 0
    notes = folder / "state" / "notes.log"
    if state != "stuck":  # whose reader may come back
        (note,) = notes.read_text().splitlines()
        assert f"could not be written ({PROBLEMS[state]}); the schedule goes on without it" in note
        assert f"--history --state '{folder / 'a state'}'" in note


@pytest.mark.parametrize("states", [("full", "broken"), ("closed", "closed"), ("stuck", "stuck")])
def test_what_systemd_and_pods_call_keeps_its_status_unseen(
    templates: Path, tmp_path: Path, states: tuple[str, str]
) -> None:
    folder = shutil.copytree(templates / "fresh", tmp_path / "job")
    text = (folder / "nightly.yaml").read_text()
    long_ago = {"schedule": {"cron": "0 0 29 2 *", "starting_deadline": "1s"}}
    (folder / "rare.yaml").write_text(yaml.safe_dump({**yaml.safe_load(text), **long_ago}))
    expected = {
        "cluster.due nightly.yaml": 0,
        "cluster.due no.yaml": 0,
        "cluster.due rare.yaml": 1,
        "cluster.due": 2,
        "cluster.leave --seconds 1 --node-id none": 0,
        "cluster.leave --seconds none": 2,
    }

    def attempt(words: str) -> tuple[int, list[str]]:
        called = [sys.executable, "-m", *words.split()]
        ended = run(called, *states, folder=folder, seconds=100)
        return ended.status, ended.complaints()

    with ThreadPoolExecutor() as several:  # each waits for its reader
        found = dict(zip(expected, several.map(attempt, expected), strict=True))
    assert found == {words: (status, []) for words, status in expected.items()}
