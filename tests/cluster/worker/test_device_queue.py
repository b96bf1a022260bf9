"""Devices and the queue before them, and signs of life."""

from __future__ import annotations

import threading
import time

import pytest

from cluster.worker.device_queue import AttemptReturned, DeviceQueue
from cluster.worker.heartbeat import Heartbeat
from tests.support.farm import wait_for


def nobody() -> None:
    return None


def test_a_device_is_held_by_one_at_a_time_in_the_order_of_asking():
    devices = DeviceQueue(["gpu"])
    held = devices.take(nobody)
    got = []

    def ask(number):
        device = devices.take(nobody)
        got.append(number)
        devices.give_back(device)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        wait_for(lambda asking=number + 1: len(devices._queue) == asking)
    assert got == []
    devices.give_back(held)
    for thread in threads:
        thread.join(180)

    assert got == [0, 1, 2, 3, 4]


def test_two_devices_are_held_by_two():
    devices = DeviceQueue(["a", "b"])

    assert {devices.take(nobody), devices.take(nobody)} == {"a", "b"}


def test_who_waits_can_be_sent_away():
    devices = DeviceQueue(["gpu"])
    devices.take(nobody)
    reason, seen = [], []

    def ask():
        with pytest.raises(AttemptReturned) as caught:
            devices.take(lambda: reason[0] if reason else None)
        seen.append(caught.value.kind)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: devices._queue)
    reason.append(AttemptReturned("recalled", "another was free"))
    devices.wake()
    thread.join(180)

    assert seen == ["recalled"]


def test_busy_seconds_are_those_for_which_devices_are_held():
    devices = DeviceQueue(["a", "b"])
    began = time.monotonic()
    first, second = devices.take(nobody), devices.take(nobody)
    time.sleep(0.1)
    devices.give_back(first)
    one = time.monotonic() - began
    time.sleep(0.1)
    devices.give_back(second)
    other = time.monotonic() - began
    busy = devices.busy_seconds
    time.sleep(0.05)

    assert 0.28 <= busy <= one + other
    assert devices.busy_seconds == busy


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_quietest_attempt_counts_but_not_one_that_waits():
    clock = Clock()
    heartbeat = Heartbeat(clock)
    heartbeat.enter("a", "render")
    heartbeat.enter("b", "wait")
    clock.now = 10.0
    assert heartbeat.quiet_seconds == 10.0
    heartbeat.sign("a")
    clock.now = 13.0
    assert heartbeat.quiet_seconds == 3.0
    heartbeat.finish("a")
    assert heartbeat.quietest == (None, 0.0)
    heartbeat.enter("b", "fetch")
    clock.now = 15.0
    assert heartbeat.quietest == ("b", 2.0)


def test_slow_attempts_are_given_more_time():
    clock = Clock()
    heartbeat = Heartbeat(clock)
    heartbeat.enter("large", "render")
    heartbeat.slow_down("large", 4.0)
    clock.now = 100.0

    assert heartbeat.quiet_seconds == 25.0


def test_an_ended_attempt_gives_no_more_signs():
    heartbeat = Heartbeat()
    heartbeat.enter("a", "render")
    heartbeat.finish("a")
    heartbeat.sign("a")

    wait_for(lambda: len(heartbeat) == 0, 1)
