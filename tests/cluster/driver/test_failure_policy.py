"""The failure policy, as a table."""

from __future__ import annotations

import math

import pytest

from cluster.driver.failure_policy import (
    FAILURES_IN_A_ROW,
    LONGEST_DELAY,
    MOST_REQUEUES,
    Decision,
    Situation,
    decide,
    delay_before,
    is_bad_node,
    must_stop,
)

AGAIN_AT_ONCE = Decision("again", counts=False)


@pytest.mark.parametrize(
    ("situation", "decision"),
    [
        # A user's mistake is never tried again, nor is what kills every process that paints it.
        (Situation("picture"), Decision("give_up")),
        (Situation("poison"), Decision("give_up")),
        # A worker that dies may have died of the picture: from then on it is painted by itself.
        (Situation("worker"), Decision("again", isolated=True)),
        (Situation("worker", attempt_number=2), Decision("again", isolated=True)),
        (Situation("worker", attempt_number=3), Decision("give_up")),
        (Situation("worker", max_attempts=1), Decision("give_up")),
        # What only waited there had no part in it, and what was painted beside it neither.
        (Situation("worker", painting=False), AGAIN_AT_ONCE),
        (Situation("worker", attempt_number=3, painting=False), AGAIN_AT_ONCE),
        # Who waited twice where a worker died may have been what it died of, and not been heard of.
        (
            Situation("worker", painting=False, requeues=1),
            Decision("again", counts=False, isolated=True),
        ),
        (
            Situation("stalled", painting=False, requeues=1),
            Decision("again", counts=False, isolated=True),
        ),
        (Situation("worker", attempt_number=3, isolated=True), AGAIN_AT_ONCE),
        (Situation("stalled", attempt_number=3, painting=False), AGAIN_AT_ONCE),
        # But not for ever.
        (
            Situation("worker", attempt_number=3, isolated=True, requeues=MOST_REQUEUES),
            Decision("give_up"),
        ),
        # A stall may well be the picture's, also when it is painted by itself.
        (Situation("stalled"), Decision("again")),
        (Situation("stalled", attempt_number=2, isolated=True), Decision("again")),
        (Situation("stalled", attempt_number=3), Decision("give_up")),
        # A machine that goes or cannot be reached is nobody's fault.
        (Situation("preempted", attempt_number=3), AGAIN_AT_ONCE),
        (Situation("unavailable", attempt_number=3), AGAIN_AT_ONCE),
        (Situation("preempted", attempt_number=3, requeues=MOST_REQUEUES), Decision("give_up")),
        (Situation("preempted", attempt_number=1, requeues=MOST_REQUEUES), Decision("again", 1.0)),
        (Situation("recalled", attempt_number=3, requeues=MOST_REQUEUES), AGAIN_AT_ONCE),
        (Situation("yielded", attempt_number=3, requeues=MOST_REQUEUES), AGAIN_AT_ONCE),
        # Other faults of machines: after a pause.
        (Situation("fetch"), Decision("again", 1.0)),
        (Situation("fetch", attempt_number=2), Decision("again", 2.0)),
        (Situation("fetch", attempt_number=3), Decision("give_up")),
        (Situation("bug", max_attempts=2), Decision("again", 1.0)),
        (Situation("bug", attempt_number=2, max_attempts=2), Decision("give_up")),
        # Too large for this worker: on a larger one if there is any, else perhaps when nobody is beside it.
        (Situation("memory", larger=True), Decision("again", counts=False, larger=True)),
        (
            Situation("memory", attempt_number=3, larger=True),
            Decision("again", counts=False, larger=True),
        ),
        (Situation("memory"), Decision("again", 1.0)),
        (Situation("memory", attempt_number=3), Decision("give_up")),
        # One task after the other fails on a worker: it is the worker.
        (
            Situation("bug", in_a_row=FAILURES_IN_A_ROW),
            Decision("again", 1.0, worker="replace"),
        ),
        (
            Situation("fetch", attempt_number=3, in_a_row=FAILURES_IN_A_ROW),
            Decision("give_up", worker="replace"),
        ),
        (Situation("bug", in_a_row=FAILURES_IN_A_ROW - 1), Decision("again", 1.0)),
        # A storage outage fails no task: the run waits, and gives up in the end.
        (Situation("storage"), Decision("again", 1.0, counts=False, floor="pause")),
        (
            Situation("storage", attempt_number=3),
            Decision("again", 1.0, counts=False, floor="pause"),
        ),
        (
            Situation("storage", outage_seconds=61, patience_seconds=60),
            Decision("drop", floor="abort"),
        ),
        (Situation("storage", requeues=MOST_REQUEUES), Decision("drop", floor="abort")),
        (Situation("full"), Decision("drop", floor="abort")),
        # No task can do without the network.
        (Situation("weights"), Decision("again", 1.0)),
        (Situation("weights", attempt_number=3), Decision("drop", floor="abort")),
        # Who was asked to stop has not failed.
        (Situation("stopped"), Decision("drop")),
        (Situation("stopped", attempt_number=3), Decision("drop")),
    ],
)
def test_policy(situation, decision):
    assert decide(situation) == decision


def test_delays_double_up_to_a_minute():
    delays = [delay_before(n) for n in range(2, 12)]
    assert delays[:5] == [1, 2, 4, 8, 16]
    assert delays[-1] == delay_before(10_000) == LONGEST_DELAY == 60


@pytest.mark.parametrize(
    ("faults", "others", "bad"),
    [
        (2, 0, False),
        (3, 0, True),
        # Where all nodes lose workers, it is not the node.
        (6, 5, False),
        (18, 5, True),
        # There is nowhere else to go.
        (100, math.inf, False),
    ],
)
def test_a_bad_node_is_one_that_loses_more_than_others(faults, others, bad):
    assert is_bad_node(faults, others) is bad


@pytest.mark.parametrize(
    ("failed", "max_failures", "gpu_hours", "max_gpu_hours", "reason"),
    [
        (5, None, 100.0, None, None),
        (4, 5, 0.9, 1.0, None),
        (5, 5, 0.0, 1.0, "max_failures"),
        (0, 5, 1.0, 1.0, "max_gpu_hours"),
    ],
)
def test_stop_conditions(failed, max_failures, gpu_hours, max_gpu_hours, reason):
    assert must_stop(failed, max_failures, gpu_hours, max_gpu_hours) == reason
