"""A signal that comes while a tick is being started reaches its run all the same."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from cluster.schedule import service as module
from cluster.schedule.history import History, iso_time
from cluster.schedule.service import Command, Service
from cluster.schedule.tick_process import Mark, TickRun, read_result
from jobs.jobfile import dated_output
from jobs.jobfile.parse import read_job
from tests.support.farm import write_job


class Slow(Command):
    """A tick that ends only when it is told to."""

    def words(self, job, planned):
        code = "import signal, sys, time\nfor n in (2, 15): signal.signal(n, lambda *_: sys.exit(130))\n"
        code += "signal.pthread_sigmask(signal.SIG_UNBLOCK, (2, 15))\n"
        return [sys.executable, "-c", code + "time.sleep(600)"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_a_start_leaves_no_run_behind(tmp_path, monkeypatch, when, number):
    said = {
        "output": "out",
        "pairs": [{"content": "a.jpg", "style": "b.jpg"}],
        "schedule": {"every": "1d"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(said))
    service = Service([tmp_path / "job.yaml"], tmp_path / "state", Slow(), lambda text: None)
    (entry,) = service._entries
    entry.seen -= module.timedelta(days=3)
    starting, real = threading.Event(), TickRun.start

    def start(*arguments):
        starting.set()
        if when == "before":
            time.sleep(1)
        run = real(*arguments)
        if when == "after":
            time.sleep(1)
        return run

    monkeypatch.setattr(TickRun, "start", start)
    alarm = threading.Thread(target=service._handle_due, args=(entry,))
    alarm.start()
    assert starting.wait(10)
    service._on_signal(number, None)
    began = time.monotonic()

    status = service._end()

    assert status == (130 if number == signal.SIGINT else 0)
    assert time.monotonic() - began < 20
    alarm.join(5)
    assert entry.runs == []
    assert [tick.outcome for tick in service.history.ticks()] == ["missed", "interrupted"]
    service._lock.release()


class Short(Command):
    """A tick that says what it was started for, and ends well."""

    def words(self, job, planned):
        counts = '"done": 1, "failed": 0, "left": 0, "seconds": 1'
        finished = f'{{"event": "finished", {counts}, "reason": "complete"}}'
        return [sys.executable, "-c", f"print({planned.isoformat()!r}); print({finished!r})"]


def ticks_of(state):
    return [(tick.planned, tick.outcome) for tick in History(state / "history.jsonl").ticks()]


@pytest.mark.parametrize("end", ["stopped", "killed", "killed a moment before the service"])
@pytest.mark.parametrize("deadline", [None, "2h", "20s"])
def test_a_tick_that_ended_with_the_service_is_resumed_by_the_next(tmp_path, end, deadline):
    """It may have a folder of its own, by its date, which no later tick would fill."""
    schedule = {"every": "1d", **({} if deadline is None else {"starting_deadline": deadline})}
    said = {
        "output": "out/{date}",
        "pairs": [{"content": "a.jpg", "style": "b.jpg"}],
        "schedule": schedule,
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(said))
    midnight = module.datetime(2026, 5, 1, tzinfo=module.timezone.utc)
    clock = [midnight - module.timedelta(hours=1)]

    def service(command, state):
        return Service(
            [tmp_path / "job.yaml"],
            state,
            command,
            lambda text: None,
            lambda: clock[0],
        )

    state = tmp_path / "state"
    first = service(Slow(), state)
    (entry,) = first._entries
    clock[0] = midnight + module.timedelta(seconds=5)
    first._handle_due(entry)
    (run,) = entry.runs
    if end == "stopped":
        first._on_signal(signal.SIGTERM, None)
        first._end()
    else:
        if end == "killed":  # with the machine: neither the service nor the run has a last word
            state = shutil.copytree(state, tmp_path / "found")
        run.kill()
        run.wait()
        for watcher in first._watchers:
            watcher.join(90)
    first._lock.release()

    clock[0] = midnight + module.timedelta(hours=1)
    second = service(Short(), state)
    (entry,) = second._entries
    second._handle_due(entry)
    for watcher in second._watchers:
        watcher.join(90)
    again = [] if deadline == "20s" else ["done"]
    assert [outcome for _, outcome in ticks_of(state)][-1 - len(again) :] == [
        "interrupted",
        *again,
    ]
    assert {planned for planned, _ in ticks_of(state)} == {"2026-05-01T00:00:00Z"}
    second._handle_due(entry)
    assert entry.runs == []  # once
    second._lock.release()


HELD = """
import os, time
from cluster.pools.inline_pool import InlinePool
init = InlinePool.__init__
def init_later(self, *arguments, **more):
    while not os.path.exists("go"):
        time.sleep(0.01)
    init(self, *arguments, **more)
InlinePool.__init__ = init_later
from cluster.cli.app import main
main()
"""
"""The command, which has no worker before there is a file ``go``."""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_hears_what_came_while_it_was_only_starting(tmp_path, number):
    """At none of these moments is it ready, nor may it die of what it is to do in peace."""
    runs = []
    for k, delay in enumerate((0, 0.02, 0.1, 0.5)):
        job = read_job(
            write_job(tmp_path / f"{k}", recipe={"steps": 100_000}, schedule={"every": "1d"})
        )
        planned = dated_output.now()
        mark = Mark(iso_time(planned), iso_time(planned), str(tmp_path / f"{k}.log"))
        options = Command(options=("--pool", "inline"))
        words = options.words(job, planned, program=[sys.executable, "-c", HELD])
        run = TickRun.start(words, planned, mark, tmp_path)
        time.sleep(delay)
        run.ask_to_stop(number, "interrupted")
        runs.append(run)
    (tmp_path / "go").touch()

    for run in runs:
        assert run.wait() == 130, Path(run.mark.log).read_text()
        result = read_result(Path(run.mark.log))
        assert (result.done, result.left) == (0, 4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_submission_hears_it_too(tmp_path, number):
    """Of a head that says nothing it would wait for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        knobs = {"output": str(tmp_path / "out"), "schedule": {"every": "1d"}}
        job = read_job(write_job(tmp_path / "job", photos=1, styles=1, **knobs))
        planned = dated_output.now()
        mark = Mark(iso_time(planned), iso_time(planned), str(tmp_path / "log"))
        command = Command(f"http://127.0.0.1:{silent.getsockname()[1]}", ["--ship-inputs"])
        began = time.monotonic()
        run = TickRun.start(command.words(job, planned), planned, mark, tmp_path)
        run.ask_to_stop(number, "interrupted")

        assert run.wait() in (130, -number), (tmp_path / "log").read_text()
    assert time.monotonic() - began < 60
    assert "Traceback" not in (tmp_path / "log").read_text()
