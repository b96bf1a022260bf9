"""Cron expressions: what they name, and what is said of those that name nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cron import MACROS, parse_cron
from tests.jobs.support import MINIMAL, read, refusal


@pytest.mark.parametrize(
    ("text", "standard"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("*/15 8-18/2 1,15 jan-mar mon-fri", "0,15,30,45 8,10,12,14,16,18 1,15 1,2,3 1,2,3,4,5"),
        ("  5   4 ? * 7 ", "5 4 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("5/20 * * * SUN", "5,25,45 * * * 0"),
        ("0 0 */2 * *", f"0 0 {','.join(map(str, range(1, 32, 2)))} * *"),
        ("@daily", "0 0 * * *"),
        ("@Weekly", "0 0 * * 0"),
    ],
)
def test_what_an_expression_names(text: str, standard: str) -> None:
    assert parse_cron(text).standard() == standard
    assert parse_cron(standard) == parse_cron(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 2 * *", "it has 4 fields instead of five"),
        ("0 0 2 * * *", "it has 6 fields"),
        ("60 2 * * *", "60 is not a valid minute: give 0 to 59"),
        ("0 24 * * *", "24 is not a valid hour"),
        ("0 2 0 * *", "0 is not a valid day of the month"),
        ("0 2 * 13 *", "13 is not a valid month"),
        ("0 2 * * 8", "8 is not a valid day of the week"),
        ("0 2 * * monday", "'monday' is not a valid day of the week"),
        ("0 18-8 * * *", "18-8 is a range that ends before it begins"),
        ("*/0 * * * *", "has no step"),
        ("0 2 31 2,4 *", "does not exist"),
        ("TZ=Europe/Rome 0 2 * * *", "use time_zone"),
        ("@sometimes", "is not one of @yearly"),
        ("1,,2 * * * *", "'' is not a valid minute"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    (problem,) = refusal(MINIMAL + f"schedule: {{cron: '{text}'}}\n")

    assert problem.startswith("job.yaml:3: schedule.cron: ")
    assert said in problem


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}", "takes either cron: or every:"),
        ("{cron: '@daily', every: 5m}", "takes either cron: or every:"),
        ("{every: 0.1s}", "is below 1"),
        ("{cron: '@daily', time_zone: Europe/Roma}", "'Europe/Roma' is not a time zone"),
        ("{cron: '@daily', time_zone: localtime}", "is not a time zone"),
        (
            "{cron: '@daily', concurrency_policy: Forbid}",
            "is not one of 'allow', 'forbid', 'replace'",
        ),
        ("{cron: '@daily', concurrency_policy: allow}", "put {date} or {time} into output"),
        ("{cron: '@daily', starting_deadline: 0}", "is not above 0"),
        ("{cron: '@daily', deadline: 1h}", "is not a key"),
    ],
)
def test_a_schedule_that_cannot_be_is_told(written: str, said: str) -> None:
    problems = refusal(MINIMAL + f"schedule: {written}\n")

    assert said in "\n".join(problems)
    assert all(problem.startswith("job.yaml:3: schedule") for problem in problems)


def test_a_schedule_is_no_part_of_what_is_rendered() -> None:
    plain, timed = read(MINIMAL), read(MINIMAL + "schedule: {cron: '@daily'}\n")

    assert timed.spec.schedule is not None
    assert timed.spec.model_copy(update={"schedule": None}) == plain.spec


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_an_expression(text: str) -> None:
    try:
        found = parse_cron(text)
    except ValueError:
        return
    assert parse_cron(found.standard()) == found


def test_short_names_are_those_of_cron() -> None:
    for text in MACROS.values():
        assert parse_cron(text).standard() == text
