"""The failure policy, as a table."""

from __future__ import annotations

import pytest

from cluster.retry import LONGEST_DELAY, Decision, decide, delay_before


@pytest.mark.parametrize(
    ("kind", "attempt", "attempts", "decision"),
    [
        # A user's mistake is never tried again.
        ("picture", 1, 3, Decision("give_up")),
        # A machine's fault is, at once where a fresh process starts anyway, else after a pause.
        ("worker", 1, 3, Decision("again", 0.0)),
        ("worker", 2, 3, Decision("again", 0.0)),
        ("worker", 3, 3, Decision("give_up")),
        ("fetch", 1, 3, Decision("again", 1.0)),
        ("fetch", 2, 3, Decision("again", 2.0)),
        ("fetch", 3, 3, Decision("give_up")),
        ("memory", 1, 3, Decision("again", 1.0)),
        ("memory", 3, 3, Decision("give_up")),
        ("bug", 1, 2, Decision("again", 1.0)),
        ("bug", 2, 2, Decision("give_up")),
        # When the output takes nothing any more, a failed record could not be written either.
        ("storage", 1, 3, Decision("again", 1.0)),
        ("storage", 3, 3, Decision("abort")),
        # Nor can any task do without the network.
        ("weights", 1, 3, Decision("again", 1.0)),
        ("weights", 3, 3, Decision("abort")),
        # Who was asked to stop has not failed.
        ("stopped", 1, 3, Decision("drop")),
        ("stopped", 3, 3, Decision("drop")),
        ("worker", 1, 1, Decision("give_up")),
    ],
)
def test_policy(kind, attempt, attempts, decision):
    assert decide(kind, attempt, attempts) == decision


def test_delays_double_up_to_a_minute():
    delays = [delay_before(n, "fetch") for n in range(2, 12)]
    assert delays[:5] == [1, 2, 4, 8, 16]
    assert delays[-1] == LONGEST_DELAY == 60
