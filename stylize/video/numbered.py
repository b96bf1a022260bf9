"""Numbered pictures: names with a place for a number, and sets of numbers in one line.

fileseq (3.4.0) was tried: it takes ``10-1`` for a countdown, says of what it cannot parse the regular
expression, and has a grammar of forms that no key here needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from stylize.errors import FilmError

MOST_FRAMES = 10_000_000
"""The most numbers of a line: eighty hours at thirty frames per second, and no slip of the finger."""

_PLACE = re.compile(r"%0?(\d*)d|#+")
_RANGE = re.compile(r"(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberedName:
    """A name with a place for a number: ``shot.%04d.png``, or ``shot.####.exr``."""

    before: str
    after: str
    digits: int
    """The fewest, with zeros in front."""

    def name(self, number: int) -> str:
        """Return the name with a number."""
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def number_of(self, name: str) -> int | None:
        """Return the number of a name; None: it is none of these names."""
        if not (name.startswith(self.before) and name.endswith(self.after)):
            return None
        middle = name[len(self.before) : len(name) - len(self.after)]
        if not re.fullmatch(r"-?[0-9]+", middle):
            return None
        number = int(middle)
        return number if self.name(number) == name else None

    @property
    def pattern(self) -> str:
        """As it is written: ``shot.####.exr``."""
        return f"{self.before}{'#' * self.digits}{self.after}"


def parse_name(text: str) -> NumberedName:
    """Return a name with a place for a number in its last part.

    Args:
        text: As ``shots/a.%04d.png``, ``shots/a.####.exr`` or ``a.#.jpg``; more digits are taken where a
            number has them.

    Raises:
        FilmError: There is no place for a number, or more than one.
    """
    folder, slash, last = text.rpartition("/")
    places = list(_PLACE.finditer(last))
    if len(places) != 1:
        what = "no place" if not places else "more than one place"
        raise FilmError(
            f"{text!r} has {what} for a number in its name; write one as %04d or ####: shot.%04d.png"
        )
    (place,) = places
    digits = int(place.group(1) or 1) if place.group(0)[0] == "%" else len(place.group(0))
    if not 1 <= digits <= 20:
        raise FilmError(f"{text!r} has a number of {digits} digits; use 1 to 20")
    return NumberedName(f"{folder}{slash}{last[: place.start()]}", last[place.end() :], digits)


def has_number(text: str) -> bool:
    """Return whether a name has a place for a number, as of ``parse_name``."""
    return _PLACE.search(text.rpartition("/")[2]) is not None


def parse_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a line, in growing order.

    Args:
        text: Numbers and ranges with their ends, by commas: ``1001-1100``, ``1001-1100x2`` (every second),
            ``1-10,20``.

    Raises:
        FilmError: A part is neither, ends before it begins, names a number again, or there are too many.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise FilmError(
                f"{part.strip()!r} in {text!r} is no range of frames; write 7, 1001-1100 or 1001-1100x2"
            )
        first = int(found.group(1))
        last = int(found.group(2) or first)
        step = int(found.group(3) or 1)
        if step < 1:
            raise FilmError(f"{part.strip()!r} in {text!r} has a step of 0; use 1 or more")
        if last < first:
            raise FilmError(f"{part.strip()!r} in {text!r} ends before it begins")
        if (last - first) // step + 1 + len(numbers) > MOST_FRAMES:
            raise FilmError(f"{text!r} has more than {MOST_FRAMES:,} frames")
        more = range(first, last + 1, step)
        again = numbers.intersection(more)
        if again:
            raise FilmError(f"{text!r} has frame {min(again)} twice")
        numbers.update(more)
    return tuple(sorted(numbers))


def numbers_text(numbers: Iterable[int]) -> str:
    """Return numbers as a line that ``parse_numbers`` reads: ``1-10,20``."""
    return ",".join(
        str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}{f'x{run.step}' * (run.step > 1)}"
        for run in _runs(sorted(numbers))
    )


def numbers_in(names: Iterable[str], name: NumberedName) -> tuple[int, ...]:
    """Return the numbers of those names that fit, in growing order.

    Args:
        names: As a folder lists them, with as much of the path as ``name`` has.
        name: The name with a place for a number.
    """
    found = (name.number_of(each) for each in names)
    return tuple(sorted({number for number in found if number is not None}))


def name_in_folder(names: Iterable[str], folder: str = "the folder") -> NumberedName:
    """Return the one name by which pictures of a folder are numbered: the last number of each counts.

    Args:
        names: The names of pictures, without their folder.
        folder: What to call it in a message.

    Raises:
        FilmError: None is numbered, or they are numbered by several names, which are listed.
    """
    digits: dict[tuple[str, str], set[str]] = {}
    for name in names:
        stem, suffix = PurePath(name).stem, PurePath(name).suffix
        found = re.search(r"[0-9]+(?=[^0-9]*$)", stem)
        if found:
            key = (stem[: found.start()], stem[found.end() :] + suffix)
            digits.setdefault(key, set()).add(found.group(0))
    if not digits:
        raise FilmError(f"{folder} has no numbered pictures, such as shot.0001.png")
    if len(digits) > 1:
        few = ", ".join(f"{before}#{after}" for before, after in sorted(digits)[:3])
        raise FilmError(
            f"{folder} has pictures of {len(digits)} numbered names ({few}); say which one is meant"
        )
    (((before, after), texts),) = digits.items()
    return NumberedName(before, after, min(map(len, texts)))


def _runs(numbers: list[int]) -> Iterator[range]:
    """Yield ranges of one step each, the longest from each number on."""
    at = 0
    while at < len(numbers):
        step = numbers[at + 1] - numbers[at] if at + 1 < len(numbers) else 1
        end = at + 1
        while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
            end += 1
        if end - at == 2 and step > 1:  # two that are apart are no run
            end = at + 1
        yield range(numbers[at], numbers[end - 1] + 1, step if end - at > 1 else 1)
        at = end
