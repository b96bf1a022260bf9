"""Waiting for a storage in outage, and records on their way to it."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from cluster.driver.committer import THREADS, Commit, Committer
from cluster.driver.storage_outage import StorageOutage
from cluster.signals import Interrupts
from jobs.errors import LeaseLostError, StorageError, StorageFailingError
from tests.support.farm import wait_for


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Server:
    """Fails the first ``down`` probes."""

    def __init__(self, down):
        self.down = down
        self.probes = 0

    def __call__(self):
        self.probes += 1
        if self.probes <= self.down:
            raise StorageFailingError(f"503, probe {self.probes}")


def until_over(outage, clock):
    """Poll every half second, as a driver does; return when each probe was made."""
    server, at = outage._probe, []
    probes = getattr(server, "probes", None)
    while not outage.seems_over():
        if outage._probing is not None:
            outage._probing.join(180)
            if probes is not None and len(at) < server.probes:
                at.append(clock.now)
        clock.now += 0.5
    return at


def test_it_is_probed_ever_more_slowly_until_it_is_up():
    clock, server = Clock(), Server(down=8)
    outage = StorageOutage(server, clock)
    assert not outage.seems_over()

    assert outage.begin(StorageFailingError("503"))
    assert not outage.begin(StorageFailingError("503 again"))  # already begun
    at = until_over(outage, clock)

    assert outage.since is None
    pauses = [round(b - a) for a, b in itertools.pairwise(at)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 3
    assert 60 <= pauses[-1] <= 62


def test_what_breaks_again_at_once_was_never_over():
    """The probe may be well where what matters is not: patience counts from the first outage on, and the
    probes get slower."""
    clock = Clock()
    outage = StorageOutage(lambda: None, clock)
    outage.begin(StorageFailingError("no right to tasks/"))
    pauses = []
    while outage.seconds < 300:
        before = clock.now
        until_over(outage, clock)
        pauses.append(clock.now - before)
        assert not outage.begin(StorageFailingError("no right to tasks/"))  # already begun

    assert pauses == sorted(pauses)
    assert pauses[-1] >= 60
    until_over(outage, clock)
    assert outage.end() == pytest.approx(clock.now, abs=1)
    assert outage.seconds == 0
    assert outage.end() is None
    assert outage.begin(StorageFailingError("another one"))


def test_a_slow_probe_delays_nobody():
    clock, let_go = Clock(), threading.Event()
    outage = StorageOutage(lambda: bool(let_go.wait(180)) or None, clock)
    outage.begin(StorageFailingError("503"))
    clock.now = 2.0

    began = time.monotonic()
    assert not outage.seems_over()
    assert not outage.seems_over()
    assert time.monotonic() - began < 30
    let_go.set()
    wait_for(outage.seems_over)


class Records:
    """Refuses some, and lets none end before so many were written side by side."""

    def __init__(self, errors=(), together=1):
        self.errors, self.together = errors, together
        self.now = self.most = 0
        self._lock = threading.Lock()
        self._all = threading.Event()

    def commit(self, record, kept, *, checkpoint, preview):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.most >= self.together:
                self._all.set()
        self._all.wait(180)
        with self._lock:
            self.now -= 1
        if record in self.errors:
            raise self.errors[record]


def commits(committer, *records):
    for record in records:
        committer.submit(Commit(record, None, False, False, lambda: None))
    ended = []
    wait_for(lambda: ended.extend(committer.finished()) or not committer.waiting, 10)
    committer.close()
    return {commit.record: error for commit, error in ended}


def test_records_are_written_side_by_side():
    records = Records(together=THREADS)
    woken = []

    errors = commits(Committer(records, lambda: woken.append(1)), *range(40))

    assert errors == dict.fromkeys(range(40))
    assert records.most == THREADS
    assert len(woken) == 40


def test_what_the_storage_refuses_comes_back_with_its_reason():
    refused = StorageFailingError("503")

    errors = commits(Committer(Records({1: refused})), 0, 1)

    assert errors == {0: None, 1: refused}


def test_a_bug_is_no_trouble_of_the_storage():
    committer = Committer(Records({0: KeyError("a bug")}))
    with pytest.raises(KeyError):
        commits(committer, 0)


def test_a_lost_lease_is_a_storage_error():
    lost = LeaseLostError("another driver has it")

    assert isinstance(commits(Committer(Records({0: lost})), 0)[0], StorageError)


@pytest.mark.parametrize(
    ("signals", "asked"),
    [
        (["SIGINT"], "drain"),
        (["SIGTERM"], "preempt"),
        # Who finishes what is painting may still be made to go.
        (["SIGINT", "SIGTERM"], "preempt"),
        (["SIGINT", "SIGINT"], KeyboardInterrupt),
        (["SIGTERM", "SIGTERM"], KeyboardInterrupt),
        (["SIGTERM", "SIGINT"], KeyboardInterrupt),
    ],
)
def test_signals(signals, asked):
    import signal

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        assert interrupts.what() == "no"
        for name in signals[:-1]:
            signal.raise_signal(getattr(signal, name))
        if asked is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(getattr(signal, signals[-1]))
        else:
            signal.raise_signal(getattr(signal, signals[-1]))
            assert interrupts.what() == asked
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
