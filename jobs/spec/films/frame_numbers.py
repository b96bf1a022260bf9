"""``numbers_of``: which frames ``frames: 1001-1100x2`` means."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

PART = r"\s*\d{1,9}(?:\s*-\s*\d{1,9}(?:\s*x\s*[1-9]\d{0,8})?)?\s*"
"""One number, or a range with a step."""

NUMBERS = re.compile(rf"{PART}(?:,{PART})*")
"""Several of these."""

_PART = re.compile(r"(\d+)(?:-(\d+)(?:x(\d+))?)?")

MOST_FRAMES = 10_000_000
"""Frames of one film: four days of it. More are a slip."""


def numbers_of(written: str) -> Sequence[int]:
    """Return the numbers of frames, ascending: ``1-4,10-20x5`` means 1, 2, 3, 4, 10, 15 and 20.

    Args:
        written: Numbers and ranges, each after the one before, with an ``x`` and a step where only every so
            many frames are meant.

    Returns:
        A range where one says it all.

    Raises:
        ValueError: They are no such numbers, or do not ascend, or are more than ``MOST_FRAMES``. Its text is
            the rest of a sentence whose subject is ``written``.
    """
    if NUMBERS.fullmatch(written) is None:
        raise ValueError("names no frames: write 1001-1100, 1001-1100x2 or 1-10,20")
    parts: list[range] = []
    for part in re.sub(r"\s", "", written).split(","):
        first, last, step = _PART.fullmatch(part).groups()  # type: ignore[union-attr]
        if int(last or first) < int(first):
            raise ValueError(f"runs backwards: write {last}-{first}")
        parts.append(range(int(first), int(last or first) + 1, int(step or 1)))
    if any(after[0] <= before[-1] for before, after in itertools.pairwise(parts)):
        raise ValueError("does not ascend: each number comes once, after those below it")
    if sum(map(len, parts)) > MOST_FRAMES:
        raise ValueError(f"names more than {MOST_FRAMES:,} frames")
    return parts[0] if len(parts) == 1 else list(itertools.chain.from_iterable(parts))


def as_text(numbers: Iterable[int], most: int | None = None) -> str:
    """Return numbers as ``frames`` has them: 1, 2, 3, 7 is ``1-3,7``.

    Args:
        numbers: The numbers, ascending.
        most: The largest number of parts that are written out; None: all.
    """
    runs = list(itertools.islice(_runs(numbers), None if most is None else most + 1))
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:most])
    return text if most is None or len(runs) <= most else f"{text} and more"


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of neighbouring numbers."""
    first = last = None
    for number in numbers:
        if last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last
