"""The arithmetic of a pool, without Ray: who can take a call, who is missing, who may go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.messages import DeviceInfo, Progress, Report
from cluster.pools.base import PREFETCH, WorkerHandle
from cluster.pools.ray_member import Member
from cluster.pools.roster import GROWING_SECONDS, MOST_FAILED_STARTS, Roster, Starts


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def a_member(number, memory=None):
    handle = WorkerHandle(str(number), f"gpu-{number}", "node", DeviceInfo("a card"))
    handle.memory_bytes = memory
    return Member(number, None, handle)


def give(roster, member, calls):
    for call in range(calls):
        member.handle.calls[call] = (f"{call}-{member.number}",)
        roster.update(member)


def placed(roster, number, node, *, is_up=True, calls=0, **about):
    member = a_member(number)
    member.handle.node = node if is_up else ""
    member.asked_for = node
    for name, value in about.items():
        setattr(member, name, value)
    roster.add(member)
    if is_up:
        roster.mark_up(member)
    give(roster, member, calls)
    return member


def test_what_is_missing_of_a_share(roster):
    placed(roster, 0, "a")
    placed(roster, 1, "a", is_up=False)
    placed(roster, 2, "b", yielding=True)
    assert roster.by_node() == {"a": 2}
    assert roster.by_node(up=True) == {"a": 1, "b": 1}
    assert roster.wanting({"a": 2, "b": 1}) == ["b"]
    assert roster.wanting({"a": 3, "b": 2}) == ["a", "b", "b"]
    assert roster.wanting({}) == []
    # One that may come up anywhere is not asked for again.
    placed(roster, 3, None, is_up=False)
    assert roster.wanting({"a": 2, "b": 1}) == []
    # One for a node to come is no part of a share.
    placed(roster, 4, None, is_up=False, beyond=True)
    assert roster.wanting({"a": 2, "b": 2}) == ["b"]
    assert [member.number for member in roster.beyond] == [4]


def test_what_is_too_much_for_a_share_goes_where_least_is_lost(roster):
    busy = placed(roster, 0, "a", calls=2)
    idle = placed(roster, 1, "a")
    coming = placed(roster, 2, "a", is_up=False)
    other = placed(roster, 3, "b", calls=1)
    assert roster.exceeding({"a": 3, "b": 1}) == []
    assert roster.exceeding({"a": 2, "b": 1}) == [coming]
    assert roster.exceeding({"a": 1, "b": 1}) == [coming, idle]
    assert roster.exceeding({"a": 2}) == [coming, other]
    assert set(roster.exceeding({})) == {busy, idle, coming, other}
    # It has as many as it may have, only elsewhere: the manager hears where, and what paints goes on. What is
    # not up yet may wait there for ever.
    assert roster.exceeding({"c": 4}) == [coming]


def test_who_goes_when_fewer_are_allowed(roster):
    placed(roster, 0, "a", calls=2)
    idle = placed(roster, 1, "a")
    placed(roster, 2, "a", calls=1, yielding=True)
    assert roster.above(None) == roster.above(2) == []
    assert roster.above(1) == [idle]


def test_who_has_silenced_a_worker():
    member = a_member(0)
    member.handle.calls.update({1: ("painting",), 2: ("decoding",)})
    painting = Progress("id", "painting", "gpu-0", 64, 3, 9, 3, 1.0)
    member.report = Report((painting,), 9.0, 6.0, False, "decoding", "content a.jpg")
    member.reported_at = 100.0

    # It answers, and says who makes no step.
    member.polled_at = 101.0
    assert member.stuck(101.5) == ({"decoding"}, "content a.jpg")
    # Nothing paints.
    member.report = replace(member.report, painting=())
    assert member.stuck(101.5) == ({"decoding"}, "content a.jpg")
    member.report = replace(member.report, painting=(painting,))
    # It answers no more: this may be the fault of what paints.
    assert member.stuck(130.0) == ({"painting"}, None)
    # What is painted together makes steps together.
    member.report = replace(member.report, quiet="painting", decoding=None)
    member.handle.calls[1] = ("painting", "beside")
    member.report = replace(
        member.report, painting=(painting, replace(painting, attempt_id="beside"))
    )
    assert member.stuck(101.5) == ({"painting", "beside"}, None)
    # What it says is about an attempt that has ended since.
    member.report = Report((painting,), 9.0, 6.0, False, "decoding", "content a.jpg")
    del member.handle.calls[2]
    assert member.stuck(101.5) == ({"painting"}, None)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def roster(clock):
    return Roster(1.0, clock)


def up(roster, *members):
    for member in members:
        roster.add(member)
        roster.mark_up(member)
    return members


def test_the_least_busy_worker_comes_first_and_a_full_one_not_at_all(roster):
    idle, busy, full = up(roster, *(a_member(k) for k in range(3)))
    give(roster, busy, 1)
    give(roster, full, 1 + PREFETCH)

    assert [m.number for m in roster.open_members()] == [idle.number, busy.number]


def test_a_worker_that_is_given_calls_on_the_way_comes_again_until_it_is_full(roster):
    (member,) = up(roster, a_member(0))
    turns = 0
    for each in roster.open_members():
        each.handle.calls[turns] = ("a",)
        roster.update(each)
        turns += 1
    assert turns == 1 + PREFETCH
    assert len(member.handle.calls) == 1 + PREFETCH


@pytest.mark.parametrize("what", ["preempted", "unreachable", "closed", "not up"])
def test_some_get_no_call(roster, what):
    (member,) = up(roster, a_member(0))
    if what == "preempted":
        member.preempted = True
    elif what == "unreachable":
        member.unreachable_since = 1.0
    elif what == "closed":
        roster.closed = True
    else:
        roster.remove(member)
        roster.add(member := a_member(1))
    roster.update(member)
    assert list(roster.open_members()) == []


def test_device_hours_count_while_a_worker_is_up_and_stay_when_it_is_gone(roster, clock):
    first, _second = up(roster, a_member(0), a_member(1))
    waiting = a_member(2)
    roster.add(waiting)
    clock.now = 1800.0
    roster.remove(first)
    roster.remove(waiting)  # never up: it held nothing
    clock.now = 3600.0
    assert roster.gpu_hours == pytest.approx(1.5)
    assert (roster.up, roster.pending, len(roster)) == (1, 0, 1)


@pytest.mark.parametrize(("gpus", "hours"), [(0.5, 0.5), (2.0, 2.0), (0.0, 1.0)])
def test_a_worker_counts_by_the_gpus_it_holds_and_without_any_as_one(clock, gpus, hours):
    roster = Roster(gpus, clock)
    up(roster, a_member(0))
    clock.now = 3600.0
    assert roster.gpu_hours == pytest.approx(hours)


def test_memory_classes_are_those_of_the_workers_that_are_up(roster):
    big, small, _same = up(roster, a_member(0, 80), a_member(1, 24), a_member(2, 24))
    roster.add(a_member(3, 141))
    assert list(roster.memory_classes) == [24, 80]
    roster.remove(big)
    assert list(roster.memory_classes) == [24]
    roster.remove(small)
    assert list(roster.memory_classes) == [24]


def test_what_is_released_is_idle_and_the_least_useful_first(roster):
    large, small, busy, going = up(roster, *(a_member(k, m) for k, m in enumerate((80, 24, 8, 8))))
    give(roster, busy, 1)
    going.preempted = True
    roster.add(a_member(9))

    assert [m.number for m in roster.surplus(9)] == [9, small.number, large.number]
    assert [m.number for m in roster.surplus(1)] == [9]
    assert roster.missing(5) == 1  # the preempted one is as good as gone
    assert roster.missing(2) == -2


def test_alone_begins_anew_when_the_last_worker_is_lost(roster, clock):
    clock.now = 10.0
    assert roster.alone_seconds == 10.0
    (member,) = up(roster, a_member(0))
    assert roster.alone_seconds == 0.0
    clock.now = 20.0
    roster.remove(member)
    clock.now = 25.0
    assert roster.alone_seconds == 5.0


def test_a_removed_worker_has_no_calls_any_more(roster):
    (member,) = up(roster, a_member(0))
    give(roster, member, 2)
    assert member.attempt_ids() == ("0-0", "1-0")
    roster.remove(member)
    assert member not in roster
    assert member.attempt_ids() == ()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, PREFETCH + 1)), max_size=30))
def test_whatever_happens_open_workers_are_those_with_room(steps):
    roster = Roster(1.0, Clock())
    members = up(roster, *(a_member(k) for k in range(5)))
    for number, calls in steps:
        members[number].handle.calls.clear()
        give(roster, members[number], calls)
        roster.update(members[number])

    reached = list(roster.open_members())
    room = [m for m in members if len(m.handle.calls) <= PREFETCH]
    assert sorted(m.number for m in reached) == [m.number for m in room]
    counts = [len(m.handle.calls) for m in reached]
    assert counts == sorted(counts)


def test_starts_that_fail_before_any_worker_was_up_end_the_run(clock):
    starts = Starts(clock)
    assert [starts.failed() for _ in range(MOST_FAILED_STARTS)] == [False] * (
        MOST_FAILED_STARTS - 1
    ) + [True]
    assert starts.may_request  # nothing is gained by waiting


def test_starts_that_fail_later_pause_ever_longer_up_to_a_minute(clock):
    starts = Starts(clock)
    starts.succeeded()
    pauses = []
    for _ in range(8):
        assert not starts.failed()
        began = clock.now
        while not starts.may_request:
            clock.now += 0.5
        pauses.append(clock.now - began)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    starts.succeeded()
    starts.failed()
    clock.now += 1
    assert starts.may_request


def test_a_floor_grows_for_a_while_after_a_request(clock):
    starts = Starts(clock)
    assert not starts.growing
    starts.expect()
    assert starts.growing
    clock.now += GROWING_SECONDS
    assert not starts.growing
