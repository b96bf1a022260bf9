"""Dated outputs: one moment makes one output, in the schedule's own zone."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from jobs.errors import UsageError
from jobs.jobfile.dated_output import dated, pattern_of, read_moment, zone_of
from jobs.jobfile.load import load_job
from jobs.time_zones import find_zone
from tests.jobs.support import read, refusal

UTC = timezone.utc
PAIRS = "pairs: [{content: a.jpg, style: b.jpg}]\n"
ROME = "schedule: {cron: '0 1 * * *', time_zone: Europe/Rome}\n"


def output(text: str, when: datetime) -> str:
    return dated(read(text + PAIRS), when).spec.output


def test_the_date_is_that_of_the_schedules_zone() -> None:
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)

    assert output("output: s3://renders/{date}/x\n" + ROME, late) == "s3://renders/2026-11-25/x"
    assert output("output: s3://renders/{date}/x\n", late) == "s3://renders/2026-11-24/x"
    assert output("output: out/{date}/{time}\n" + ROME, late) == "out/2026-11-25/00-30-00"
    assert output("output: out\n" + ROME, late) == "out"


def test_an_hour_that_comes_twice_makes_two_outputs() -> None:
    # 25 October 2026, 02:30 in Rome, in summer and again in winter time.
    first, again = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))

    made = {output("output: out/{date}T{time}\n" + ROME, when) for when in (first, again)}

    assert made == {"out/2026-10-25T02-30-00", "out/2026-10-25T02-30-00+0100"}
    pattern = pattern_of("out/{date}T{time}")
    assert all(pattern.fullmatch(one) for one in made)
    assert not pattern.fullmatch("out/today")


def test_a_moment_is_read_in_the_zone_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("output: 'out/{date}-{time}'\n" + ROME + PAIRS)

    for at, made in {
        "2026-11-25": "out/2026-11-25-00-00-00",
        "2026-11-25T02:00": "out/2026-11-25-02-00-00",
        "2026-11-25T02:00:00Z": "out/2026-11-25-03-00-00",
        "2026-11-25T02:00:00+00:00": "out/2026-11-25-03-00-00",
    }.items():
        assert load_job(tmp_path / "job.yaml", at).spec.output == made
    assert zone_of(load_job(tmp_path / "job.yaml")) == find_zone("Europe/Rome")


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01", "25.11.2026", ""])
def test_what_is_no_moment_is_told(at: str) -> None:
    with pytest.raises(UsageError, match="is not a date or a time"):
        read_moment(at, UTC)


@pytest.mark.parametrize(
    "written", ["out/{day}", "out/{", "out/}", "out/{date", "{DATE}", "a{{date}}"]
)
def test_other_braces_are_refused(written: str) -> None:
    (problem,) = refusal(f"output: '{written}'\n" + PAIRS)

    assert "has other braces than {date} and {time}" in problem
