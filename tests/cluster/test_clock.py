"""A signal that comes while a tick is being started reaches its run all the same."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest
import yaml

from cluster import clock as module
from cluster.clock import Clock, Command
from cluster.tick_run import TickRun


class Slow(Command):
    """A tick that ends only when it is told to."""

    def words(self, job, planned):
        code = "import signal, sys, time\nfor n in (2, 15): signal.signal(n, lambda *_: sys.exit(130))\n"
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
    clock = Clock([tmp_path / "job.yaml"], tmp_path / "state", Slow(), lambda text: None)
    (entry,) = clock._entries
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
    look = threading.Thread(target=clock._look, args=(entry,))
    look.start()
    assert starting.wait(10)
    clock._on_signal(number, None)
    began = time.monotonic()

    status = clock._end()

    assert status == (130 if number == signal.SIGINT else 0)
    assert time.monotonic() - began < 20
    look.join(5)
    assert entry.runs == []
    assert [tick.outcome for tick in clock.history.ticks()] == ["missed", "interrupted"]
    clock._lock.release()
