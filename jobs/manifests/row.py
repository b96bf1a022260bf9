"""``Row`` and ``BadRow``: what a reader of manifests yields, one of them for every row of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row that was read."""

    place: int
    """The line on which it begins (text), or its number (Parquet); both from 1."""
    cells: Mapping[str, Any]
    """Values by column, without empty cells."""
    guessed: str | None = None
    """How it was read where its file does not say how, as a sentence; None: there was no doubt."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    place: int
    """The line on which it begins (text), or its number (Parquet); both from 1."""
    reason: str
    """The rest of the sentence: "is not UTF-8"."""


def is_empty(value: object) -> bool:
    """Return whether a cell is None, white space, or the NaN that tables of numbers have for no value."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())
