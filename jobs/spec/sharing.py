"""``priority`` and ``weight``: a job's part of a cluster that others use, too."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

Level = Literal["low", "normal", "high", "urgent"]

LEVELS: dict[Level, int] = {"low": 25, "normal": 50, "high": 75, "urgent": 100}
"""The priorities that have a name, as numbers."""

Priority = Level | Annotated[int, Field(ge=0, le=100)]


def points_of(priority: Priority) -> int:
    """Return a priority as a number, 0 to 100."""
    return priority if isinstance(priority, int) else LEVELS[priority]


def name_of(points: int) -> str:
    """Return a priority as people say it: ``low``, or its number."""
    return next((name for name, of in LEVELS.items() if of == points), str(points))


def priority_of(text: str) -> Priority:
    """Return the priority that a text on a command line means.

    Args:
        text: ``low``, ``normal``, ``high``, ``urgent``, or a number from 0 to 100.

    Raises:
        ValueError: It is none.
    """
    for level in get_args(Level):
        if text == level:
            return level  # type: ignore[no-any-return]
    if not (text.isascii() and text.isdecimal()) or int(text) > 100:
        raise ValueError(f"{text!r} is no priority")
    return int(text)
