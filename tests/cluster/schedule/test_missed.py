"""What is due, on a clock that is only a number: every tick is run or told, once, whenever one looks."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from cluster.cli.commands.schedule import schedule as schedule_command
from cluster.events.events import Finished, TaskFailed
from cluster.events.json_lines import to_json
from cluster.schedule.history import History, Tick
from cluster.schedule.missed import due, upcoming
from cluster.schedule.tick_process import Result, read_result
from cluster.schedule.ticks import ticks_between
from jobs.spec.schedule import Schedule

UTC = timezone.utc
BEGIN = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)


def schedule(**said: object) -> Schedule:
    return Schedule.model_validate({"cron": "30 2 * * *", "time_zone": "Europe/Rome", **said})


@pytest.mark.parametrize("zone", ["Europe/Rome", "America/New_York"])
@pytest.mark.parametrize("deadline", [None, "2h"])
def test_a_year_of_a_clock_that_is_often_away_leaves_no_tick_out(zone, deadline):
    """It looks at random moments, at times not for weeks, and starts anew each time from what it kept."""
    asked = schedule(time_zone=zone, starting_deadline=deadline, cron="15,45 2 * * *")
    chance = random.Random(7)
    seen, now, run, missed = BEGIN, BEGIN, [], 0
    while now < END:
        minutes = chance.choices([1, 5, 20, 60, 600, 3000, 20_000], [9, 9, 9, 20, 6, 1, 0.5])
        now += timedelta(minutes=minutes[0])
        due_now = due(asked, seen, now)
        assert seen <= due_now.seen <= now
        if due_now.missed is not None:
            between = list(ticks_between(asked, seen, due_now.missed.last))
            assert due_now.missed.count == len(between)
            assert (due_now.missed.first, due_now.missed.last) == (between[0], between[-1])
            missed += due_now.missed.count
        if due_now.run is not None:
            run.append(due_now.run)
            assert deadline is None or now - due_now.run <= timedelta(hours=2)
        seen = due_now.seen

    assert run == sorted(set(run))
    assert len(run) + missed == len(list(ticks_between(asked, BEGIN, seen)))
    assert missed > 0
    assert len(run) > 50


def test_on_time_there_is_nothing_to_miss():
    asked = schedule()
    seen, run = BEGIN, []
    for tick in ticks_between(asked, BEGIN, END):
        due_now = due(asked, seen, tick + timedelta(milliseconds=40))
        assert (due_now.run, due_now.missed, due_now.seen) == (tick, None, tick)
        seen = due_now.seen
        run.append(tick)
        assert due(asked, seen, tick + timedelta(minutes=3)).run is None  # not twice

    assert len(run) == 365
    # By the clock on the wall each was at half past two, but for the night in which there was none.
    walls = [t.astimezone(ZoneInfo("Europe/Rome")) for t in run]
    others = [w for w in walls if (w.hour, w.minute) != (2, 30)]
    assert [w.strftime("%m-%d %H:%M") for w in others] == ["03-29 03:00"]


def test_a_deadline_is_a_deadline():
    asked = schedule(starting_deadline="1h")
    tick = datetime(2026, 5, 2, 0, 30, tzinfo=UTC)
    seen = tick - timedelta(hours=3)

    assert due(asked, seen, tick + timedelta(minutes=60)).run == tick
    late = due(asked, seen, tick + timedelta(minutes=60, seconds=1))
    assert late.run is None
    assert late.missed is not None
    assert (late.missed.first, late.missed.count, late.seen) == (tick, 1, tick)
    assert due(schedule(), seen, tick + timedelta(hours=20)).run == tick


def test_the_next_ones():
    days = upcoming(schedule(), datetime(2026, 3, 28, 12, tzinfo=UTC), 3)

    assert [day.isoformat() for day in days] == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
        "2026-03-31T00:30:00+00:00",
    ]


def test_a_log_tells_how_its_run_ended(tmp_path):
    def told(*lines: str) -> Result:
        (tmp_path / "log").write_text("\n".join(lines))
        return read_result(tmp_path / "log")

    def finished(reason: str, left: int, failed: int = 0) -> str:
        return to_json(Finished(done=2, failed=failed, left=left, seconds=1.0, reason=reason))

    assert told() == Result()
    assert told("job.yaml:3: size: 8 is below 32") == Result(
        reason="job.yaml:3: size: 8 is below 32"
    )
    assert told(finished("complete", 0)) == Result(2, 0, 0, None, True)
    assert told(finished("preempted", 3)).complete is False
    # Asked to stop, it may have come to its end all the same.
    assert told(finished("preempted", 0)).complete is True
    assert told("waiting ...", finished("max_failures", 3)).reason == "max_failures"
    failure = to_json(
        TaskFailed(id="0" * 16, name="a--b", error="There is no file a.png", work=1, attempts=1)
    )
    assert told(failure, finished("complete", 0, 1)).reason == "There is no file a.png"


def a_tick(number: int) -> Tick:
    return Tick("job.yaml", "harbour", f"2026-05-01T00:00:{number:02}Z", "done", done=number)


def test_a_history_survives_a_machine_that_stopped_in_the_middle_of_a_line(tmp_path):
    history = History(tmp_path / "history.jsonl")
    assert list(history.ticks()) == []
    history.append(a_tick(1))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"job": "job.yaml", "na')
    history.append(a_tick(2))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"of": "another version"}\n[]\n\xff\xfe\n')
    history.append(a_tick(3))

    assert list(History(tmp_path / "history.jsonl").ticks()) == [a_tick(1), a_tick(2), a_tick(3)]


WHY = "s3://renders/harbour cannot be reached: no host of that name answers; see stylefarm doctor"


def shown_history(tmp_path, monkeypatch, capsys, columns: int, reason: str | None) -> list[str]:
    tick = replace(
        a_tick(1),
        outcome="failed",
        started="2026-05-01T00:00:03Z",
        ended="2026-05-01T00:12:03Z",
        failed=1_234,
        left=0,
        reason=reason,
    )
    for each in (replace(tick, reason=None), tick):
        History(tmp_path / "history.jsonl").append(each)
    monkeypatch.setenv("COLUMNS", str(columns))
    schedule_command(history=True, state=tmp_path)
    return capsys.readouterr().out.splitlines()


def test_reasons_in_the_history_are_not_squeezed(tmp_path, monkeypatch, capsys):
    lines = shown_history(tmp_path, monkeypatch, capsys, 80, WHY)

    assert len(lines) == 3
    assert lines[-1].endswith(f" 1,234     0  {WHY}")
    assert all(line == line.rstrip() for line in lines)


def test_reasons_in_the_history_are_folded_where_there_is_room(tmp_path, monkeypatch, capsys):
    lines = shown_history(tmp_path, monkeypatch, capsys, 110, WHY)

    assert len(lines) > 3
    assert max(map(len, lines)) <= 110
    folded = [line[lines[0].index("why") :].strip() for line in lines[2:]]
    assert " ".join(folded) == WHY
    assert max(map(len, folded)) > 20


def test_a_history_without_reasons_fits(tmp_path, monkeypatch, capsys):
    assert max(map(len, shown_history(tmp_path, monkeypatch, capsys, 80, None))) <= 80


def test_an_empty_history_says_where_it_looked(tmp_path, capsys):
    schedule_command(history=True, state=tmp_path)

    assert capsys.readouterr().out == f"no ticks are recorded in {tmp_path}\n"
