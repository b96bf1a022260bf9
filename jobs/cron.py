"""Cron expressions: from text to the minutes, hours and days that it names.

They are read as Kubernetes reads them, so that the same expression means the same there: five fields, names
of months and days, ``*``, ``?``, lists, ranges and steps, and macros such as ``@daily``. Where both the day
of the month and the day of the week are restricted, a day that matches either is due. A field ``*`` restricts
nothing; a field ``*/2`` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of each month, in a leap year."""


@dataclass(frozen=True)
class _Field:
    """One of the five fields: its name in errors, its range, and the words for its numbers."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.words:
            return self.low + self.words.index(text.lower())
        if not re.fullmatch(r"[0-9]{1,4}", text):
            raise ValueError(f"{text!r} is not a valid {self.name}")
        value = int(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is not a valid {self.name}: give {self.low} to {self.high}")
        return value


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """The minutes, hours and days that an expression names. All tuples are sorted."""

    minutes: tuple[int, ...]
    """0 to 59."""
    hours: tuple[int, ...]
    """0 to 23."""
    days: tuple[int, ...]
    """Days of the month, 1 to 31."""
    months: tuple[int, ...]
    """1 to 12."""
    weekdays: tuple[int, ...]
    """Days of the week, 0 (Sunday) to 6."""
    any_day: bool
    """Whether the day of the month is unrestricted (``*``)."""
    any_weekday: bool
    """Whether the day of the week is unrestricted (``*``)."""

    @property
    def every_hour(self) -> bool:
        """Whether it names all 24 hours."""
        return len(self.hours) == 24

    def has(self, day: date) -> bool:
        """Return whether the expression names this day."""
        if day.month not in self.months:
            return False
        in_month = day.day in self.days
        in_week = day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return in_month and in_week
        return in_month or in_week

    def standard(self) -> str:
        """Return the expression as five fields of numbers, which every cron reads."""
        fields = (
            _text(self.minutes, 0, 59),
            _text(self.hours, 0, 23),
            "*" if self.any_day else ",".join(map(str, self.days)),
            _text(self.months, 1, 12),
            "*" if self.any_weekday else ",".join(map(str, self.weekdays)),
        )
        return " ".join(fields)


def parse_cron(text: str) -> Cron:
    """Parse a cron expression.

    Args:
        text: Five fields, or a macro such as ``@daily``.

    Returns:
        The minutes, hours and days that it names.

    Raises:
        ValueError: It is not a cron expression, or names a day that never comes (30 February). The message is
            the end of a sentence: "'x' is no minute".
    """
    written = text.strip()
    if written.startswith("@"):
        if written.lower() not in MACROS:
            raise ValueError(f"{written} is not one of {', '.join(MACROS)}")
        written = MACROS[written.lower()]
    if re.match(r"(CRON_)?TZ=", written):
        raise ValueError("a time zone does not belong in it: use time_zone")
    parts = written.split()
    if len(parts) != len(FIELDS):
        raise ValueError(
            f"it has {len(parts)} fields instead of five: minute, hour, day of the month, month, day of "
            "the week"
        )
    sets, stars = [], []
    for field, part in zip(FIELDS, parts, strict=True):
        values, star = _parse_field(field, part)
        sets.append(values)
        stars.append(star)
    minutes, hours, days, months, weekdays = (tuple(sorted(values)) for values in sets)
    weekdays = tuple(sorted({day % 7 for day in weekdays}))
    cron = Cron(minutes, hours, days, months, weekdays, any_day=stars[2], any_weekday=stars[4])
    # Every day of the week comes in every month, so only a day of the month can be missing.
    if cron.any_weekday and min(days) > max(_LONGEST[month - 1] for month in months):
        raise ValueError("the day that it names does not exist")
    return cron


def _parse_field(field: _Field, text: str) -> tuple[set[int], bool]:
    """Return the numbers that a field names, and whether it is ``*``."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = 1
        if slash:
            if not re.fullmatch(r"[0-9]{1,4}", step_text) or int(step_text) == 0:
                raise ValueError(f"{part!r} has no step: give a number above 0 after the /")
            step = int(step_text)
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            low, high = field.low, field.high if field.high != 7 else 6
            star = star or step == 1
        elif dash:
            low, high = field.number(first), field.number(last)
            if low > high:
                raise ValueError(f"{span} is a range that ends before it begins")
        else:
            low = field.number(span)
            # 5/15: from 5 on, every 15.
            high = low if not slash else field.high if field.high != 7 else max(low, 6)
        values.update(range(low, high + 1, step))
    return values, star


def _text(values: tuple[int, ...], low: int, high: int) -> str:
    return "*" if len(values) == high - low + 1 else ",".join(map(str, values))
