"""Numbered names and sets of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.errors import FilmError
from stylize.video.numbered import (
    NumberedName,
    has_number,
    name_in_folder,
    numbers_in,
    numbers_text,
    parse_name,
    parse_numbers,
)


@pytest.mark.parametrize(
    ("text", "number", "name"),
    [
        ("shot.%04d.png", 7, "shot.0007.png"),
        ("shot.####.exr", 1001, "shot.1001.exr"),
        ("in/a_#.jpg", 12, "in/a_12.jpg"),
        ("a%d", 3, "a3"),
        ("%03d.tif", 12345, "12345.tif"),
        ("take #/x.##.png", 5, "take #/x.05.png"),
    ],
)
def test_a_name_has_a_place_for_a_number(text, number, name):
    parsed = parse_name(text)
    assert has_number(text)
    assert parsed.name(number) == name
    assert parsed.number_of(name) == number
    assert parse_name(parsed.pattern) == parsed


@pytest.mark.parametrize(
    "name", ["shot.7.png", "shot.00007.png", "shot.000a.png", "shot.0007.jpg", "0007"]
)
def test_another_name_has_no_number(name):
    assert parse_name("shot.%04d.png").number_of(name) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shot.png", "no place"),
        ("shots/####/a.png", "no place"),
        ("a.##.%03d.png", "more than one place"),
        ("%0999d.png", "999 digits"),
    ],
)
def test_a_name_without_one_place_is_refused(text, said):
    with pytest.raises(FilmError, match=said):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("7", (7,)),
        ("1-4", (1, 2, 3, 4)),
        ("1001-1009x4", (1001, 1005, 1009)),
        ("1-3, 20,10", (1, 2, 3, 10, 20)),
        ("-2-1", (-2, -1, 0, 1)),
        ("5-5", (5,)),
    ],
)
def test_numbers_of_a_line(text, numbers):
    assert parse_numbers(text) == numbers
    assert parse_numbers(numbers_text(numbers)) == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' in '' is no range of frames; write 7, 1001-1100 or 1001-1100x2"),
        ("1-", "'1-' in '1-' is no range"),
        ("1-10y2", "no range"),
        ("1,,2", "no range"),
        ("10-1", "'10-1' in '10-1' ends before it begins"),
        ("1-10x0", "has a step of 0"),
        ("1-10,5", "has frame 5 twice"),
        ("1-999999999", "more than 10,000,000 frames"),
        ("\u0663-\u0665", "no range"),
    ],
)
def test_a_line_that_is_wrong_is_refused(text, said):
    with pytest.raises(FilmError) as caught:
        parse_numbers(text)
    assert said in str(caught.value)


@given(st.sets(st.integers(-50, 2_000), min_size=1, max_size=60))
def test_any_numbers_can_be_written_in_a_line(numbers):
    assert parse_numbers(numbers_text(numbers)) == tuple(sorted(numbers))


def test_numbers_are_written_short():
    assert numbers_text([1, 2, 3, 4, 20, 30, 32, 34, 36]) == "1-4,20,30-36x2"


def test_a_folder_is_numbered_by_one_name():
    names = ["shot2.0998.png", "shot2.0999.png", "shot2.1000.png", "notes.txt"]
    assert name_in_folder(names[:3]) == NumberedName("shot2.", ".png", 4)
    assert numbers_in(names, name_in_folder(names[:3])) == (998, 999, 1000)
    assert name_in_folder(["9.png", "10.png"]) == NumberedName("", ".png", 1)
    with pytest.raises(FilmError, match="no numbered pictures"):
        name_in_folder(["a.png"])
    with pytest.raises(FilmError, match=r"2 numbered names \(a#\.png, b#\.png\)"):
        name_in_folder(["a1.png", "b1.png"])
