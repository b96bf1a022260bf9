"""Records come to a summary: in numbers for programs, in words for people."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.records.segments import Entry, entry_of
from jobs.report.summary import SHOWN_FAILURES, Summary, summarise
from tests.jobs.support import a_record as full_record


def a_record(number: int, **fields: Any) -> Entry:
    return entry_of(full_record(number, **fields), 1)


def attempts(count: int, device: str = "cpu") -> list[dict[str, Any]]:
    attempt = {"worker": "w", "node": "n", "device": device, "started": 1.0, "seconds": 2.0}
    return [{"id": str(k), **attempt} for k in range(count)]


def done(number: int, *, tried: int = 1, device: str = "cpu", size: int = 500_000) -> Entry:
    output = {"key": "k", "sha256": "0", "size": size, "width": 1, "height": 1}
    return a_record(
        number,
        steps=1_000,
        seconds={"fetch": 5.0, "render": 250.0},
        output=output,
        attempts=attempts(tried, device),
    )


def failed(number: int, error: str | None = "no such picture", tried: int = 1) -> Entry:
    return a_record(number, status="failed", error=error, attempts=attempts(tried))


MIXED = [done(2, tried=2), failed(4, tried=3), done(1, device="H200"), done(3), failed(0, None)]


def test_an_output_without_records() -> None:
    summary = summarise("out", [])
    assert (summary.done, summary.failed, summary.failures) == (0, 0, [])
    assert summary.to_text() == "out: 0 done, 0 failed"


def test_records_are_counted() -> None:
    summary = summarise("out", iter(MIXED))
    assert (summary.done, summary.failed, summary.retried) == (3, 2, 2)
    assert (summary.steps, summary.render_seconds, summary.bytes) == (3_000, 750.0, 1_500_000)
    assert summary.devices == {"H200": 1, "cpu": 2}


def test_each_failure_has_its_reason() -> None:
    assert summarise("out", MIXED).failures == [
        {"id": f"{0:016x}", "name": "picture 0", "error": "no reason recorded"},
        {"id": f"{4:016x}", "name": "picture 4", "error": "no such picture"},
    ]


def test_the_order_of_the_records_does_not_matter() -> None:
    assert summarise("out", MIXED) == summarise("out", MIXED[::-1])
    assert summarise("out", MIXED).to_text() == summarise("out", MIXED[::-1]).to_text()


def test_the_text_says_it_all() -> None:
    assert summarise("s3://bucket/out", MIXED).to_text().splitlines() == [
        "s3://bucket/out: 3 done, 2 failed",
        "  3,000 steps in 750 s of device time (0.25 s a step), 1.5 MB of pictures",
        "  painted 1 on H200, 2 on cpu; 2 retried",
        f"  failed: picture 0-{0:016x}: no reason recorded",
        f"  failed: picture 4-{4:016x}: no such picture",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (31_000, "31.0 kB"),
        (1_500_000, "1.5 MB"),
        (2_340_000_000, "2.3 GB"),
    ],
)
def test_a_size_has_the_unit_that_shows_it(size: int, text: str) -> None:
    assert f" {text} of pictures" in Summary("out", done=1, bytes=size).to_text()


def test_what_was_done_for_lack_of_memory_is_counted() -> None:
    assert "memory" not in summarise("out", MIXED).to_text()
    conceded = [
        a_record(k, attempts=attempts(1), concessions=what)
        for k, what in enumerate((["in strips"], [], ["halved", "halved", "in strips"]))
    ]
    summary = summarise("out", conceded)
    assert summary.concessions == {"in strips": 2, "halved": 1}
    assert summary.to_text().splitlines()[-1] == ("  for lack of memory: in strips (2), halved (1)")


def test_the_text_shows_so_many_failures_and_counts_the_others() -> None:
    all_shown = summarise("out", [failed(k) for k in range(SHOWN_FAILURES)]).to_text()
    assert all_shown.count("failed: ") == SHOWN_FAILURES
    assert "more" not in all_shown
    more = summarise("out", [failed(k) for k in range(SHOWN_FAILURES + 7)])
    assert more.to_text().count("failed: ") == SHOWN_FAILURES
    assert more.to_text().splitlines()[-1] == "  and 7 more failures; --json lists them all"
    assert len(more.to_json()["failures"]) == SHOWN_FAILURES + 7


def test_a_failure_says_where_its_last_good_picture_is() -> None:
    kept = {"key": "kept/x.png", "sha256": "0", "size": 1, "width": 1, "height": 1}
    summary = summarise("out", [a_record(1, status="failed", error="it diverged", kept=kept)])
    assert summary.failures[0]["kept"] == "kept/x.png"
    assert summary.to_text().endswith(": it diverged (last good picture: kept/x.png)")


def test_a_failure_is_one_line() -> None:
    text = summarise("out", [failed(1, "first\nsecond\r\nthird")]).to_text()
    assert len(text.splitlines()) == 2


def test_it_is_json() -> None:
    found = json.loads(json.dumps(summarise("out", MIXED).to_json()))
    assert (found["output"], found["done"], found["failed"]) == ("out", 3, 2)
    assert found["devices"] == {"H200": 1, "cpu": 2}
    assert found["failures"][1]["error"] == "no such picture"


def test_fast_steps_are_not_shown_as_none() -> None:
    quick = a_record(1, steps=1_000, seconds={"render": 2.0}, attempts=attempts(1))
    assert "0.00 s a step" not in summarise("out", [quick]).to_text()


def test_records_that_cannot_be_read_are_counted_and_named() -> None:
    one = Summary("out", done=2, unreadable=["tasks/00/00.json"])
    assert one.to_text().splitlines()[-2:] == [
        "  1 record cannot be read, so stylefarm run JOB renders its task again:",
        "    tasks/00/00.json",
    ]
    many = Summary("out", unreadable=[f"tasks/{k}.json" for k in range(SHOWN_FAILURES + 7)])
    lines = many.to_text().splitlines()
    assert lines[1].startswith(f"  {SHOWN_FAILURES + 7} records cannot be read")
    assert lines[-1] == "    and 7 more; --json lists them all"
    assert len(lines) == SHOWN_FAILURES + 3
    assert len(many.to_json()["unreadable"]) == SHOWN_FAILURES + 7
